//! Execution of a batch block by block on all threads, forwards and backwards: the pipeline of every
//! operation, network and bijector.
//!
//! What the maps of a bijector leave for the backward pass is kept for the first [`KEPT`] blocks and
//! recomputed for the others, with the same result.

mod backward;
mod transpose;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use backward::Record;
use rayon::prelude::*;
use transpose::{from_lanes, to_lanes, zeros};

use crate::lanes::LANES;
use crate::tape::Gradients;
use crate::tensor::{Batch, Values, columns};
use crate::{Error, Real, Result, Scratch};

/// Blocks whose scratch is kept if it can be recomputed: 8,192 rows, some hundred megabytes for a
/// large flow.
const KEPT: usize = 64;

/// The computation on a block: an operation with its parameters, or the maps of a bijector.
pub(crate) trait Blockwise<E: Real>: Send + Sync {
    /// Name for error messages.
    fn name(&self) -> &'static str;

    /// Columns of each output.
    fn output_widths(&self) -> Vec<usize>;

    /// Length of each sum of parameter gradients.
    fn sum_lengths(&self) -> Vec<usize>;

    /// Whether the forward pass can be run again with the same result, at a cost worth the memory.
    fn can_repeat(&self) -> bool {
        false
    }

    /// Computes the block that starts at row `first`; outputs are zero at first.
    fn forward(
        &self,
        first: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()>;

    /// The backward pass: writes the gradients of the inputs and adds to the sums.
    fn backward(
        &self,
        first: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        gradient: Gradient<'_, '_, E>,
    ) -> Result<()>;

    /// Adds the sums over all rows to the gradients of the parameters and leaves zeros.
    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()>;
}

/// Gradients of one block.
#[derive(Debug)]
pub(crate) struct Gradient<'a, 'b, E> {
    /// Of the outputs; zero in the padding lanes of the last block.
    pub(crate) outputs: &'a [&'a [E]],
    /// Of the inputs, zero at first.
    pub(crate) inputs: &'a mut [&'b mut [E]],
    /// Of the parameters, added to.
    pub(crate) sums: &'a mut [&'b mut [E]],
}

/// Buffers that are reused between calls.
pub(crate) struct Pool<E> {
    blocks: Mutex<Vec<Block<E>>>,
    /// Sums of parameter gradients, all zero.
    sums: Mutex<Vec<Vec<Vec<E>>>>,
}

impl<E> Default for Pool<E> {
    fn default() -> Self {
        Self { blocks: Mutex::default(), sums: Mutex::default() }
    }
}

impl<E> fmt::Debug for Pool<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

fn take_buffer<T>(from: &Mutex<Vec<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn return_buffer<T>(to: &Mutex<Vec<T>>, back: T) {
    to.lock().unwrap_or_else(PoisonError::into_inner).push(back);
}

/// One block: its inputs, its outputs, and what its forward pass left.
struct Block<E> {
    inputs: Vec<Vec<E>>,
    outputs: Vec<Vec<E>>,
    scratch: Scratch,
}

impl<E> Default for Block<E> {
    fn default() -> Self {
        Self { inputs: Vec::new(), outputs: Vec::new(), scratch: Scratch::new() }
    }
}

/// The outputs of a run, row by row, and its record for the backward pass.
pub(crate) struct Done<E: Real> {
    pub(crate) outputs: Vec<Vec<E>>,
    pub(crate) record: Option<Record<E>>,
}

/// Runs all rows of `inputs`.
pub(crate) fn run<E: Real>(
    task: Arc<dyn Blockwise<E>>,
    inputs: &[&Batch<E>],
    pool: &Arc<Pool<E>>,
    recorded: bool,
) -> Result<Done<E>> {
    let rows = inputs.first().map_or(0, |input| input.rows());
    for input in inputs {
        if input.rows() != rows {
            return Err(Error::Rows { op: task.name(), expected: rows, got: input.rows() });
        }
    }
    let sources: Vec<(Vec<E>, usize)> =
        inputs.iter().map(|input| (input.values(), columns(input))).collect();
    let widths = task.output_widths();
    let mut outputs: Vec<Vec<E>> = widths.iter().map(|w| vec![E::zero(); w * rows]).collect();
    let starts: Vec<usize> = (0..rows).step_by(LANES).collect();
    let targets = divided(&mut outputs, &widths, &starts, rows);
    let work = |(first, targets): (usize, Vec<&mut [E]>)| {
        let mut block = take_buffer(&pool.blocks).unwrap_or_default();
        forward(&*task, first, &sources, &widths, &mut block)
            .map_err(|error| error.in_rows_from(first))?;
        for (source, target) in block.outputs.iter().zip(targets) {
            from_lanes(source, target);
        }
        if recorded && (first < KEPT * LANES || !task.can_repeat()) {
            return Ok(Some(block));
        }
        return_buffer(&pool.blocks, block);
        Ok(None)
    };
    let pairs: Vec<_> = starts.iter().copied().zip(targets).collect();
    let blocks = on_all_threads(pairs, work)?;
    let record = recorded.then(|| Record {
        task,
        inputs: inputs.iter().map(|&input| input.clone()).collect(),
        widths,
        blocks,
        pool: Arc::clone(pool),
    });
    Ok(Done { outputs, record })
}

fn forward<E: Real>(
    task: &dyn Blockwise<E>,
    first: usize,
    sources: &[(Vec<E>, usize)],
    widths: &[usize],
    block: &mut Block<E>,
) -> Result<()> {
    let Block { inputs, outputs, scratch } = block;
    inputs.resize_with(sources.len(), Vec::new);
    for (input, (values, width)) in inputs.iter_mut().zip(sources) {
        to_lanes(values, *width, first, input);
    }
    outputs.resize_with(widths.len(), Vec::new);
    for (output, width) in outputs.iter_mut().zip(widths) {
        zeros(output, width * LANES);
    }
    task.forward(first, &slices(inputs), scratch, &mut slices_mut(outputs))
}

/// Runs `work` on every task, on all threads if there are several. Of several errors that of the
/// first task is reported.
fn on_all_threads<A: Send, B: Send>(
    tasks: Vec<A>,
    work: impl Fn(A) -> Result<B> + Sync + Send,
) -> Result<Vec<B>> {
    if tasks.len() < 2 {
        return tasks.into_iter().map(work).collect();
    }
    let done: Vec<Result<B>> = tasks.into_par_iter().map(work).collect();
    done.into_iter().collect()
}

/// Cuts row-major tensors at the rows `starts`; for each of them, the pieces of all tensors.
fn divided<'a, E>(
    tensors: &'a mut [Vec<E>],
    widths: &[usize],
    starts: &[usize],
    rows: usize,
) -> Vec<Vec<&'a mut [E]>> {
    let mut pieces: Vec<Vec<&mut [E]>> =
        starts.iter().map(|_| Vec::with_capacity(widths.len())).collect();
    for (tensor, width) in tensors.iter_mut().zip(widths) {
        let mut rest = tensor.as_mut_slice();
        for (index, piece) in pieces.iter_mut().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(rows);
            let (own, others) = rest.split_at_mut((end - starts[index]) * width);
            piece.push(own);
            rest = others;
        }
    }
    pieces
}

fn slices<E>(vectors: &[Vec<E>]) -> Vec<&[E]> {
    vectors.iter().map(Vec::as_slice).collect()
}

fn slices_mut<E>(vectors: &mut [Vec<E>]) -> Vec<&mut [E]> {
    vectors.iter_mut().map(Vec::as_mut_slice).collect()
}
