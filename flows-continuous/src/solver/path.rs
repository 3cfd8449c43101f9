//! The steps of a solve with checkpoints, and their backward pass.

use std::num::NonZeroUsize;
use std::sync::Arc;

use flows_core::Real;
use flows_core::operation::LANES;

use crate::dynamics::{Dynamics, Evaluation, FixedInputs};
use crate::solver::runge_kutta::{SolveGradients, Stepper};

/// Default number of checkpoints.
pub(crate) const CHECKPOINTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// The steps of a block of rows.
#[derive(Clone, Debug)]
pub(crate) enum Steps<E> {
    /// The same times for every row.
    Shared(Arc<[f64]>),
    /// Time and length of each step of each row; rows that took fewer steps have length 0 in the
    /// rest.
    Rows(Vec<RowStep<E>>),
}

/// One step, row by row.
#[derive(Clone, Debug)]
pub(crate) struct RowStep<E> {
    pub(crate) time: Vec<E>,
    pub(crate) length: Vec<E>,
}

impl<E: Real> Steps<E> {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Shared(mesh) => mesh.len().saturating_sub(1),
            Self::Rows(steps) => steps.len(),
        }
    }

    /// Time and length of a step, row by row.
    fn load(&self, step: usize, time: &mut [E], length: &mut [E]) {
        match self {
            Self::Shared(mesh) => {
                time.fill(E::of(mesh[step]));
                length.fill(E::of(mesh[step + 1] - mesh[step]));
            }
            Self::Rows(steps) => {
                time.copy_from_slice(&steps[step].time);
                length.copy_from_slice(&steps[step].length);
            }
        }
    }
}

/// The steps of a solve with checkpoints, states `(dim, LANES)` at equal numbers of steps, and the
/// stages of the first steps.
///
/// The backward pass recomputes the states between checkpoints and the stages that were not kept: a
/// solve of n steps with c checkpoints needs memory for c + n / c states and at most one more
/// forward pass.
#[derive(Debug)]
pub(crate) struct Path<E> {
    pub(crate) steps: Steps<E>,
    /// Steps from one checkpoint to the next.
    pub(crate) every: usize,
    pub(crate) states: Vec<Vec<E>>,
    /// Stages of the first steps. For row-wise steps the first stage has no content, because its
    /// evaluation differs from row to row.
    pub(crate) kept: Vec<Vec<Evaluation<E>>>,
}

/// Default memory, in bytes, for the stages of all blocks of a solve.
pub(crate) const STAGE_MEMORY: usize = 64 << 20;

/// Memory left for the stages of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    bytes: usize,
    /// Bytes of one step.
    step: Option<usize>,
}

impl Room {
    /// `bytes` for steps of `stages` stages.
    pub(crate) fn new<E: Real>(bytes: usize, dynamics: &Dynamics<E>, stages: usize) -> Self {
        Self { bytes, step: dynamics.bytes().map(|evaluation| evaluation * stages) }
    }

    /// Whether there is room for one more step.
    pub(crate) fn is_open(mut self) -> bool {
        self.take()
    }

    /// Takes room for one more step, if there is any.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.step.and_then(|step| self.bytes.checked_sub(step));
        self.bytes = left.unwrap_or(0);
        left.is_some()
    }
}

/// Number of steps between checkpoints, for at most `checkpoints` of them.
pub(crate) fn spacing(steps: usize, checkpoints: NonZeroUsize) -> usize {
    steps.div_ceil(checkpoints.get()).max(1)
}

impl<E> Default for Path<E> {
    /// No steps.
    fn default() -> Self {
        Self { steps: Steps::Shared(Arc::new([])), every: 1, states: Vec::new(), kept: Vec::new() }
    }
}

impl<E: Real> Path<E> {
    /// Backward pass through the steps: turns `into.state` from the gradient of the end into that
    /// of the start, and uses up the kept stages.
    pub(crate) fn pull(
        &mut self,
        stepper: &mut Stepper<'_, E>,
        fixed: FixedInputs<'_, E>,
        mut into: SolveGradients<'_, '_, E>,
    ) {
        let (mut time, mut length) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
        for (segment, state) in self.states.iter().enumerate().rev() {
            let first = segment * self.every;
            let last = (first + self.every).min(self.steps.count());
            // Nothing to recompute in a segment whose stages were all kept.
            let anew = if last > self.kept.len() { last } else { first };
            let mut states = vec![state.clone()];
            for step in first + 1..anew {
                let mut next = states[states.len() - 1].clone();
                self.steps.load(step - 1, &mut time, &mut length);
                stepper.evaluate(&time, &length, &next, fixed);
                stepper.advance(&length, &mut next);
                states.push(next);
            }
            for step in (first..last).rev() {
                self.steps.load(step, &mut time, &mut length);
                if step < self.kept.len() {
                    stepper.stages = self.kept.pop().unwrap_or_default();
                    if matches!(self.steps, Steps::Rows(_)) {
                        stepper.evaluate_first(fixed);
                    }
                } else if let Some(state) = states.get(step - first) {
                    stepper.evaluate(&time, &length, state, fixed);
                }
                stepper.pull(&length, fixed, &mut into);
            }
        }
    }
}
