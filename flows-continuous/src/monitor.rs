//! A vector field under watch: counted, bounded, checked, and halted at the first thing wrong.
//!
//! The adaptive stepper knows neither errors of a field nor a way to be stopped between two
//! accepted steps; both are made up for here. The stepper sees elapsed time, |t − t0|.

use crate::fixed_step::evaluate;
use crate::solution::first_non_finite;
use flows_core::Real;

use crate::{Failure, FieldError, Solution, Status};

/// Velocities in an attempted step; the seventh stage of an accepted one is the first of the next.
pub(crate) const STAGES: usize = 6;

/// A vector field with everything that happened to it.
pub(crate) struct Monitor<E, F> {
    field: F,
    t0: f64,
    t1: f64,
    bound: usize,
    evaluations: usize,
    /// Velocities delivered to the stepper.
    delivered: usize,
    /// Times of the accepted steps, after `t0`.
    mesh: Vec<f64>,
    /// Velocity at the start, if the estimate of the first step has it already.
    first: Option<Vec<E>>,
    /// Set once; from then on the field is not called.
    halt: Option<Ending>,
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

impl<E, F> Monitor<E, F>
where
    E: Real,
    F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
{
    /// Watches `field` between `t0` and `t1`, for at most `bound` evaluations.
    pub(crate) fn new(t0: f64, t1: f64, bound: usize, field: F) -> Self {
        Self {
            field,
            t0,
            t1,
            bound,
            evaluations: 0,
            delivered: 0,
            mesh: vec![t0],
            first: None,
            halt: None,
        }
    }

    /// Length of the interval.
    pub(crate) fn length(&self) -> f64 {
        (self.t1 - self.t0).abs()
    }

    /// Most evaluations.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Steps accepted before any halt.
    pub(crate) fn accepted(&self) -> usize {
        self.mesh.len() - 1
    }

    /// Takes the reason of a halt.
    pub(crate) fn halted(&mut self) -> Option<Ending> {
        self.halt.take()
    }

    /// Notes the end of an accepted step; false after a halt, when there is nothing to note.
    pub(crate) fn accept(&mut self, elapsed: f64) -> bool {
        let running = self.halt.is_none();
        if running {
            self.mesh.push(self.time(elapsed));
        }
        running
    }

    /// Writes the velocity per unit of elapsed time. A halted field stands still: the stepper asks
    /// whether to go on only after an accepted step, and at rest a short enough one is accepted.
    pub(crate) fn deliver(&mut self, elapsed: f64, y: &[E], dy: &mut [E]) {
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

    /// Length of the first step after Hairer, Nørsett, Wanner II.4, "starting step size", with
    /// mean norms, and with fractions of the interval in place of the book's absolute 1e-6.
    pub(crate) fn first_step(&mut self, rtol: f64, atol: f64, y0: &[E]) -> Result<f64, Ending> {
        let norm = |of: &dyn Fn(usize) -> E| {
            let square = |i: usize| (of(i).as_f64() / (atol + rtol * y0[i].as_f64().abs())).powi(2);
            ((0..y0.len()).map(square).sum::<f64>() / y0.len() as f64).sqrt()
        };
        let length = self.length();
        let mut f0 = vec![E::zero(); y0.len()];
        self.velocity(self.t0, y0, &mut f0)?;
        let (d0, d1) = (norm(&|i| y0[i]), norm(&|i| f0[i]));
        // A state or velocity near zero says nothing about the scale of time.
        let scale = if d0 < 1e-5 || d1 < 1e-5 { 1e-3 * length } else { 0.01 * d0 / d1 };
        let h0 = scale.min(length);

        let h = E::of(h0);
        let y1: Vec<E> = y0.iter().zip(&f0).map(|(y, f)| *y + h * *f).collect();
        let mut f1 = vec![E::zero(); y0.len()];
        self.velocity(self.time(h0), &y1, &mut f1)?;
        let d2 = norm(&|i| f1[i] - f0[i]) / h0;
        let h1 = (0.01 / d1.max(d2)).powf(1.0 / 5.0); // infinite at rest
        self.first = Some(f0);
        Ok((100.0 * h0).min(h1).min(length))
    }

    /// The solve as its caller sees it.
    pub(crate) fn into_solution(mut self, state: Vec<E>, ending: Ending) -> Solution<E> {
        let Ending { status, failure } = ending;
        // Elapsed time need not round to the end of the interval.
        if status == Status::Finished
            && let Some(last) = self.mesh.last_mut()
        {
            *last = self.t1;
        }
        let accepted = self.accepted();
        let attempts = self.delivered.saturating_sub(1) / STAGES;
        Solution {
            state,
            earlier: Vec::new(),
            time: self.mesh[accepted],
            mesh: self.mesh,
            status,
            accepted,
            rejected: attempts.saturating_sub(accepted),
            evaluations: self.evaluations,
            failure,
        }
    }

    /// Time after `elapsed`, within the interval whatever the rounding.
    fn time(&self, elapsed: f64) -> f64 {
        if self.t1 > self.t0 {
            (self.t0 + elapsed).min(self.t1)
        } else {
            (self.t0 - elapsed).max(self.t1)
        }
    }

    fn stage(&mut self, time: f64, y: &[E], dy: &mut [E]) -> Result<(), Ending> {
        if let Some(first) = self.first.take() {
            dy.copy_from_slice(&first);
            return Ok(());
        }
        // The stepper tests for underflow against the rounding of `f64` even in `f32`, and never
        // at time zero. At the second stage, a fifth of the step has passed.
        if self.delivered % STAGES == 1 && self.mesh.last() == Some(&time) {
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
        evaluate(&mut self.field, time, y, dy)?;
        if self.t1 < self.t0 {
            dy.iter_mut().for_each(|v| *v = -*v); // elapsed time runs the other way
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_rest(_: f64, _: &[f64], dy: &mut [f64]) -> Result<(), FieldError> {
        dy.fill(0.0);
        Ok(())
    }

    #[test]
    fn time_stays_within_the_interval_in_both_directions() {
        let forward = Monitor::new(0.1, 0.4, 1, at_rest);
        assert_eq!((forward.time(0.0), forward.time(0.5)), (0.1, 0.4));
        let backward = Monitor::new(0.4, 0.1, 1, at_rest);
        assert_eq!((backward.time(0.0), backward.time(0.5)), (0.4, 0.1));
    }

    #[test]
    fn a_halted_field_is_not_called_and_accepts_nothing() {
        let mut monitor = Monitor::new(0.0, 1.0, 1, |_: f64, _: &[f64], dy: &mut [f64]| {
            dy.fill(3.0);
            Ok(())
        });
        let mut dy = [7.0];
        monitor.deliver(0.0, &[1.0], &mut dy);
        assert_eq!(dy, [3.0]);
        monitor.deliver(0.2, &[1.0], &mut dy);
        assert_eq!(dy, [0.0]);
        assert!(!monitor.accept(1.0));
        let ending = monitor.halted();
        assert!(ending.is_some_and(|ending| ending.status == Status::EvaluationBound));
        assert_eq!((monitor.evaluations, monitor.accepted()), (1, 0));
    }

    #[test]
    fn the_first_velocity_is_not_computed_twice() {
        let mut monitor = Monitor::new(0.0, 1.0, 9, at_rest);
        assert!(monitor.first_step(1e-6, 1e-6, &[1.0]).is_ok_and(|step| step > 0.0));
        let mut dy = [7.0];
        monitor.deliver(0.0, &[1.0], &mut dy);
        assert_eq!((dy, monitor.evaluations), ([0.0], 2));
    }
}
