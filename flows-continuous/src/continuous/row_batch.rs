//! Batches of rows in blocks, and the row-wise solver over them.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use flows_core::Real;
use flows_core::operation::LANES;
use rayon::prelude::*;

use crate::dynamics::Dynamics;
use crate::solver::control::Adaptive;
use crate::solver::row_wise::{Waiting, solve_rows};
use crate::solver::solution::RowReport;

/// Layout of a batch in the flat state of a solver: blocks of up to LANES rows, feature by feature
/// within a block, without padding, which would count in the solver's error norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    width: usize,
    rows: usize,
}

impl State {
    /// `width` values a row.
    pub(crate) fn new(width: usize, rows: usize) -> Self {
        Self { width, rows }
    }

    /// First row and number of rows of each block.
    pub(crate) fn blocks(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.rows).step_by(LANES).map(move |start| (start, LANES.min(self.rows - start)))
    }

    /// Packs rows of `dim` values each; the rest of the width is zero.
    pub(crate) fn pack<E: Real>(self, values: &[E], dim: usize) -> Vec<E> {
        let mut flat = Vec::with_capacity(self.width * self.rows);
        for (start, rows) in self.blocks() {
            for feature in 0..dim {
                flat.extend((start..start + rows).map(|row| values[row * dim + feature]));
            }
            flat.resize(flat.len() + (self.width - dim) * rows, E::zero());
        }
        flat
    }

    /// Values `from..from + count` of the rows of each block, padded with copies of the last row.
    pub(crate) fn split<E: Real>(self, flat: &[E], values: Range<usize>) -> Vec<Vec<E>> {
        let block = |(start, rows): (usize, usize)| {
            let mut block = Vec::with_capacity(values.len() * LANES);
            for value in values.clone() {
                let source = &flat[self.width * start + value * rows..][..rows];
                block.extend((0..LANES).map(|lane| source[lane.min(rows - 1)]));
            }
            block
        };
        self.blocks().map(block).collect()
    }
}

/// A batch, everything row by row.
pub(crate) struct RowBatch<E> {
    pub(crate) start: Vec<E>,
    pub(crate) context: Vec<E>,
    pub(crate) probes: Vec<E>,
    pub(crate) parameters: Arc<Vec<Vec<E>>>,
}

impl<E: Real> RowBatch<E> {
    /// The parameters as slices.
    pub(crate) fn parameters(&self) -> Vec<&[E]> {
        self.parameters.iter().map(Vec::as_slice).collect()
    }

    /// The rows, a block at a time.
    pub(crate) fn blocks(&self, dynamics: &Dynamics<E>) -> impl Iterator<Item = Waiting<E>> {
        let (dim, width) = (dynamics.kernel.dim(), dynamics.width());
        let features = dynamics.kernel.context_dim();
        let rows = self.start.len() / dim;
        let noise = self.probes.len().checked_div(rows).unwrap_or(0);
        State::new(dim, rows).blocks().map(move |(first, count)| {
            let mut state = lanes(&self.start, dim, first, count);
            state.resize(width * LANES, E::zero());
            Waiting {
                rows: (first..first + count).collect(),
                state,
                context: lanes(&self.context, features, first, count),
                probes: lanes(&self.probes, noise, first, count),
            }
        })
    }
}

/// Reports of rows, in the order in which one thread finished them, and their values.
type Solved<E> = (Vec<(usize, RowReport)>, Vec<E>);

/// Solves every row; returns state, log-det and penalties row by row, and a report for each.
///
/// Threads take the next rows as lanes get free; the result of a row does not depend on its lane.
pub(crate) fn solve_batch<E: Real>(
    dynamics: &Dynamics<E>,
    (settings, times): (Adaptive, [f64; 2]),
    batch: &RowBatch<E>,
) -> (Vec<E>, Vec<RowReport>) {
    let (dim, width) = (dynamics.kernel.dim(), dynamics.width());
    let (rows, parameters) = (batch.start.len() / dim, batch.parameters());
    let (blocks, count) = (Mutex::new(batch.blocks(dynamics)), rows.div_ceil(LANES));
    let work = |_| {
        let (mut order, mut values) = (Vec::new(), Vec::new());
        let fetch = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let settings = (settings, times);
        solve_rows(dynamics, &parameters, settings, fetch, None, |done| {
            order.push((done.row, done.report));
            values.extend(done.block[done.lane..].iter().step_by(LANES));
        });
        (order, values)
    };
    let workers = rayon::current_num_threads().min(count);
    let done: Vec<Solved<E>> = (0..workers).into_par_iter().map(work).collect();
    let unsolved = RowReport::at(times[1]);
    let (mut values, mut reports) = (vec![E::zero(); rows * width], vec![unsolved; rows]);
    for (order, solved) in done {
        for ((row, report), value) in order.into_iter().zip(solved.chunks_exact(width)) {
            reports[row] = report;
            values[row * width..(row + 1) * width].copy_from_slice(value);
        }
    }
    (values, reports)
}

/// Feature-major block of `rows` rows from row `start`, padded with copies of the last one.
pub(crate) fn lanes<E: Real>(values: &[E], dim: usize, start: usize, rows: usize) -> Vec<E> {
    let row = |lane: usize| start + lane.min(rows - 1);
    let feature = |index| (0..LANES).map(move |lane| values[row(lane) * dim + index]);
    (0..dim).flat_map(feature).collect()
}
