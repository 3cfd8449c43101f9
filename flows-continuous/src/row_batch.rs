//! The row-wise solver over a whole batch, on all threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use flows_core::Real;
use flows_core::operation::LANES;
use rayon::prelude::*;

use crate::Status;
use crate::adaptive::Adaptive;
use crate::batched::{State, lanes};
use crate::field::FieldKernel;
use crate::rates::Rates;
use crate::row_wise::{RowReport, Waiting, solve_rows};

/// A batch, everything row by row.
pub(crate) struct RowBatch<'a, E> {
    pub(crate) start: &'a [E],
    pub(crate) context: &'a [E],
    pub(crate) probes: &'a [E],
    pub(crate) parameters: &'a [&'a [E]],
}

/// Rows in the order in which one thread finished them, and their values.
type Solved<E> = (Vec<(usize, RowReport)>, Vec<E>);

/// Solves every row; returns state, log-det and penalties row by row, and what became of each.
///
/// Threads take the next rows as their places get free; that changes no result, because a row's
/// does not depend on its place.
pub(crate) fn solve_batch<E: Real, K: FieldKernel<E>>(
    rates: &Rates<E, K>,
    (settings, times): (Adaptive, [f64; 2]),
    batch: &RowBatch<'_, E>,
) -> (Vec<E>, Vec<RowReport>) {
    let (dim, width) = (rates.kernel.dim(), rates.width());
    let rows = batch.start.len() / dim;
    let blocks: Vec<(usize, usize)> = State::new(dim, rows).blocks().collect();
    let next = AtomicUsize::new(0);
    let noise = batch.probes.len().checked_div(rows).unwrap_or(0);
    let waiting = |&(first, count): &(usize, usize)| {
        let mut state = lanes(batch.start, dim, first, count);
        state.resize(width * LANES, E::zero());
        Waiting {
            rows: (first..first + count).collect(),
            state,
            context: lanes(batch.context, rates.kernel.context_dim(), first, count),
            probes: lanes(batch.probes, noise, first, count),
        }
    };
    let work = |_| {
        let (mut order, mut values) = (Vec::new(), Vec::new());
        let fetch = || blocks.get(next.fetch_add(1, Ordering::Relaxed)).map(waiting);
        let settings = (settings, times);
        solve_rows(rates, batch.parameters, settings, fetch, None, |done| {
            order.push((done.row, done.report));
            values.extend(done.block[done.lane..].iter().step_by(LANES));
        });
        (order, values)
    };
    let workers = rayon::current_num_threads().min(blocks.len());
    let done: Vec<Solved<E>> = (0..workers).into_par_iter().map(work).collect();
    let unsolved = RowReport {
        status: Status::Finished,
        time: times[1],
        accepted: 0,
        rejected: 0,
        evaluations: 0,
    };
    let (mut values, mut reports) = (vec![E::zero(); rows * width], vec![unsolved; rows]);
    for (order, solved) in done {
        for ((row, report), value) in order.into_iter().zip(solved.chunks_exact(width)) {
            reports[row] = report;
            values[row * width..(row + 1) * width].copy_from_slice(value);
        }
    }
    (values, reports)
}
