//! What the row-wise solver writes down of a block: its steps, and the states at some of them.

use std::num::NonZeroUsize;

use flows_core::Real;
use flows_core::operation::LANES;

use crate::lanes::move_lane;
use crate::path::{Path, RowStep, Steps};

/// Writes down the steps of a block whose rows keep their lanes.
#[derive(Debug)]
pub(crate) struct Recorder<E> {
    dim: usize,
    checkpoints: NonZeroUsize,
    path: Path<E>,
}

impl<E: Real> Recorder<E> {
    /// For states of `dim` rows, of which at most about `checkpoints` are kept.
    pub(crate) fn new(dim: usize, checkpoints: NonZeroUsize) -> Self {
        let path = Path { steps: Steps::Rows(Vec::new()), ..Path::none() };
        Self { dim, checkpoints, path }
    }

    /// Notes that a lane takes its step number `step` from its column of `state`.
    pub(crate) fn note(&mut self, lane: usize, step: usize, (time, length): (E, E), state: &[E]) {
        let Steps::Rows(steps) = &mut self.path.steps else { return };
        if steps.len() == step {
            let still = || vec![E::zero(); LANES];
            steps.push(RowStep { time: still(), length: still() });
        }
        (steps[step].time[lane], steps[step].length[lane]) = (time, length);
        if !step.is_multiple_of(self.path.every) {
            return;
        }
        let place = step / self.path.every;
        if place == self.checkpoints.get() {
            // Too many: every other one goes.
            let kept = std::mem::take(&mut self.path.states).into_iter().step_by(2);
            self.path.states = kept.collect();
            self.path.every *= 2;
            return self.note(lane, step, (time, length), state);
        }
        if self.path.states.len() == place {
            self.path.states.push(vec![E::zero(); self.dim * LANES]);
        }
        move_lane(&state[..self.dim * LANES], lane, &mut self.path.states[place], lane);
    }

    /// The path; lanes stand still at `end` behind their last step.
    pub(crate) fn finish(mut self, end: &[E], time: f64) -> Path<E> {
        let Steps::Rows(steps) = &mut self.path.steps else { return self.path };
        for lane in 0..LANES {
            let taken = steps.iter().take_while(|s| s.length[lane] != E::zero()).count();
            for step in &mut steps[taken..] {
                step.time[lane] = E::of(time);
            }
            for state in self.path.states.iter_mut().skip(taken.div_ceil(self.path.every)) {
                move_lane(&end[..self.dim * LANES], lane, state, lane);
            }
        }
        self.path
    }
}
