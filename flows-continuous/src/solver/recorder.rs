//! Recorder of the row-wise solver: the steps of a block, with checkpoints.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use flows_core::Real;
use flows_core::operation::LANES;

use crate::dynamics::Evaluation;
use crate::solver::path::{Path, Room, RowStep, Steps};

/// Records the steps of a block whose rows keep their lanes: one for each attempt that some row
/// accepts, of length 0 in the other rows.
#[derive(Debug)]
pub(crate) struct Recorder<E> {
    dim: usize,
    checkpoints: NonZeroUsize,
    steps: Vec<RowStep<E>>,
    /// The rest of the record.
    path: Path<E>,
    room: Option<Room>,
}

impl<E: Real> Recorder<E> {
    /// For states of `dim` rows, with at most about `checkpoints` of them.
    pub(crate) fn new(dim: usize, checkpoints: NonZeroUsize, room: Room) -> Self {
        let room = Some(room).filter(|room| room.is_open());
        Self { dim, checkpoints, steps: Vec::new(), path: Path::default(), room }
    }

    /// Whether stages are kept.
    pub(crate) fn keeps(&self) -> bool {
        self.room.is_some()
    }

    /// Records steps taken from `state`. If stages are kept, `stages`, all but the first, are
    /// exchanged for other buffers. Returns whether the next ones will be kept.
    pub(crate) fn note(
        &mut self,
        time: Vec<E>,
        length: Vec<E>,
        state: &[E],
        stages: &mut VecDeque<Evaluation<E>>,
    ) -> bool {
        let state = &state[..self.dim * LANES];
        let Path { every, states, kept, .. } = &mut self.path;
        if self.room.as_mut().is_some_and(Room::take) {
            let others: VecDeque<_> = stages.iter().map(Evaluation::another).collect();
            let mut step = std::mem::replace(stages, others);
            // The last stage is the first of the next step, in the rows that accept; its place is
            // taken by that of the first, which differs from row to row.
            if let Some(mut first) = step.pop_back() {
                first.time.copy_from_slice(&time);
                first.move_to(state);
                step.push_front(first);
            }
            kept.push(step.into());
        } else {
            self.room = None;
        }
        if self.steps.len() == *every * self.checkpoints.get() {
            // Too many checkpoints: every other one is dropped.
            *states = std::mem::take(states).into_iter().step_by(2).collect();
            *every *= 2;
        }
        if self.steps.len().is_multiple_of(*every) {
            states.push(state.to_vec());
        }
        self.steps.push(RowStep { time, length });
        self.keeps()
    }

    /// The record.
    pub(crate) fn finish(self) -> Path<E> {
        Path { steps: Steps::Rows(self.steps), ..self.path }
    }
}
