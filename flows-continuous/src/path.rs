//! The steps that a solve took, and the states it passed at some of them.

use std::num::NonZeroUsize;

use flows_core::Real;
use flows_core::operation::LANES;

use crate::field::FieldKernel;
use crate::rates::{Given, RatesWorkspace};
use crate::runge_kutta::{SolveGradients, Stepper};

/// States of a path that are kept where nothing else is asked for.
pub(crate) const CHECKPOINTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// The steps of a block of rows.
#[derive(Clone, Debug)]
pub(crate) enum Steps<E> {
    /// The same times for every row.
    Shared(Vec<f64>),
    /// Time and length of each step of each row; a row that took fewer steps has length 0 in the
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

/// The steps of a solve, with the state, `(dim, LANES)`, before every so many of them.
///
/// The backward pass computes the states between two of those anew: a solve of n steps with c states
/// needs memory for c + n / c of them and at most one more forward pass.
#[derive(Clone, Debug)]
pub(crate) struct Path<E> {
    pub(crate) steps: Steps<E>,
    /// Steps from one state to the next.
    pub(crate) every: usize,
    pub(crate) states: Vec<Vec<E>>,
}

/// How many steps apart the states of `steps` steps are, of which at most `checkpoints` are kept.
pub(crate) fn spacing(steps: usize, checkpoints: NonZeroUsize) -> usize {
    steps.div_ceil(checkpoints.get()).max(1)
}

impl<E: Real> Path<E> {
    /// No steps.
    pub(crate) fn none() -> Self {
        Self { steps: Steps::Shared(Vec::new()), every: 1, states: Vec::new() }
    }

    /// Takes the steps backwards: on entry `into.state` is the gradient of the end, on return that
    /// of the start.
    pub(crate) fn pull<K: FieldKernel<E>>(
        &self,
        stepper: &mut Stepper<'_, E, K>,
        given: Given<'_, E>,
        mut into: SolveGradients<'_, '_, E>,
    ) {
        let (mut time, mut length) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
        for (segment, state) in self.states.iter().enumerate().rev() {
            let first = segment * self.every;
            let last = (first + self.every).min(self.steps.count());
            let mut states = vec![state.clone()];
            for step in first + 1..last {
                let mut next = states[states.len() - 1].clone();
                self.steps.load(step - 1, &mut time, &mut length);
                stepper.evaluate(&time, &length, &next, given);
                stepper.advance(&length, &mut next);
                states.push(next);
            }
            for step in (first..last).rev() {
                let Some(state) = states.pop() else { break };
                self.steps.load(step, &mut time, &mut length);
                stepper.evaluate(&time, &length, &state, given);
                stepper.pull(&length, given, &mut into);
            }
        }
    }
}

/// A workspace with the directions of a solve that starts at `state`.
pub(crate) fn directions<E: Real, K: FieldKernel<E>>(
    rates: &crate::rates::Rates<E, K>,
    (time, state): (f64, &[E]),
    given: Given<'_, E>,
) -> (RatesWorkspace<E, K::Workspace>, u64) {
    let mut workspace = RatesWorkspace::default();
    let evaluations = rates.start((&[E::of(time); LANES], state), given, &mut workspace);
    (workspace, evaluations)
}
