//! One direction of a bijector over a block of rows, so that a block goes through a whole flow while
//! it is in the cache.

use std::sync::Arc;

use crate::bijector::Mapped;
use crate::blocks::{Blockwise, Gradient, Pool, run};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, Values, batch, check_columns, per_row};
use crate::{Context, Real, Result, Scratch, Tally, Work};

/// Which way a bijector is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Base to data.
    Forward,
    /// Data to base.
    Inverse,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Forward => Self::Inverse,
            Self::Inverse => Self::Forward,
        }
    }
}

/// One direction of a bijector over a block of [`LANES`](crate::operation::LANES) rows, feature by feature: the map of a layer
/// with its parameters, a chain of them, or one of them on some of the features.
pub trait Pass<E: Real>: Send + Sync {
    /// Number of features.
    fn dim(&self) -> usize;

    /// Length of each sum of parameter gradients.
    fn sum_lengths(&self) -> Vec<usize>;

    /// Writes the value and adds to the log-det.
    ///
    /// # Errors
    /// Numerical events; rows are counted within the block.
    fn forward(&self, rows: Rows<'_, E>, scratch: &mut Scratch) -> Result<Work>;

    /// The way back.
    ///
    /// # Errors
    /// Numerical events.
    fn backward(&self, rows: RowsBack<'_, '_, E>, scratch: &mut Scratch) -> Result<()>;

    /// Adds the sums over all rows to the gradients of the parameters and leaves zeros.
    ///
    /// # Errors
    /// Numerical events.
    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()>;
}

/// A block of rows.
#[derive(Debug)]
pub struct Rows<'a, E> {
    /// Place of the first row in its batch.
    pub first: usize,
    /// `(dim, LANES)`
    pub input: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// `(dim, LANES)`, written.
    pub value: &'a mut [E],
    /// `(LANES)`, added to.
    pub log_det: &'a mut [E],
}

/// The way back through a block of rows.
#[derive(Debug)]
pub struct RowsBack<'a, 'b, E> {
    /// Place of the first row in its batch.
    pub first: usize,
    /// The input of the pass.
    pub input: &'a [E],
    /// Its result.
    pub value: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// Gradient of the value.
    pub d_value: &'a [E],
    /// Gradient of the log-det.
    pub d_log_det: &'a [E],
    /// Gradient of the input, written over.
    pub d_input: &'a mut [E],
    /// Gradient of the context, added to.
    pub d_context: &'a mut [E],
    /// Sums of parameter gradients, added to.
    pub sums: &'a mut [&'b mut [E]],
}

/// Buffers of a bijector's passes in either direction, kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct Pools<E> {
    forward: Arc<Pool<E>>,
    inverse: Arc<Pool<E>>,
}

impl<E> Pools<E> {
    fn of(&self, direction: Direction) -> &Arc<Pool<E>> {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Inverse => &self.inverse,
        }
    }
}

/// A pass over all rows of a batch, with one entry on the tape.
pub(crate) fn run_pass<E: Real>(
    (name, context_dim): (&'static str, usize),
    pass: Arc<dyn Pass<E>>,
    (input, context): (&Batch<E>, &Context<E>),
    (pools, direction): (&Pools<E>, Direction),
    tape: &mut Tape<E>,
) -> Result<Mapped<E>> {
    check_columns(name, input, pass.dim())?;
    context.check(name, context_dim, input.rows())?;
    let mut inputs = vec![input];
    inputs.extend(context.features());
    let (rows, dim) = (input.rows(), pass.dim());
    let work = Tally::default();
    let task = Task { name, pass, work: work.clone() };
    let done = run(Arc::new(task), &inputs, pools.of(direction), tape.is_recording())?;
    let mut outputs = done.outputs.into_iter();
    let value = batch(outputs.next().unwrap_or_default(), rows, dim)?;
    let log_det = per_row(outputs.next().unwrap_or_default())?;
    if let Some(record) = done.record {
        let (value, log_det) = (value.clone(), log_det.clone());
        tape.record(move |gradients| {
            let outer = [gradients.take(&value)?, gradients.take(&log_det)?];
            record.backward(&outer, gradients)
        });
    }
    Ok(Mapped::new(value, log_det, work.largest()))
}

/// A pass as the pipeline sees it: inputs are the rows and their context, outputs value and log-det.
struct Task<E: Real> {
    name: &'static str,
    pass: Arc<dyn Pass<E>>,
    work: Tally,
}

impl<E: Real> Blockwise<E> for Task<E> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.pass.dim(), 1]
    }

    fn sum_lengths(&self) -> Vec<usize> {
        self.pass.sum_lengths()
    }

    fn can_repeat(&self) -> bool {
        true
    }

    fn forward(
        &self,
        first: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = crate::lanes::named_mut(outputs);
        let kept: &mut Kept<E> = scratch.or_default();
        let context = inputs.get(1).copied().unwrap_or_default();
        let rows = Rows { first, input: inputs[0], context, value: &mut *value, log_det };
        self.work.note(self.pass.forward(rows, &mut kept.scratch)?);
        kept.value.clear();
        kept.value.extend_from_slice(value);
        Ok(())
    }

    fn backward(
        &self,
        first: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        gradient: Gradient<'_, '_, E>,
    ) -> Result<()> {
        let Kept { value, scratch } = scratch.left();
        let [d_value, d_log_det] = crate::lanes::named(gradient.outputs);
        let mut into = gradient.inputs.iter_mut();
        let mut next = || into.next().map_or(&mut [] as &mut [E], |slice| &mut **slice);
        let (d_input, d_context) = (next(), next());
        let context = inputs.get(1).copied().unwrap_or_default();
        let sums = gradient.sums;
        let input = inputs[0];
        let rows =
            RowsBack { first, input, value, context, d_value, d_log_det, d_input, d_context, sums };
        self.pass.backward(rows, scratch)
    }

    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        self.pass.deliver(sums, gradients)
    }
}

/// What a pass leaves.
#[derive(Debug, Default)]
struct Kept<E> {
    value: Vec<E>,
    scratch: Scratch,
}

/// Passes one after another: a chain of maps is a map.
pub(crate) struct Sequence<E: Real> {
    dim: usize,
    passes: Vec<Arc<dyn Pass<E>>>,
    /// Number of sums of each.
    counts: Vec<usize>,
}

/// What a sequence leaves: values between the passes, and what each of them left.
#[derive(Debug, Default)]
struct Between<E> {
    values: Vec<Vec<E>>,
    scratches: Vec<Scratch>,
}

impl<E: Real> Sequence<E> {
    pub(crate) fn new(dim: usize, passes: Vec<Arc<dyn Pass<E>>>) -> Self {
        let counts = passes.iter().map(|pass| pass.sum_lengths().len()).collect();
        Self { dim, passes, counts }
    }
}

impl<E: Real> Pass<E> for Sequence<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn sum_lengths(&self) -> Vec<usize> {
        self.passes.iter().flat_map(|pass| pass.sum_lengths()).collect()
    }

    fn forward(&self, rows: Rows<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Rows { first, input, context, value, log_det } = rows;
        let Between { values, scratches } = scratch.or_default();
        let count = self.passes.len();
        values.resize_with(count.saturating_sub(1), Vec::new);
        scratches.resize_with(count, Scratch::new);
        let mut work = Work::default();
        for (index, (pass, scratch)) in self.passes.iter().zip(scratches).enumerate() {
            let (before, after) = values.split_at_mut(index);
            let input = before.last().map_or(input, Vec::as_slice);
            let value = match after.first_mut() {
                Some(between) => {
                    between.resize(input.len(), E::zero());
                    between.as_mut_slice()
                }
                None => &mut *value,
            };
            let rows = Rows { first, input, context, value, log_det: &mut *log_det };
            work += pass.forward(rows, scratch)?;
        }
        if count == 0 {
            value.copy_from_slice(input);
        }
        Ok(work)
    }

    fn backward(&self, rows: RowsBack<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let RowsBack { first, input, value, context, d_value, d_log_det, d_input, d_context, sums } =
            rows;
        let Between { values, scratches } = scratch.left();
        let mut rest = sums;
        let mut outer = d_value.to_vec();
        let mut inner = vec![E::zero(); outer.len()];
        for (index, pass) in self.passes.iter().enumerate().rev() {
            let (others, own) = rest.split_at_mut(rest.len() - self.counts[index]);
            rest = others;
            let back = RowsBack {
                first,
                input: index.checked_sub(1).map_or(input, |before| &values[before]),
                value: values.get(index).map_or(value, Vec::as_slice),
                context,
                d_value: &outer,
                d_log_det,
                d_input: &mut inner,
                d_context: &mut *d_context,
                sums: own,
            };
            pass.backward(back, &mut scratches[index])?;
            std::mem::swap(&mut outer, &mut inner);
        }
        d_input.copy_from_slice(&outer);
        Ok(())
    }

    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        let mut rest = sums;
        for (pass, &count) in self.passes.iter().zip(&self.counts) {
            let (own, others) = rest.split_at_mut(count);
            pass.deliver(own, gradients)?;
            rest = others;
        }
        Ok(())
    }
}
