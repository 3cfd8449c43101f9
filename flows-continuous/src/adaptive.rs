//! Adaptive Dormand–Prince 5(4): the one file that knows `ode_solvers`.
//!
//! Reference: Dormand, Prince, J. Comput. Appl. Math. 6 (1980) 19–26; Hairer, Nørsett, Wanner,
//! *Solving Ordinary Differential Equations I*, 2nd ed. 1993, II.4 (step size); Hairer, Wanner,
//! volume II, 2nd ed. 1996, IV.2 (stiffness test). Comments say where the package differs.

use std::any::{Any, TypeId};
use std::cell::RefCell;

use ode_solvers::dop_shared::{FloatNumber, IntegrationError};
use ode_solvers::{DVector, Dopri5, OutputType, System};
use serde::{Deserialize, Serialize};

use flows_core::Real;

use crate::monitor::{Monitor, STAGES};
use crate::{FieldError, Solution, SolveError, Status};

/// The package counts evaluations in a `u32`, which must not overflow.
const MOST_EVALUATIONS: usize = u32::MAX as usize / 2;

/// Settings of an adaptive solve.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `rtol` | required | tolerance per unit of state | ≥ 4 ε: 8.9e-16 in `f64`, 4.8e-7 in `f32` |
/// | `atol` | required | tolerance at state zero, in units of the state | ≥ ε: 2.3e-16, 1.2e-7 |
/// | `first_step` | estimated | length of the first step, in units of time | > 0 |
/// | `max_evaluations` | 100 000 | most calls of the field | ≥ 1; above 2³¹ − 1 as 2³¹ − 1 |
///
/// A step is accepted if the root of the *mean* over all components of
/// (errorᵢ / (atol + rtol max(|yᵢ|, |yᵢ′|)))² is at most 1. One component of n may thus be wrong by
/// √n tolerances, and a row's accuracy depends on the rows solved with it.
///
/// The estimate of the first step takes two evaluations, of which the solve reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Relative tolerance.
    pub rtol: f64,
    /// Absolute tolerance.
    pub atol: f64,
    /// Length of the first step; estimated if absent.
    #[serde(default)]
    pub first_step: Option<f64>,
    /// Most calls of the vector field.
    #[serde(default = "default_evaluations")]
    pub max_evaluations: usize,
}

fn default_evaluations() -> usize {
    100_000
}

impl Adaptive {
    /// Settings with the defaults of the table.
    pub fn new(rtol: f64, atol: f64) -> Self {
        Self { rtol, atol, first_step: None, max_evaluations: default_evaluations() }
    }

    pub(crate) fn check<E: Real>(&self) -> Result<(), SolveError> {
        let epsilon = E::epsilon().as_f64();
        let largest = E::max_value().as_f64();
        // The package takes any tolerance: below these it rejects rounding noise without end, and
        // with `atol` = 0 a component at rest at zero makes the error 0/0.
        for (name, value, smallest) in
            [("rtol", self.rtol, 4.0 * epsilon), ("atol", self.atol, epsilon)]
        {
            if !(smallest..=largest).contains(&value) {
                return Err(SolveError::Tolerance { name, value, smallest });
            }
        }
        if let Some(value) = self.first_step.filter(|h| !(h.is_finite() && *h > 0.0)) {
            let requirement = "finite and positive";
            return Err(SolveError::Parameter { name: "first_step", requirement, value });
        }
        if self.max_evaluations == 0 {
            let (name, requirement) = ("max_evaluations", "at least 1");
            return Err(SolveError::Parameter { name, requirement, value: 0.0 });
        }
        Ok(())
    }
}

/// Solves y' = field(t, y) from `y0` at `t0` to `t1`, in either direction.
///
/// `field(t, y, dy)` writes the velocity into every entry of `dy`; what `dy` holds before is
/// arbitrary. t always lies between `t0` and `t1`. The solve ends at the first error of the field
/// and at the first velocity or state that is not finite, and never calls the field more than
/// `max_evaluations` times. Stiffness is looked for after every thousandth step.
///
/// An interval of length zero and an empty state return `y0` without an evaluation. In `f32`, step
/// sizes are `f32` too, and the interval is as long as its nearest `f32` says.
///
/// Memory: one copy of the state per accepted step, until the solve returns.
///
/// # Errors
/// [`SolveError::Tolerance`], [`SolveError::Parameter`] for settings outside their table,
/// [`SolveError::Interval`] for a time or a length that is not finite. Everything that happens
/// during the solve is in [`Solution::status`] instead.
pub fn dopri5<E, F>(
    settings: &Adaptive,
    t0: f64,
    t1: f64,
    y0: Vec<E>,
    field: F,
) -> Result<Solution<E>, SolveError>
where
    E: Real,
    F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
{
    settings.check::<E>()?;
    let length = E::of((t1 - t0).abs());
    if !length.is_finite() || (length.is_zero() && t0 != t1) {
        return Err(SolveError::Interval { t0, t1 });
    }
    let bound = settings.max_evaluations.min(MOST_EVALUATIONS);
    let mut monitor = Monitor::new(t0, t1, bound, field);
    // The package divides by the interval and by the number of components.
    if t0 == t1 || y0.is_empty() {
        if t0 != t1 {
            monitor.accept(monitor.length());
        }
        return Ok(monitor.into_solution(y0, Status::Finished.into()));
    }
    // The package wants `f64: From<E>`, a bound that every generic caller would have to repeat. E
    // is one of two types, so it is named here instead.
    Ok(if TypeId::of::<E>() == TypeId::of::<f32>() {
        solve::<E, f32, F>(settings, monitor, y0)
    } else {
        solve::<E, f64, F>(settings, monitor, y0)
    })
}

/// The solve proper, with `T` the same type as `E`.
fn solve<E, T, F>(settings: &Adaptive, mut monitor: Monitor<E, F>, y0: Vec<E>) -> Solution<E>
where
    E: Real,
    T: Real + FloatNumber,
    F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
    f64: From<T>,
{
    let length = monitor.length();
    let estimate = match settings.first_step {
        Some(step) => Ok(step.min(length)),
        None => monitor.first_step(settings.rtol, settings.atol, &y0),
    };
    let first_step = match estimate {
        Ok(step) => step,
        Err(ending) => return monitor.into_solution(y0, ending),
    };
    let scalar = T::of;
    // A first step of zero would start the package's own estimate, whose norms are sums over the
    // components, so that it shrinks as the state grows.
    let first_step = scalar(first_step).max(T::min_positive_value());
    let bound = monitor.bound();
    let shared = RefCell::new(monitor);
    let mut stepper = Dopri5::from_param(
        Shared(&shared),
        // Elapsed time, which starts at zero and increases in both directions: the package tests
        // for stiffness only while time increases (its h λ keeps the sign of h), and `f32` resolves
        // times near zero best.
        T::zero(),
        scalar(length),
        T::zero(), // interval of dense output, unused
        DVector::from_vec(recast::<E, T>(&y0)),
        scalar(settings.rtol),
        scalar(settings.atol),
        scalar(0.9),    // safety factor
        scalar(0.04),   // beta of the PI controller
        scalar(0.2),    // smallest and
        scalar(10.0),   // largest ratio of successive steps
        scalar(length), // largest step; does not apply to the first one
        first_step,
        // Attempts, rejected ones included; only a guard, with room for those after a halt.
        u32::try_from(bound / STAGES + 2000).unwrap_or(u32::MAX),
        1000, // steps between stiffness tests
        // The default, `Dense`, extrapolates the end point from an early step. `Sparse` is right,
        // but keeps every accepted state.
        OutputType::Sparse,
    );
    let outcome = stepper.integrate();
    // After a halt the package may have accepted one more step, made of zero velocities, which the
    // monitor does not count. The states begin with y0.
    let reached = shared.borrow().accepted();
    let named = |state: &DVector<T>| recast::<T, E>(state.as_slice());
    let state = named(&stepper.y_out()[reached]);
    let earlier = stepper.y_out()[..reached].iter().map(named).collect();
    drop(stepper);
    let status = match outcome {
        Ok(_) => Status::Finished,
        Err(IntegrationError::MaxNumStepReached { .. }) => Status::EvaluationBound,
        Err(IntegrationError::StepSizeUnderflow { .. }) => Status::StepUnderflow,
        Err(IntegrationError::StiffnessDetected { .. }) => Status::Stiff,
    };
    let mut monitor = shared.into_inner();
    let ending = monitor.halted().unwrap_or(status.into());
    Solution { earlier, ..monitor.into_solution(state, ending) }
}

/// The package owns its system and gives none back.
struct Shared<'a, E, F>(&'a RefCell<Monitor<E, F>>);

impl<E, T, F> System<T, DVector<T>> for Shared<'_, E, F>
where
    E: Real,
    T: Real + FloatNumber,
    F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
{
    fn system(&self, elapsed: T, y: &DVector<T>, dy: &mut DVector<T>) {
        // Both are vectors of E under its other name.
        let y = (y as &dyn Any).downcast_ref::<DVector<E>>();
        let dy = (dy as &mut dyn Any).downcast_mut::<DVector<E>>();
        debug_assert!(y.is_some() && dy.is_some(), "T is E");
        if let (Some(y), Some(dy)) = (y, dy) {
            let elapsed = elapsed.as_f64();
            self.0.borrow_mut().deliver(elapsed, y.as_slice(), dy.as_mut_slice());
        }
    }

    fn solout(&mut self, elapsed: T, _: &DVector<T>, _: &DVector<T>) -> bool {
        !self.0.borrow_mut().accept(elapsed.as_f64())
    }
}

/// The same numbers under the other name of their type.
fn recast<A: Real, B: Real>(values: &[A]) -> Vec<B> {
    values.iter().map(|value| B::of(value.as_f64())).collect()
}
