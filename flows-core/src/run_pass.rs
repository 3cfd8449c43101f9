//! A pass over all rows of a batch, with one tape entry.

use std::sync::Arc;

use crate::bijector::Mapped;
use crate::blocks::{Blockwise, Gradient, Pool, run};
use crate::lanes::{named, named_mut};
use crate::pass::{Direction, Pass, Rows, RowsBack};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, Values, batch, check_columns, per_row};
use crate::{Context, Real, Result, Scratch, Tally};

/// Buffers of a bijector's passes in either direction, reused between calls.
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

/// Runs a pass over all rows of a batch, with one tape entry.
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

/// A pass for the block pipeline: inputs are rows and context, outputs value and log-det.
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
        let [value, log_det] = named_mut(outputs);
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
        let [d_value, d_log_det] = named(gradient.outputs);
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

/// What a pass leaves for the way back.
#[derive(Debug, Default)]
struct Kept<E> {
    value: Vec<E>,
    scratch: Scratch,
}
