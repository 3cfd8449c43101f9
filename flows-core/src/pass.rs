//! Passes: one direction of a bijector over a block of rows, so that a block goes through a whole
//! flow while it is in the cache.

use std::sync::Arc;

use crate::tape::Gradients;
use crate::{Real, Result, Scratch, Work};

/// Direction of a bijector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Base to data.
    Forward,
    /// Data to base.
    Inverse,
}

impl Direction {
    /// The opposite direction.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Forward => Self::Inverse,
            Self::Inverse => Self::Forward,
        }
    }
}

/// One direction of a bijector over a block of [`LANES`](crate::operation::LANES) rows, feature by
/// feature: of a layer, of a chain, or of either on some of the features.
pub trait Pass<E: Real>: Send + Sync {
    /// Number of features.
    fn dim(&self) -> usize;

    /// Length of each sum of parameter gradients.
    fn sum_lengths(&self) -> Vec<usize>;

    /// Writes the value and adds to the log-det.
    ///
    /// # Errors
    /// Numerical failures; rows are counted within the block.
    fn forward(&self, rows: Rows<'_, E>, scratch: &mut Scratch) -> Result<Work>;

    /// Backward pass.
    ///
    /// # Errors
    /// Numerical failures.
    fn backward(&self, rows: RowsBack<'_, '_, E>, scratch: &mut Scratch) -> Result<()>;

    /// Adds the sums over all rows to the gradients of the parameters and leaves zeros.
    ///
    /// # Errors
    /// Numerical failures.
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

/// The backward pass through a block of rows.
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

/// The composition of passes.
pub(crate) struct Sequence<E: Real> {
    dim: usize,
    passes: Vec<Arc<dyn Pass<E>>>,
    /// Number of sums of each.
    counts: Vec<usize>,
}

/// Values between the passes of a sequence, and what each of them left.
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
