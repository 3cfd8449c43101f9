//! Fused differentiable operations: forward and backward passes over blocks of rows.
//!
//! An [`Operation`] sees blocks of [`LANES`] rows, stored feature by feature: value (i, j) of a
//! block, feature i of lane j, is at `i * LANES + j`. Rows are thus the vector lanes, whatever the
//! number of features. [`apply`] cuts a batch into blocks (the last one padded with copies of its
//! last row), runs them on all threads, and records one entry on the tape.

use std::sync::Arc;

use crate::blocks::{Blockwise, Gradient, Pool, run};
pub use crate::lanes::LANES;
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, PerRow, Values, batch, per_row};
use crate::{Real, Result, Scratch};

/// A fused differentiable operation on rows: one tape entry, whatever it computes.
///
/// `inputs` and `outputs` are blocks, `parameters` are whole tensors, row by row.
pub trait Operation<E: Real>: Send + Sync {
    /// Name for error messages.
    fn name(&self) -> &'static str;

    /// Columns of each output.
    fn output_widths(&self) -> Vec<usize>;

    /// Computes one block; `outputs` are zero at first. What the backward pass needs is left in
    /// `scratch`, which may hold the buffers of another block.
    ///
    /// # Errors
    /// Numerical failures, such as an iteration that does not converge; rows are counted within the
    /// block.
    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()>;

    /// Backward pass: from the gradient of each output, writes that of each input (zero at first)
    /// and *adds* to that of each parameter.
    ///
    /// # Errors
    /// Numerical failures; rows are counted within the block.
    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()>;
}

/// Inputs, parameters and scratch of a block, for the backward pass.
#[derive(Debug)]
pub struct Recorded<'a, E> {
    /// The inputs of the forward pass.
    pub inputs: &'a [&'a [E]],
    /// Its parameters.
    pub parameters: &'a [&'a [E]],
    /// What the forward pass left.
    pub scratch: &'a mut Scratch,
}

/// Applies an operation to all rows and records it, if the tape records.
///
/// # Errors
/// [`Error::Rows`](crate::Error::Rows) if inputs differ in length; errors of the operation.
pub fn apply<E: Real>(
    operation: impl Operation<E> + 'static,
    inputs: &[&Batch<E>],
    parameters: &[Batch<E>],
    tape: &mut Tape<E>,
) -> Result<Vec<Batch<E>>> {
    let values = Arc::new(parameters.iter().map(Values::values).collect());
    apply_with(operation, inputs, parameters, values, tape)
}

/// As [`apply`], with the values of the parameters given, which saves a copy.
///
/// # Errors
/// As [`apply`].
pub fn apply_with<E: Real>(
    operation: impl Operation<E> + 'static,
    inputs: &[&Batch<E>],
    parameters: &[Batch<E>],
    values: Arc<Vec<Vec<E>>>,
    tape: &mut Tape<E>,
) -> Result<Vec<Batch<E>>> {
    let (tensors, operation) = (parameters.to_vec(), Box::new(operation));
    apply_erased(BoundOperation { operation, tensors, values }, inputs, tape)
}

fn apply_erased<E: Real>(
    plain: BoundOperation<E>,
    inputs: &[&Batch<E>],
    tape: &mut Tape<E>,
) -> Result<Vec<Batch<E>>> {
    let widths = plain.operation.output_widths();
    let rows = inputs.first().map_or(0, |input| input.rows());
    let done = run(Arc::new(plain), inputs, &Arc::new(Pool::default()), tape.is_recording())?;
    let pairs = done.outputs.into_iter().zip(widths);
    let outputs: Vec<Batch<E>> =
        pairs.map(|(values, width)| batch(values, rows, width)).collect::<Result<_>>()?;
    if let Some(record) = done.record {
        let results = outputs.clone();
        tape.record(move |gradients| {
            let incoming = results.iter().map(|r| gradients.take(r)).collect::<Result<Vec<_>>>()?;
            record.backward(&incoming, gradients)
        });
    }
    Ok(outputs)
}

/// The column of a one-column batch as one value a row, differentiably.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) if memory runs out.
pub fn column<E: Real>(wide: Batch<E>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
    let narrow = per_row(wide.values())?;
    if tape.is_recording() {
        let source = narrow.clone();
        tape.record(move |gradients| {
            let incoming = gradients.take(&source)?;
            gradients.add(&wide, &incoming)
        });
    }
    Ok(narrow)
}

/// An operation with its parameters.
struct BoundOperation<E: Real> {
    operation: Box<dyn Operation<E>>,
    tensors: Vec<Batch<E>>,
    values: Arc<Vec<Vec<E>>>,
}

impl<E: Real> BoundOperation<E> {
    fn parameters(&self) -> Vec<&[E]> {
        self.values.iter().map(Vec::as_slice).collect()
    }
}

impl<E: Real> Blockwise<E> for BoundOperation<E> {
    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn output_widths(&self) -> Vec<usize> {
        self.operation.output_widths()
    }

    fn sum_lengths(&self) -> Vec<usize> {
        self.values.iter().map(Vec::len).collect()
    }

    fn forward(
        &self,
        _: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        self.operation.forward(inputs, &self.parameters(), scratch, outputs)
    }

    fn backward(
        &self,
        _: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        gradient: Gradient<'_, '_, E>,
    ) -> Result<()> {
        let Gradient { outputs, inputs: into, sums } = gradient;
        let block = Recorded { inputs, parameters: &self.parameters(), scratch };
        self.operation.backward(block, outputs, into, sums)
    }

    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        self.tensors.iter().zip(sums).try_for_each(|(tensor, sum)| gradients.move_in(tensor, sum))
    }
}
