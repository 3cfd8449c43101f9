//! The augmented dynamics of a whole batch at one time, block by block on all threads, for solvers
//! with one step size for the batch.

use std::collections::VecDeque;

use flows_core::Real;
use flows_core::operation::LANES;
use rayon::prelude::*;

use crate::continuous::row_batch::RowBatch;
use crate::dynamics::{Dynamics, Evaluation, FixedInputs};
use crate::solver::monitor::Problem;
use crate::solver::path::Room;
use crate::solver::row_wise::Waiting;
use crate::solver::solution::FieldError;

/// One block of rows with its buffers.
struct Block<E> {
    rows: usize,
    context: Vec<E>,
    probes: Vec<E>,
    /// The latest evaluations, in order.
    latest: VecDeque<Evaluation<E>>,
    /// The first stage of the next step, if stages are kept.
    first: Option<Evaluation<E>>,
    kept: Vec<Vec<Evaluation<E>>>,
}

/// The augmented dynamics with parameters, rows and buffers.
pub(crate) struct BatchedDynamics<'a, E: Real> {
    dynamics: &'a Dynamics<E>,
    parameters: Vec<&'a [E]>,
    blocks: Vec<Block<E>>,
    /// Evaluations for the directions of the trace estimate.
    pub(crate) sketched: u64,
    /// Memory for the stages of accepted steps, while they are kept.
    room: Option<Room>,
}

impl<'a, E: Real> BatchedDynamics<'a, E> {
    /// For a solve from `start` at `time`; start, context and probes row by row. Stages of accepted
    /// steps are kept while there is `room`.
    pub(crate) fn new(
        dynamics: &'a Dynamics<E>,
        time: f64,
        batch: &'a RowBatch<E>,
        keep: Option<(Room, usize)>,
    ) -> Self {
        let dim = dynamics.kernel.dim();
        let parameters = batch.parameters();
        let mut sketched = 0;
        let blocks = batch.blocks(dynamics).map(|Waiting { rows, state, context, probes }| {
            let fixed = FixedInputs { parameters: &parameters, context: &context, probes: &probes };
            let (start, evaluations) = dynamics.start(time, &state[..dim * LANES], fixed);
            sketched = evaluations;
            let count = keep.map_or(1, |(_, attempt)| attempt);
            let latest = (0..count).map(|_| start.another()).collect();
            let first = keep.map(|_| start);
            Block { rows: rows.len(), context, probes, latest, first, kept: Vec::new() }
        });
        let blocks = blocks.collect();
        Self { dynamics, parameters, blocks, sketched, room: keep.map(|(room, _)| room) }
    }

    /// The kept stages of each block.
    pub(crate) fn into_kept(self) -> impl Iterator<Item = Vec<Vec<Evaluation<E>>>> {
        self.blocks.into_iter().map(|block| block.kept)
    }
}

impl<E: Real> Block<E> {
    /// Keeps the latest stages; the last of them is the first of the next step.
    fn keep(&mut self) {
        let others = self.latest.iter().map(Evaluation::another).collect();
        let mut step: Vec<Evaluation<E>> = self.first.take().into_iter().collect();
        step.extend(std::mem::replace(&mut self.latest, others));
        self.first = step.pop();
        self.kept.push(step);
    }
}

impl<E: Real> Problem<E> for BatchedDynamics<'_, E> {
    fn velocity(&mut self, time: f64, y: &[E], dy: &mut [E]) -> Result<(), FieldError> {
        let Self { dynamics, parameters, blocks, .. } = self;
        let width = dynamics.width();
        let chunks = dy.par_chunks_mut(width * LANES).zip(y.par_chunks(width * LANES));
        blocks.par_iter_mut().zip(chunks).for_each(|(block, (dy, y))| {
            let Block { rows, context, probes, latest, first, .. } = block;
            let start = first.as_mut().filter(|first| !first.is_evaluated());
            if start.is_none() {
                latest.rotate_left(1);
            }
            let Some(evaluation) = start.or(latest.back_mut()) else { return };
            evaluation.time.fill(E::of(time));
            for (state, y) in evaluation.state().zip(y.chunks_exact(*rows)) {
                state[..*rows].copy_from_slice(y);
            }
            dynamics.evaluate(evaluation, FixedInputs { parameters, context, probes });
            let rates = evaluation.rates.chunks_exact(LANES);
            for (row, dy) in rates.zip(dy.chunks_exact_mut(*rows)) {
                dy.copy_from_slice(&row[..*rows]);
            }
        });
        Ok(())
    }

    fn accepted(&mut self) {
        let Some(room) = &mut self.room else { return };
        if room.take() {
            return self.blocks.iter_mut().for_each(Block::keep);
        }
        self.room = None;
        for block in &mut self.blocks {
            block.first = None;
            block.latest.truncate(1);
        }
    }
}
