//! The rates over all rows of a batch at one time, block by block on all threads, as a solver with
//! one step size for the batch sees them.

use flows_core::Real;
use flows_core::operation::LANES;
use rayon::prelude::*;

use crate::field::FieldKernel;
use crate::rates::{Given, Rates, RatesWorkspace};

/// How a batch lies in the flat state of a solver: block after block of up to LANES rows, feature
/// by feature within a block, without padding (padding would count in the solver's error norm).
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

    /// Rows of `dim` values each, the rest of the width zero.
    pub(crate) fn pack<E: Real>(self, values: &[E], dim: usize) -> Vec<E> {
        let mut flat = vec![E::zero(); self.width * self.rows];
        for (start, rows) in self.blocks() {
            for feature in 0..dim {
                let target = self.width * start + feature * rows;
                for lane in 0..rows {
                    flat[target + lane] = values[(start + lane) * dim + feature];
                }
            }
        }
        flat
    }

    /// Writes values `from..from + count` of each row into `rows`, `stride` apart.
    pub(crate) fn unpack<E: Real>(
        self,
        flat: &[E],
        (from, count): (usize, usize),
        rows: &mut [E],
        (offset, stride): (usize, usize),
    ) {
        for (start, lanes) in self.blocks() {
            for value in 0..count {
                let source = self.width * start + (from + value) * lanes;
                for lane in 0..lanes {
                    rows[(start + lane) * stride + offset + value] = flat[source + lane];
                }
            }
        }
    }
}

/// One block of rows with its buffers.
struct Block<E, W> {
    rows: usize,
    /// `(dim, LANES)`; lanes beyond the rows stay zero.
    state: Vec<E>,
    rates: Vec<E>,
    context: Vec<E>,
    probes: Vec<E>,
    workspace: RatesWorkspace<E, W>,
}

/// The rates with their parameters, rows and buffers.
pub(crate) struct BatchedRates<'a, E: Real, K: FieldKernel<E>> {
    rates: &'a Rates<E, K>,
    parameters: &'a [&'a [E]],
    blocks: Vec<Block<E, K::Workspace>>,
    /// Evaluations that the directions took.
    pub(crate) sketched: u64,
}

impl<'a, E: Real, K: FieldKernel<E>> BatchedRates<'a, E, K> {
    /// For a solve from `start` at `time`; start, context and probes row by row.
    pub(crate) fn new(
        rates: &'a Rates<E, K>,
        parameters: &'a [&'a [E]],
        (time, start): (f64, &[E]),
        (context, probes): (&[E], &[E]),
    ) -> Self {
        let dim = rates.kernel.dim();
        let rows = start.len() / dim;
        let features = rates.kernel.context_dim();
        let noise = probes.len().checked_div(rows).unwrap_or(0);
        let mut sketched = 0;
        let blocks = State::new(dim, rows).blocks().map(|(first, rows)| {
            let mut block = Block {
                rows,
                state: lanes(start, dim, first, rows),
                rates: vec![E::zero(); rates.width() * LANES],
                context: lanes(context, features, first, rows),
                probes: lanes(probes, noise, first, rows),
                workspace: RatesWorkspace::default(),
            };
            let Block { state, context, probes, workspace, .. } = &mut block;
            let given = Given { parameters, context, probes };
            sketched = rates.start((&[E::of(time); LANES], state), given, workspace);
            block
        });
        let blocks = blocks.collect();
        Self { rates, parameters, blocks, sketched }
    }

    /// Writes the rates of the flat state `y` into `dy`.
    pub(crate) fn evaluate(&mut self, time: f64, y: &[E], dy: &mut [E]) {
        let Self { rates, parameters, blocks, .. } = self;
        let (dim, width) = (rates.kernel.dim(), rates.width());
        let time = [E::of(time); LANES];
        let chunks = dy.par_chunks_mut(width * LANES).zip(y.par_chunks(width * LANES));
        blocks.par_iter_mut().zip(chunks).for_each(|(block, (dy, y))| {
            let Block { rows, state, rates: out, context, probes, workspace } = block;
            for feature in 0..dim {
                let target = &mut state[feature * LANES..feature * LANES + *rows];
                target.copy_from_slice(&y[feature * *rows..(feature + 1) * *rows]);
            }
            let given = Given { parameters, context, probes };
            rates.forward(&time, state, given, workspace, out);
            for (row, dy) in out.chunks_exact(LANES).zip(dy.chunks_exact_mut(*rows)) {
                dy.copy_from_slice(&row[..*rows]);
            }
        });
    }
}

/// Feature-major block of `rows` rows from row `start`; lanes beyond stay zero.
pub(crate) fn lanes<E: Real>(values: &[E], dim: usize, start: usize, rows: usize) -> Vec<E> {
    let mut block = vec![E::zero(); dim * LANES];
    for lane in 0..rows {
        for feature in 0..dim {
            block[feature * LANES + lane] = values[(start + lane) * dim + feature];
        }
    }
    block
}
