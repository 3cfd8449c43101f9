//! A batch block by block on all threads, forwards and backwards: the one pipeline of every
//! operation, network and bijector.
//!
//! The gradients of parameters are summed in a fixed tree: the blocks are divided among at most
//! [`LEAVES`] runs of neighbours, each of which adds up its blocks in order in one buffer, and the
//! buffers are added in order. So results do not depend on the number of threads, nor the memory of
//! the sums on the number of rows. What the maps of a bijector leave for their way back is kept for
//! the first [`KEPT`] blocks and computed anew for the others, with the same result.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::lanes::{LANES, add};
use crate::tape::Gradients;
use crate::tensor::{Batch, Values, columns};
use crate::{Error, Real, Result, Scratch};

/// Most buffers that the gradients of parameters are summed in; a fixed number, because it decides
/// the order of the sums.
const LEAVES: usize = 16;

/// Blocks of which everything is kept that their forward pass left, where it can be computed anew:
/// 8,192 rows, some hundred megabytes for a large flow.
const KEPT: usize = 64;

/// Values of a parameter's gradient that a thread adds up at a time.
const TOGETHER: usize = 1 << 15;

/// What is done with a block: an operation with its parameters, or the maps of a bijector.
pub(crate) trait Blockwise<E: Real>: Send + Sync {
    /// Name for error messages.
    fn name(&self) -> &'static str;

    /// Columns of each output.
    fn output_widths(&self) -> Vec<usize>;

    /// Length of each sum of parameter gradients.
    fn sum_lengths(&self) -> Vec<usize>;

    /// Whether a forward pass that is run again leaves the same, at a cost that is worth its memory.
    fn can_repeat(&self) -> bool {
        false
    }

    /// Computes the block that starts at row `first`; outputs come filled with zeros.
    fn forward(
        &self,
        first: usize,
        inputs: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()>;

    /// The way back: writes the gradients of the inputs and adds to the sums.
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
    /// Of the outputs; zero in lanes that only fill up the last block.
    pub(crate) outputs: &'a [&'a [E]],
    /// Of the inputs, which come filled with zeros.
    pub(crate) inputs: &'a mut [&'b mut [E]],
    /// Of the parameters, added to.
    pub(crate) sums: &'a mut [&'b mut [E]],
}

/// Buffers that are kept from one call to the next.
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

fn taken<T>(from: &Mutex<Vec<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn given<T>(to: &Mutex<Vec<T>>, back: T) {
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

/// The outputs of a run, row by row, and the way back if it was recorded.
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
        let mut block = taken(&pool.blocks).unwrap_or_default();
        forward(&*task, first, &sources, &widths, &mut block)
            .map_err(|error| error.shifted(first))?;
        for (source, target) in block.outputs.iter().zip(targets) {
            from_lanes(source, target);
        }
        if recorded && (first < KEPT * LANES || !task.can_repeat()) {
            return Ok(Some(block));
        }
        given(&pool.blocks, block);
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

/// Runs `work` on every task: on all threads where there is more than one. Of several errors the
/// one of the first task is reported, whichever thread was faster.
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

/// Row-major tensors cut at the rows `starts`, for each of those the pieces of all tensors.
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

/// What a recorded run needs for its way back.
pub(crate) struct Record<E: Real> {
    task: Arc<dyn Blockwise<E>>,
    inputs: Vec<Batch<E>>,
    widths: Vec<usize>,
    /// None where the forward pass is run again.
    blocks: Vec<Option<Block<E>>>,
    pool: Arc<Pool<E>>,
}

impl<E: Real> Record<E> {
    /// From the gradients of the outputs, row by row, to those of inputs and parameters.
    pub(crate) fn backward(self, outer: &[Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        let Self { task, inputs, widths, blocks, pool } = self;
        let rows = inputs.first().map_or(0, Values::rows);
        let input_widths: Vec<usize> = inputs.iter().map(columns).collect();
        let mut inner: Vec<Vec<E>> =
            input_widths.iter().map(|width| vec![E::zero(); width * rows]).collect();
        let leaves = runs_of_neighbours(blocks.len());
        let starts: Vec<usize> = leaves.iter().map(|leaf| leaf.start * LANES).collect();
        let targets = divided(&mut inner, &input_widths, &starts, rows);
        let lengths = task.sum_lengths();
        let sources: Vec<(Vec<E>, usize)> = match blocks.iter().all(Option::is_some) {
            true => Vec::new(),
            false => inputs.iter().map(|input| (input.values(), columns(input))).collect(),
        };
        let mut blocks = blocks.into_iter();
        let leaf = |(range, targets): (&Range<usize>, _)| Leaf {
            start: range.start,
            blocks: blocks.by_ref().take(range.len()).collect(),
            targets,
        };
        let tasks: Vec<Leaf<'_, E>> = leaves.iter().zip(targets).map(leaf).collect();
        let work = |Leaf { start, blocks, mut targets }: Leaf<'_, E>| {
            let mut sums = taken(&pool.sums).unwrap_or_default();
            sums.resize_with(lengths.len(), Vec::new);
            for (sum, &length) in sums.iter_mut().zip(&lengths) {
                sum.resize(length, E::zero());
            }
            let outer = (outer, widths.as_slice());
            for (index, kept) in blocks.into_iter().enumerate() {
                let first = (start + index) * LANES;
                let way_back = || {
                    let mut block = match kept {
                        Some(block) => block,
                        None => {
                            let mut block = taken(&pool.blocks).unwrap_or_default();
                            forward(&*task, first, &sources, &widths, &mut block)?;
                            block
                        }
                    };
                    backward(&*task, first, &mut block, outer, &mut targets, &mut sums)?;
                    given(&pool.blocks, block);
                    Ok(())
                };
                way_back().map_err(|error: Error| error.shifted(first))?;
            }
            Ok(sums)
        };
        let mut sums = on_all_threads(tasks, work)?;
        for (input, values) in inputs.iter().zip(&mut inner) {
            gradients.move_in(input, values)?;
        }
        if let Some((total, others)) = sums.split_first_mut() {
            for (slot, total) in total.iter_mut().enumerate() {
                add_in_order(others, slot, total);
            }
            task.deliver(total, gradients)?;
        }
        sums.into_iter().for_each(|sums| given(&pool.sums, sums));
        Ok(())
    }
}

/// Neighbouring blocks whose parameter gradients are summed in one buffer.
struct Leaf<'a, E> {
    /// Number of the first of them.
    start: usize,
    blocks: Vec<Option<Block<E>>>,
    /// Gradients of the inputs of their rows.
    targets: Vec<&'a mut [E]>,
}

/// `count` blocks as at most [`LEAVES`] ranges, which depend on nothing but their number.
fn runs_of_neighbours(count: usize) -> Vec<Range<usize>> {
    let leaves = count.min(LEAVES);
    (0..leaves).map(|leaf| leaf * count / leaves..(leaf + 1) * count / leaves).collect()
}

/// The way back through one block; `targets` begin with its rows and go on without them.
fn backward<E: Real>(
    task: &dyn Blockwise<E>,
    first: usize,
    block: &mut Block<E>,
    (outer, widths): (&[Vec<E>], &[usize]),
    targets: &mut [&mut [E]],
    sums: &mut [Vec<E>],
) -> Result<()> {
    let Block { inputs, outputs, scratch } = block;
    for ((values, width), lanes) in outer.iter().zip(widths).zip(outputs.iter_mut()) {
        gradient_to_lanes(values, *width, first, lanes);
    }
    let mut inner: Vec<Vec<E>> = inputs.iter().map(|i| vec![E::zero(); i.len()]).collect();
    let gradient = Gradient {
        outputs: &slices(outputs),
        inputs: &mut slices_mut(&mut inner),
        sums: &mut slices_mut(sums),
    };
    task.backward(first, &slices(inputs), scratch, gradient)?;
    for (source, target) in inner.iter().zip(targets) {
        let own = target.len().min(source.len());
        let (own, others) = std::mem::take(target).split_at_mut(own);
        from_lanes(source, own);
        *target = others;
    }
    Ok(())
}

/// Adds one sum of every leaf to `total`, in order of the leaves, and leaves zeros.
fn add_in_order<E: Real>(leaves: &mut [Vec<Vec<E>>], slot: usize, total: &mut [E]) {
    let mut pieces: Vec<Vec<&mut [E]>> = total.chunks_mut(TOGETHER).map(|t| vec![t]).collect();
    for leaf in leaves {
        let chunks = leaf[slot].chunks_mut(TOGETHER);
        pieces.iter_mut().zip(chunks).for_each(|(piece, chunk)| piece.push(chunk));
    }
    let work = |mut piece: Vec<&mut [E]>| {
        if let Some((total, terms)) = piece.split_first_mut() {
            for terms in terms {
                add(total, terms);
                terms.fill(E::zero());
            }
        }
    };
    if pieces.len() < 2 {
        pieces.into_iter().for_each(work);
    } else {
        pieces.into_par_iter().for_each(work);
    }
}

fn slices<E>(vectors: &[Vec<E>]) -> Vec<&[E]> {
    vectors.iter().map(Vec::as_slice).collect()
}

fn slices_mut<E>(vectors: &mut [Vec<E>]) -> Vec<&mut [E]> {
    vectors.iter_mut().map(Vec::as_mut_slice).collect()
}

fn zeros<E: Real>(values: &mut Vec<E>, length: usize) {
    values.clear();
    values.resize(length, E::zero());
}

/// Feature-major copy of the rows from `start`, the last one repeated to fill the block.
fn to_lanes<E: Real>(values: &[E], width: usize, start: usize, lanes: &mut Vec<E>) {
    let rows = values.len().checked_div(width).unwrap_or(0);
    lanes.resize(width * LANES, E::zero());
    for lane in 0..LANES {
        let row = (start + lane).min(rows.saturating_sub(1));
        for (feature, &value) in values[row * width..(row + 1) * width].iter().enumerate() {
            lanes[feature * LANES + lane] = value;
        }
    }
}

/// As [`to_lanes`], but the lanes that only fill up the last block have gradient zero.
fn gradient_to_lanes<E: Real>(values: &[E], width: usize, start: usize, lanes: &mut Vec<E>) {
    let rows = values.len().checked_div(width).unwrap_or(0);
    zeros(lanes, width * LANES);
    for lane in 0..LANES.min(rows.saturating_sub(start)) {
        let row = start + lane;
        for (feature, &value) in values[row * width..(row + 1) * width].iter().enumerate() {
            lanes[feature * LANES + lane] = value;
        }
    }
}

/// Row-major copy of the first lanes, as many as `rows` has room for.
fn from_lanes<E: Real>(lanes: &[E], rows: &mut [E]) {
    let width = lanes.len() / LANES;
    for (lane, row) in rows.chunks_exact_mut(width.max(1)).enumerate() {
        for (feature, value) in row.iter_mut().enumerate() {
            *value = lanes[feature * LANES + lane];
        }
    }
}
