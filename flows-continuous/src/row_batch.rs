//! The row-wise solver over a whole batch, on all threads.

use std::sync::{Mutex, PoisonError};

use flows_core::Real;
use flows_core::operation::LANES;
use rayon::prelude::*;

use crate::batched::{State, lanes};
use crate::control::Adaptive;
use crate::rates::Rates;
use crate::row_wise::{Waiting, solve_rows};
use crate::solution::RowReport;

/// A batch, everything row by row.
pub(crate) struct RowBatch<'a, E> {
    pub(crate) start: &'a [E],
    pub(crate) context: &'a [E],
    pub(crate) probes: &'a [E],
    pub(crate) parameters: &'a [&'a [E]],
}

impl<E: Real> RowBatch<'_, E> {
    /// The rows, a block at a time.
    pub(crate) fn blocks(&self, rates: &Rates<E>) -> impl Iterator<Item = Waiting<E>> {
        let (dim, width) = (rates.kernel.dim(), rates.width());
        let features = rates.kernel.context_dim();
        let rows = self.start.len() / dim;
        let noise = self.probes.len().checked_div(rows).unwrap_or(0);
        State::new(dim, rows).blocks().map(move |(first, count)| {
            let mut state = lanes(self.start, dim, first, count);
            state.resize(width * LANES, E::zero());
            Waiting {
                rows: (first..first + count).collect(),
                state,
                context: lanes(self.context, features, first, count),
                probes: lanes(self.probes, noise, first, count),
            }
        })
    }
}

/// Rows in the order in which one thread finished them, and their values.
type Solved<E> = (Vec<(usize, RowReport)>, Vec<E>);

/// Solves every row; returns state, log-det and penalties row by row, and what became of each.
///
/// Threads take the next rows as their places get free; that changes no result, because a row's
/// does not depend on its place.
pub(crate) fn solve_batch<E: Real>(
    rates: &Rates<E>,
    (settings, times): (Adaptive, [f64; 2]),
    batch: &RowBatch<'_, E>,
) -> (Vec<E>, Vec<RowReport>) {
    let (dim, width) = (rates.kernel.dim(), rates.width());
    let rows = batch.start.len() / dim;
    let (blocks, count) = (Mutex::new(batch.blocks(rates)), rows.div_ceil(LANES));
    let work = |_| {
        let (mut order, mut values) = (Vec::new(), Vec::new());
        let fetch = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let settings = (settings, times);
        solve_rows(rates, batch.parameters, settings, fetch, None, |done| {
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
