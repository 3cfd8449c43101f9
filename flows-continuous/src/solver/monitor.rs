//! A monitored vector field for the adaptive stepper: it counts and limits evaluations, checks
//! values, and halts at the first failure.
//!
//! The stepper can neither pass on errors of a field nor be stopped between accepted steps; the
//! monitor adds both. The stepper sees elapsed time, |t − t0|. It is restarted every few steps,
//! because it keeps all its states; the states to keep are stored here.

use flows_core::Real;

use crate::solver::control::{Adaptive, FirstStep, Method};
use crate::solver::fixed_step::evaluate;
use crate::solver::solution::first_non_finite;
use crate::solver::solution::{Failure, FieldError, Keep, Solution, Status};

/// Accepted steps between two restarts, which bounds the states that the stepper holds.
const SEGMENT: usize = 50;

/// Steps before the first restart. Stiffness is tested after every thousandth step and in some that
/// follow; this offset puts them in one segment.
const FIRST_SEGMENT: usize = 40;

/// An ODE to be solved adaptively.
pub(crate) trait Problem<E> {
    /// Writes the velocity at a time and a state.
    fn velocity(&mut self, time: f64, y: &[E], dy: &mut [E]) -> Result<(), FieldError>;

    /// Reports that the step of the latest stages was accepted.
    fn accepted(&mut self) {}
}

impl<E, F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>> Problem<E> for F {
    fn velocity(&mut self, time: f64, y: &[E], dy: &mut [E]) -> Result<(), FieldError> {
        self(time, y, dy)
    }
}

/// A vector field with the record of its evaluations.
pub(crate) struct Monitor<'a, E> {
    field: &'a mut dyn Problem<E>,
    method: Method,
    keep: Keep,
    t0: f64,
    t1: f64,
    /// Most evaluations.
    pub(crate) bound: usize,
    evaluations: usize,
    /// Velocities passed to the stepper, without the first of each segment.
    delivered: usize,
    /// Accepted steps.
    pub(crate) accepted: usize,
    /// Number of accepted steps at which to restart.
    pause: usize,
    /// Elapsed time at `state`.
    pub(crate) elapsed: f64,
    /// Length of the last accepted step.
    pub(crate) step: f64,
    /// State after the last accepted step.
    pub(crate) state: Vec<E>,
    /// Earlier kept states.
    earlier: Vec<Vec<E>>,
    /// Times of `earlier` and `state`.
    mesh: Vec<f64>,
    /// Velocity at `state`, for the start of a segment.
    first: Option<Vec<E>>,
    /// Set once; the field is not called afterwards.
    pub(crate) halt: Option<Ending>,
}

/// Why a solve ends.
pub(crate) struct Ending {
    status: Status,
    failure: Option<Failure>,
}

impl From<Status> for Ending {
    fn from(status: Status) -> Self {
        Self { status, failure: None }
    }
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        let status = match failure {
            Failure::NonFinite { .. } => Status::NonFinite,
            Failure::Field { .. } => Status::FieldFailed,
        };
        Self { status, failure: Some(failure) }
    }
}

impl<'a, E: Real> Monitor<'a, E> {
    /// Monitors `field` from `y0`, between the two times and for at most `bound` evaluations.
    pub(crate) fn new(
        method: Method,
        keep: Keep,
        [t0, t1]: [f64; 2],
        bound: usize,
        y0: Vec<E>,
        field: &'a mut dyn Problem<E>,
    ) -> Self {
        Self {
            field,
            method,
            keep,
            t0,
            t1,
            bound,
            evaluations: 0,
            delivered: 0,
            accepted: 0,
            pause: FIRST_SEGMENT,
            elapsed: 0.0,
            step: 0.0,
            state: y0,
            earlier: Vec::new(),
            mesh: vec![t0],
            first: None,
            halt: None,
        }
    }

    /// Length of the interval.
    pub(crate) fn length(&self) -> f64 {
        (self.t1 - self.t0).abs()
    }

    /// Whether the stepper was stopped only to be restarted.
    pub(crate) fn paused(&self) -> bool {
        self.first.is_some()
    }

    /// Evaluates the velocity at the start and gives the length of the first step.
    pub(crate) fn start(&mut self, settings: &Adaptive) -> Result<f64, Ending> {
        let y0 = self.state.clone();
        let mut f0 = vec![E::zero(); y0.len()];
        self.velocity(self.t0, &y0, &mut f0)?;
        let step = match settings.first_step {
            Some(step) => step.min(self.length()),
            None => self.first_step(settings, &y0, &f0)?,
        };
        self.first = Some(f0);
        Ok(step)
    }

    /// Records an accepted step with the velocity at its end; false if the stepper has to stop.
    pub(crate) fn accept(&mut self, elapsed: f64, y: &[E], dy: &[E]) -> bool {
        if self.halt.is_some() {
            return false; // the step is made of zero velocities
        }
        match self.keep {
            Keep::Everything => self.earlier.push(self.state.clone()),
            Keep::Last => self.mesh.clear(),
        }
        self.mesh.push(self.time(elapsed));
        self.state.copy_from_slice(y);
        self.field.accepted();
        self.accepted += 1;
        self.step = elapsed - self.elapsed;
        self.elapsed = elapsed;
        // The last step may end within rounding of the end, where no further step is possible.
        let pause = self.accepted >= self.pause && self.length() - elapsed > self.step;
        if pause {
            self.pause += SEGMENT;
            self.first = Some(dy.to_vec());
        }
        !pause
    }

    /// Writes the velocity by elapsed time. A halted field has velocity 0: the stepper asks whether
    /// to stop only after an accepted step, and a short enough step at rest is accepted.
    pub(crate) fn deliver(&mut self, elapsed: f64, y: &[E], dy: &mut [E]) {
        if let Some(first) = self.first.take() {
            dy.copy_from_slice(&first);
            return;
        }
        if self.halt.is_none() {
            match self.stage(self.time(elapsed), y, dy) {
                Ok(()) => self.delivered += 1,
                Err(ending) => self.halt = Some(ending),
            }
        }
        if self.halt.is_some() {
            dy.fill(E::zero());
        }
    }

    /// The solution, for the caller.
    pub(crate) fn into_solution(mut self, ending: Ending) -> Solution<E> {
        let Ending { status, failure } = ending;
        // Elapsed time need not round to the end of the interval.
        if status == Status::Finished
            && let Some(last) = self.mesh.last_mut()
        {
            *last = self.t1;
        }
        let attempts = self.in_attempts() / self.method.constants().stages;
        Solution {
            state: self.state,
            earlier: self.earlier,
            time: self.mesh.last().copied().unwrap_or(self.t0),
            mesh: self.mesh,
            status,
            accepted: self.accepted,
            rejected: attempts.saturating_sub(self.accepted),
            evaluations: self.evaluations,
            failure,
        }
    }

    /// Time after `elapsed`, clamped to the interval.
    fn time(&self, elapsed: f64) -> f64 {
        if self.t1 > self.t0 {
            (self.t0 + elapsed).min(self.t1)
        } else {
            (self.t0 - elapsed).max(self.t1)
        }
    }

    /// Velocities passed within attempted steps.
    fn in_attempts(&self) -> usize {
        self.delivered.saturating_sub(self.accepted * self.method.constants().velocities_at_end)
    }

    fn stage(&mut self, time: f64, y: &[E], dy: &mut [E]) -> Result<(), Ending> {
        // The stepper tests for underflow against the rounding of `f64` even in `f32`, and never
        // at time zero. At the second stage, some of the step has passed.
        let second = self.in_attempts().is_multiple_of(self.method.constants().stages);
        if second && self.mesh.last() == Some(&time) {
            return Err(Status::StepUnderflow.into());
        }
        self.velocity(time, y, dy)
    }

    fn velocity(&mut self, time: f64, y: &[E], dy: &mut [E]) -> Result<(), Ending> {
        // The stepper would accept an infinite state, because it divides the error by it.
        if let Some(index) = first_non_finite(y) {
            return Err(Failure::NonFinite { quantity: "state", time, index }.into());
        }
        if self.evaluations == self.bound {
            return Err(Status::EvaluationBound.into());
        }
        self.evaluations += 1;
        evaluate(&mut |t, y: &[E], dy: &mut [E]| self.field.velocity(t, y, dy), time, y, dy)?;
        if self.t1 < self.t0 {
            dy.iter_mut().for_each(|v| *v = -*v); // elapsed time runs the other way
        }
        Ok(())
    }

    fn first_step(&mut self, settings: &Adaptive, y0: &[E], f0: &[E]) -> Result<f64, Ending> {
        let norm = |values: &[E]| settings.norm(values.iter().copied().zip(y0.iter().copied()));
        let first = FirstStep::new(norm(y0), norm(f0), self.length());
        let h = E::of(first.probe);
        let y1: Vec<E> = y0.iter().zip(f0).map(|(y, f)| *y + h * *f).collect();
        let mut change = vec![E::zero(); y0.len()];
        self.velocity(self.time(first.probe), &y1, &mut change)?;
        change.iter_mut().zip(f0).for_each(|(f1, f0)| *f1 -= *f0);
        Ok(first.estimate(norm(&change), self.method.constants().order))
    }
}
