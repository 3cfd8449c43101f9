//! A vector field over all rows of a batch, block by block on all threads, as a solver sees it.

use flows_core::Real;
use flows_core::operation::LANES;
use rayon::prelude::*;

use crate::divergence::Divergence;
use crate::field::{FieldKernel, Instant};

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
    fn blocks(self) -> impl Iterator<Item = (usize, usize)> {
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

    /// The first `dim` values of each row, and the one behind them (zero if there is none).
    pub(crate) fn unpack<E: Real>(self, flat: &[E], dim: usize) -> (Vec<E>, Vec<E>) {
        let mut values = vec![E::zero(); self.rows * dim];
        let mut last = vec![E::zero(); self.rows];
        for (start, rows) in self.blocks() {
            for feature in 0..self.width {
                let source = self.width * start + feature * rows;
                for lane in 0..rows {
                    match feature < dim {
                        true => values[(start + lane) * dim + feature] = flat[source + lane],
                        false => last[start + lane] = flat[source + lane],
                    }
                }
            }
        }
        (values, last)
    }

    /// Several states side by side: row by row, state after state within a row.
    pub(crate) fn trajectory<E: Real>(self, states: &[Vec<E>]) -> Vec<E> {
        let stride = self.width * states.len();
        let mut values = vec![E::zero(); self.rows * stride];
        for (index, flat) in states.iter().enumerate() {
            for (start, rows) in self.blocks() {
                for feature in 0..self.width {
                    let source = self.width * start + feature * rows;
                    let target = index * self.width + feature;
                    for lane in 0..rows {
                        values[(start + lane) * stride + target] = flat[source + lane];
                    }
                }
            }
        }
        values
    }
}

/// One block of rows with its buffers.
struct BlockField<E, W> {
    rows: usize,
    /// State with directions, `(dim, (1 + tangents) LANES)`.
    state: Vec<E>,
    velocity: Vec<E>,
    context: Vec<E>,
    workspace: W,
}

/// The field with its parameters, and with a divergence behind the velocity if asked for.
pub(crate) struct BatchedField<'a, E: Real, K: FieldKernel<E>> {
    kernel: &'a K,
    parameters: Vec<&'a [E]>,
    divergence: Option<Divergence>,
    blocks: Vec<BlockField<E, K::Workspace>>,
}

impl<'a, E: Real, K: FieldKernel<E>> BatchedField<'a, E, K> {
    /// Velocity only; `context` row by row.
    pub(crate) fn new(kernel: &'a K, parameters: &'a [Vec<E>], context: &[E], rows: usize) -> Self {
        let (dim, features) = (kernel.dim(), kernel.context_dim());
        let blocks = State::new(dim, rows)
            .blocks()
            .map(|(start, rows)| BlockField {
                rows,
                state: vec![E::zero(); dim * LANES],
                velocity: vec![E::zero(); dim * LANES],
                context: lanes(context, features, start, rows),
                workspace: K::Workspace::default(),
            })
            .collect();
        let parameters = parameters.iter().map(Vec::as_slice).collect();
        Self { kernel, parameters, divergence: None, blocks }
    }

    /// With the divergence behind the velocity of each row; `probes` row by row.
    pub(crate) fn with_divergence(mut self, divergence: Divergence, probes: &[E]) -> Self {
        let dim = self.kernel.dim();
        let tangents = divergence.tangents(dim);
        let mut start = 0;
        for block in &mut self.blocks {
            let probes = match divergence {
                Divergence::Exact => Vec::new(),
                Divergence::Hutchinson(_) => lanes(probes, dim * tangents, start, block.rows),
            };
            block.state = vec![E::zero(); dim * (1 + tangents) * LANES];
            block.velocity = block.state.clone();
            divergence.write_directions(dim, &probes, &mut block.state);
            start += block.rows;
        }
        self.divergence = Some(divergence);
        self
    }

    /// Writes the velocity of the flat state `y` into `dy`.
    pub(crate) fn evaluate(&mut self, time: f64, y: &[E], dy: &mut [E]) {
        let dim = self.kernel.dim();
        let divergence = self.divergence;
        let width = dim + usize::from(divergence.is_some());
        let Self { kernel, parameters, blocks, .. } = self;
        let chunks = dy.par_chunks_mut(width * LANES).zip(y.par_chunks(width * LANES));
        blocks.par_iter_mut().zip(chunks).for_each(|(block, (dy, y))| {
            let rows = block.rows;
            let tangents = divergence.map_or(0, |d| d.tangents(dim));
            let stride = (1 + tangents) * LANES;
            for feature in 0..dim {
                let target = &mut block.state[feature * stride..feature * stride + LANES];
                target[..rows].copy_from_slice(&y[feature * rows..(feature + 1) * rows]);
            }
            let BlockField { state, velocity, context, workspace, .. } = block;
            let at = Instant { time: E::of(time), tangents, state, context };
            kernel.forward(at, parameters, workspace, velocity);
            for feature in 0..dim {
                let source = &velocity[feature * stride..feature * stride + rows];
                dy[feature * rows..(feature + 1) * rows].copy_from_slice(source);
            }
            if let Some(divergence) = divergence {
                let mut trace = [E::zero(); LANES];
                divergence.trace(dim, state, velocity, &mut trace);
                dy[dim * rows..].copy_from_slice(&trace[..rows]);
            }
        });
    }
}

/// Feature-major block of `rows` rows from row `start`; lanes beyond stay zero.
fn lanes<E: Real>(values: &[E], dim: usize, start: usize, rows: usize) -> Vec<E> {
    let mut block = vec![E::zero(); dim * LANES];
    for lane in 0..rows {
        for feature in 0..dim {
            block[feature * LANES + lane] = values[(start + lane) * dim + feature];
        }
    }
    block
}
