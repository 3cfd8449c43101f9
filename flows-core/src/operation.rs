//! One way to write a fused differentiable operation: forward and backward over slices.
//!
//! An [`Operation`] sees blocks of [`LANES`] rows, stored feature by feature: value (i, j) of a
//! block, feature i of lane j, is at `i * LANES + j`. Rows are then the vector lanes, whatever the
//! number of features. [`apply`] cuts a batch into blocks (the last one is filled up with copies of
//! its last row), runs them on all threads, and records one entry on the tape. The backward pass
//! adds parameter gradients within a task of one or more blocks and then over tasks in
//! order, so results depend neither on the number of threads nor on a row's batch mates.

use std::sync::Arc;

use dfdx::tensor::CpuError;
use rayon::prelude::*;

use crate::tensor::{Batch, Gradient, Mode, PerRow, Values, batch, columns, per_row};
use crate::{Error, Real, Result};

/// Rows of a block.
pub const LANES: usize = 128;

/// Blocks that share one buffer of parameter gradients; a fixed number, because it decides the
/// order of the sums.
const BLOCKS_PER_TASK: usize = 1;

/// Values of a parameter's gradient that a thread sums up at a time.
const TOGETHER: usize = 1 << 15;

/// A differentiable operation on rows, fused: one tape entry, however much happens inside.
///
/// `inputs` and `outputs` are blocks, `parameters` are whole tensors, row by row.
pub trait Operation<E: Real>: Send + Sync + 'static {
    /// What the forward pass of a block leaves for its backward pass; without a tape the same one
    /// serves one block after another.
    type Workspace: Default + Send;

    /// Name for error messages.
    fn name(&self) -> &'static str;

    /// Columns of each output.
    fn output_widths(&self) -> Vec<usize>;

    /// Computes one block; `outputs` come filled with zeros.
    ///
    /// # Errors
    /// Numerical events, such as an iteration that does not converge; rows are counted within the
    /// block.
    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        outputs: &mut [&mut [E]],
    ) -> Result<()>;

    /// Given the gradient of each output, writes the gradient of each input (they come filled with
    /// zeros) and *adds* to the gradient of each parameter.
    fn backward(
        &self,
        block: Recorded<'_, E, Self::Workspace>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    );
}

/// A block as the backward pass finds it.
#[derive(Debug)]
pub struct Recorded<'a, E, W> {
    /// The inputs of the forward pass.
    pub inputs: &'a [&'a [E]],
    /// Its parameters.
    pub parameters: &'a [&'a [E]],
    /// What it left.
    pub workspace: &'a mut W,
}

/// Runs an operation on all rows and records it on the tape, if there is one.
///
/// # Errors
/// [`Error::Rows`] if inputs differ in length; whatever the operation reports.
pub fn apply<E: Real, O: Operation<E>, T: Mode<E>>(
    operation: O,
    inputs: &[&Batch<E>],
    parameters: &[Batch<E>],
    tape: &mut T,
) -> Result<Vec<Batch<E>>> {
    let values = Arc::new(parameters.iter().map(Values::values).collect());
    apply_with(operation, inputs, parameters, values, tape)
}

/// As [`apply`], where the values of the parameters are at hand: their copy need not be made anew in
/// every call, and may differ from the parameters where that makes no difference to the operation (a
/// weight that a mask forbids, say).
///
/// # Errors
/// As [`apply`].
pub fn apply_with<E: Real, O: Operation<E>, T: Mode<E>>(
    operation: O,
    inputs: &[&Batch<E>],
    parameters: &[Batch<E>],
    values: Arc<Vec<Vec<E>>>,
    tape: &mut T,
) -> Result<Vec<Batch<E>>> {
    let rows = inputs.first().map_or(0, |input| input.rows());
    for input in inputs {
        if input.rows() != rows {
            let op = operation.name();
            return Err(Error::Rows { op, expected: rows, got: input.rows() });
        }
    }
    let widths = operation.output_widths();
    let tasks = pack(inputs, rows);
    let views: Vec<&[E]> = values.iter().map(Vec::as_slice).collect();
    let numbered: Vec<_> = tasks.into_iter().enumerate().collect();
    let done = run(numbered, |(index, task)| {
        forward_task::<E, O, T>(&operation, index * BLOCKS_PER_TASK, task, &views, &widths)
    })?;

    let mut outputs = Vec::with_capacity(widths.len());
    for (slot, &width) in widths.iter().enumerate() {
        let blocks = done.iter().flat_map(|task| task.blocks.iter().map(|b| &b.outputs[slot]));
        outputs.push(batch(unpack(blocks, rows, width), rows, width)?);
    }
    if T::OWNS_TAPE {
        let record = Record {
            operation,
            inputs: inputs.iter().map(|&input| input.clone()).collect(),
            parameters: parameters.to_vec(),
            parameter_values: values,
            outputs: outputs.clone(),
            tasks: done,
        };
        tape.add_backward_op(move |gradients| record.backward(gradients));
    }
    Ok(outputs)
}

/// The single column of a one-column batch as a value a row; its gradient passes through.
///
/// # Errors
/// Never in practice; [`Error::Tensor`] is the tensor library's.
pub fn column<E: Real, T: Mode<E>>(wide: Batch<E>, tape: &mut T) -> Result<PerRow<E>> {
    let narrow = per_row(wide.values())?;
    if T::OWNS_TAPE {
        let source = narrow.clone();
        tape.add_backward_op(move |gradients| {
            let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&source)?);
            accumulate(gradients.get_or_alloc_mut(&wide)?, &incoming);
            Ok(())
        });
    }
    Ok(narrow)
}

/// Runs `work` on every task: on all threads where there is more than one, in order of the tasks. Of
/// several errors the first one is reported, whichever thread was faster.
fn run<A: Send, B: Send>(
    tasks: Vec<A>,
    work: impl Fn(A) -> Result<B> + Sync + Send,
) -> Result<Vec<B>> {
    if tasks.len() < 2 {
        return tasks.into_iter().map(work).collect();
    }
    let done: Vec<Result<B>> = tasks.into_par_iter().map(work).collect();
    done.into_iter().collect()
}

struct Block<E, W> {
    inputs: Vec<Vec<E>>,
    outputs: Vec<Vec<E>>,
    workspace: W,
}

struct Task<E, W> {
    blocks: Vec<Block<E, W>>,
}

fn slices<E>(vectors: &[Vec<E>]) -> Vec<&[E]> {
    vectors.iter().map(Vec::as_slice).collect()
}

fn slices_mut<E>(vectors: &mut [Vec<E>]) -> Vec<&mut [E]> {
    vectors.iter_mut().map(Vec::as_mut_slice).collect()
}

fn forward_task<E: Real, O: Operation<E>, T: Mode<E>>(
    operation: &O,
    first: usize,
    inputs: Vec<Vec<Vec<E>>>,
    parameters: &[&[E]],
    widths: &[usize],
) -> Result<Task<E, O::Workspace>> {
    let mut workspace = O::Workspace::default();
    let mut blocks = Vec::with_capacity(inputs.len());
    for (block, inputs) in (first..).zip(inputs) {
        let mut outputs: Vec<Vec<E>> = widths.iter().map(|w| vec![E::zero(); w * LANES]).collect();
        let views = slices(&inputs);
        let result =
            operation.forward(&views, parameters, &mut workspace, &mut slices_mut(&mut outputs));
        result.map_err(|error| error.shifted(block * LANES))?;
        if T::OWNS_TAPE {
            blocks.push(Block { inputs, outputs, workspace: std::mem::take(&mut workspace) });
        } else {
            blocks.push(Block { inputs: Vec::new(), outputs, workspace: O::Workspace::default() });
        }
    }
    Ok(Task { blocks })
}

/// Blocks of the inputs, task by task.
fn pack<E: Real>(inputs: &[&Batch<E>], rows: usize) -> Vec<Vec<Vec<Vec<E>>>> {
    let sources: Vec<(Vec<E>, usize)> =
        inputs.iter().map(|input| (input.values(), columns(input))).collect();
    let starts: Vec<usize> = (0..rows).step_by(LANES).collect();
    starts
        .chunks(BLOCKS_PER_TASK)
        .map(|task| {
            let block = |&start: &usize| {
                sources.iter().map(|(values, dim)| to_lanes(values, *dim, start)).collect()
            };
            task.iter().map(block).collect()
        })
        .collect()
}

/// Feature-major copy of the rows from `start`, the last one repeated to fill the block.
fn to_lanes<E: Real>(values: &[E], dim: usize, start: usize) -> Vec<E> {
    let rows = values.len().checked_div(dim).unwrap_or(0);
    let mut lanes = vec![E::zero(); dim * LANES];
    for lane in 0..LANES {
        let row = (start + lane).min(rows.saturating_sub(1));
        for (feature, &value) in values[row * dim..(row + 1) * dim].iter().enumerate() {
            lanes[feature * LANES + lane] = value;
        }
    }
    lanes
}

/// Row-major values of the first `rows` lanes of all blocks.
fn unpack<'a, E: Real>(
    blocks: impl Iterator<Item = &'a Vec<E>>,
    rows: usize,
    width: usize,
) -> Vec<E> {
    let mut values = Vec::with_capacity(rows * width);
    for block in blocks {
        let lanes = LANES.min(rows - values.len().checked_div(width).unwrap_or(rows));
        for lane in 0..lanes {
            values.extend((0..width).map(|feature| block[feature * LANES + lane]));
        }
    }
    values
}

fn accumulate<E: Real>(sum: &mut [E], terms: &[E]) {
    for (total, &term) in sum.iter_mut().zip(terms) {
        *total += term;
    }
}

struct Record<E: Real, O: Operation<E>> {
    operation: O,
    inputs: Vec<Batch<E>>,
    parameters: Vec<Batch<E>>,
    parameter_values: Arc<Vec<Vec<E>>>,
    outputs: Vec<Batch<E>>,
    tasks: Vec<Task<E, O::Workspace>>,
}

impl<E: Real, O: Operation<E>> Record<E, O> {
    fn backward(self, gradients: &mut Gradient<E>) -> std::result::Result<(), CpuError> {
        let mut incoming = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            // Taken, not copied: nothing else reads the gradient of an output once it is spent.
            incoming.push(std::mem::take(&mut **gradients.get_or_alloc_mut(output)?));
        }
        let widths: Vec<usize> = self.outputs.iter().map(columns).collect();
        let rows = self.inputs.first().map_or(0, Values::rows);
        let parameters = slices(&self.parameter_values);
        let operation = &self.operation;
        let work = |(index, task): (usize, Task<E, O::Workspace>)| {
            let first = index * BLOCKS_PER_TASK * LANES;
            backward_task(operation, task, &parameters, first, &incoming, &widths)
        };
        let tasks: Vec<(usize, Task<E, O::Workspace>)> =
            self.tasks.into_iter().enumerate().collect();
        let done: Vec<TaskGradient<E>> = if tasks.len() < 2 {
            tasks.into_iter().map(work).collect()
        } else {
            tasks.into_par_iter().map(work).collect()
        };
        for (slot, input) in self.inputs.iter().enumerate() {
            let blocks = done.iter().flat_map(|task| task.inputs.iter().map(|b| &b[slot]));
            let values = unpack(blocks, rows, columns(input));
            accumulate(gradients.get_or_alloc_mut(input)?, &values);
        }
        for (slot, parameter) in self.parameters.iter().enumerate() {
            add_in_order(&done, slot, gradients.get_or_alloc_mut(parameter)?);
        }
        Ok(())
    }
}

struct TaskGradient<E> {
    /// For each block, the gradient of each input.
    inputs: Vec<Vec<Vec<E>>>,
    parameters: Vec<Vec<E>>,
}

fn backward_task<E: Real, O: Operation<E>>(
    operation: &O,
    task: Task<E, O::Workspace>,
    parameters: &[&[E]],
    first: usize,
    incoming: &[Vec<E>],
    widths: &[usize],
) -> TaskGradient<E> {
    let mut total: Vec<Vec<E>> = parameters.iter().map(|p| vec![E::zero(); p.len()]).collect();
    let mut inputs = Vec::with_capacity(task.blocks.len());
    for (index, mut block) in task.blocks.into_iter().enumerate() {
        let start = first + index * LANES;
        let outer: Vec<Vec<E>> = incoming
            .iter()
            .zip(widths)
            .map(|(values, &width)| gradient_to_lanes(values, width, start))
            .collect();
        let mut inner: Vec<Vec<E>> =
            block.inputs.iter().map(|input| vec![E::zero(); input.len()]).collect();
        let recorded = Recorded {
            inputs: &slices(&block.inputs),
            parameters,
            workspace: &mut block.workspace,
        };
        let mut sums = slices_mut(&mut total);
        operation.backward(recorded, &slices(&outer), &mut slices_mut(&mut inner), &mut sums);
        inputs.push(inner);
    }
    TaskGradient { inputs, parameters: total }
}

/// As [`to_lanes`], but the lanes that only fill up the last block have gradient zero.
fn gradient_to_lanes<E: Real>(values: &[E], width: usize, start: usize) -> Vec<E> {
    let rows = values.len().checked_div(width).unwrap_or(0);
    let mut lanes = vec![E::zero(); width * LANES];
    for lane in 0..LANES.min(rows.saturating_sub(start)) {
        let row = start + lane;
        for (feature, &value) in values[row * width..(row + 1) * width].iter().enumerate() {
            lanes[feature * LANES + lane] = value;
        }
    }
    lanes
}

/// Adds the tasks' gradients of one parameter to `total`, in order of the tasks.
fn add_in_order<E: Real>(tasks: &[TaskGradient<E>], slot: usize, total: &mut [E]) {
    total.par_chunks_mut(TOGETHER).enumerate().for_each(|(chunk, total)| {
        for task in tasks {
            accumulate(total, &task.parameters[slot][chunk * TOGETHER..]);
        }
    });
}
