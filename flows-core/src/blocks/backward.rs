//! The backward pass over the blocks of a batch.
//!
//! The gradients of parameters are summed in a fixed tree: the blocks are divided into at most
//! [`LEAVES`] runs of neighbours, each of which is summed in order in one buffer, and the buffers
//! are added in order. So the result does not depend on the number of threads, nor the memory of the
//! sums on the number of rows.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::transpose::{from_lanes, gradient_to_lanes};
use super::{
    Block, Blockwise, Gradient, Pool, divided, forward, on_all_threads, return_buffer, slices,
    slices_mut, take_buffer,
};
use crate::lanes::{LANES, add};
use crate::tape::Gradients;
use crate::tensor::{Batch, Values, columns};
use crate::{Error, Real, Result};

/// Largest number of buffers for sums of parameter gradients; fixed, because it decides the order of
/// the sums.
const LEAVES: usize = 16;

/// Values of a parameter's gradient that a thread adds up at a time.
const TOGETHER: usize = 1 << 15;

/// A recorded run, for its backward pass.
pub(crate) struct Record<E: Real> {
    pub(super) task: Arc<dyn Blockwise<E>>,
    pub(super) inputs: Vec<Batch<E>>,
    pub(super) widths: Vec<usize>,
    /// `None` for blocks whose forward pass is run again.
    pub(super) blocks: Vec<Option<Block<E>>>,
    pub(super) pool: Arc<Pool<E>>,
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
            let mut sums = take_buffer(&pool.sums).unwrap_or_default();
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
                            let mut block = take_buffer(&pool.blocks).unwrap_or_default();
                            forward(&*task, first, &sources, &widths, &mut block)?;
                            block
                        }
                    };
                    backward(&*task, first, &mut block, outer, &mut targets, &mut sums)?;
                    return_buffer(&pool.blocks, block);
                    Ok(())
                };
                way_back().map_err(|error: Error| error.in_rows_from(first))?;
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
        sums.into_iter().for_each(|sums| return_buffer(&pool.sums, sums));
        Ok(())
    }
}

/// Neighbouring blocks whose parameter gradients are summed in one buffer.
struct Leaf<'a, E> {
    /// Index of the first of them.
    start: usize,
    blocks: Vec<Option<Block<E>>>,
    /// Gradients of the inputs of their rows.
    targets: Vec<&'a mut [E]>,
}

/// `count` blocks as at most [`LEAVES`] ranges, which depend on `count` only.
fn runs_of_neighbours(count: usize) -> Vec<Range<usize>> {
    let leaves = count.min(LEAVES);
    (0..leaves).map(|leaf| leaf * count / leaves..(leaf + 1) * count / leaves).collect()
}

/// The backward pass through one block; its rows are split off the front of `targets`.
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

/// Adds one sum of every leaf to `total`, in the order of the leaves, and leaves zeros.
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
