//! Adaptive Dormand–Prince 5(4) and 8(5,3): the one file that knows `ode_solvers`.
//!
//! Reference: Dormand, Prince, J. Comput. Appl. Math. 6 (1980) 19–26; Hairer, Nørsett, Wanner,
//! *Solving Ordinary Differential Equations I*, 2nd ed. 1993, II.4 (step size), II.5 (methods),
//! II.10 (error estimate of DOP853); Hairer, Wanner, volume II, 2nd ed. 1996, IV.2 (stiffness
//! test). Comments say where the package differs.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};

use ode_solvers::dop_shared::{FloatNumber, IntegrationError};
use ode_solvers::{DVector, Dop853, Dopri5, OutputType, System};

use flows_core::Real;

use crate::solver::control::{Adaptive, Constants, Method};
use crate::solver::monitor::{Monitor, Problem};
use crate::solver::solution::{FieldError, Keep, Solution, SolveError, Status};

/// The package counts evaluations in a `u32`, which must not overflow.
const MOST_EVALUATIONS: usize = u32::MAX as usize / 2;

/// Accepted steps between two searches for stiffness.
const STIFFNESS: usize = 1000;

impl Adaptive {
    /// Solves y' = field(t, y) from `y0` at `t0` to `t1`, in either direction.
    ///
    /// `field(t, y, dy)` writes the velocity into every entry of `dy`, whose content is arbitrary
    /// before. t lies between `t0` and `t1`. The solve ends at the first error of the field and at
    /// the first velocity or state that is not finite, and calls the field at most
    /// `max_evaluations` times. Stiffness is tested after every thousandth step.
    ///
    /// An interval of length zero and an empty state return `y0` without an evaluation. In `f32`,
    /// step sizes are `f32` too, and the length of the interval is rounded to `f32`.
    ///
    /// # Cost
    /// Memory: the states to `keep`, and some 80 copies of the state at most, for which the package
    /// is restarted from the last state after 40 steps and then after every 50. A restart loses the
    /// length of the next step (the last one is repeated) and the last error (DOPRI5 makes the step
    /// after that up to a third shorter): about one evaluation in a hundred more.
    ///
    /// # Errors
    /// [`SolveError::Tolerance`], [`SolveError::Parameter`] for settings outside their table,
    /// [`SolveError::Interval`] for a time or a length that is not finite. Everything that happens
    /// during the solve is in [`Solution::status`] instead.
    pub fn solve<E: Real>(
        &self,
        method: Method,
        keep: Keep,
        times: [f64; 2],
        y0: Vec<E>,
        mut field: impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
    ) -> Result<Solution<E>, SolveError> {
        self.solve_problem(method, keep, times, y0, &mut field)
    }

    /// [`solve`](Self::solve), compiled once a precision.
    pub(crate) fn solve_problem<E: Real>(
        &self,
        method: Method,
        keep: Keep,
        [t0, t1]: [f64; 2],
        y0: Vec<E>,
        problem: &mut dyn Problem<E>,
    ) -> Result<Solution<E>, SolveError> {
        self.check::<E>()?;
        let length = E::of((t1 - t0).abs());
        if !length.is_finite() || (length.is_zero() && t0 != t1) {
            return Err(SolveError::Interval { t0, t1 });
        }
        let bound = self.max_evaluations.min(MOST_EVALUATIONS);
        let mut monitor = Monitor::new(method, keep, [t0, t1], bound, y0, problem);
        // The package divides by the interval and by the number of components.
        if t0 == t1 || monitor.state.is_empty() {
            if t0 != t1 {
                monitor.accept(monitor.length(), &[], &[]);
            }
            return Ok(monitor.into_solution(Status::Finished.into()));
        }
        // The package requires `f64: From<E>`, a bound that every generic caller would have to
        // repeat. E is one of two types, so it is named here instead.
        Ok(if TypeId::of::<E>() == TypeId::of::<f32>() {
            run::<E, f32>(self, method, monitor)
        } else {
            run::<E, f64>(self, method, monitor)
        })
    }
}

/// [`Adaptive::solve`] with [`Method::Dopri5`], keeping the state at every step.
///
/// # Errors
/// Those of [`Adaptive::solve`].
pub fn dopri5<E: Real>(
    settings: &Adaptive,
    t0: f64,
    t1: f64,
    y0: Vec<E>,
    field: impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
) -> Result<Solution<E>, SolveError> {
    settings.solve(Method::Dopri5, Keep::Everything, [t0, t1], y0, field)
}

/// [`Adaptive::solve`] with [`Method::Dop853`], keeping the state at every step.
///
/// # Errors
/// Those of [`Adaptive::solve`].
pub fn dop853<E: Real>(
    settings: &Adaptive,
    t0: f64,
    t1: f64,
    y0: Vec<E>,
    field: impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
) -> Result<Solution<E>, SolveError> {
    settings.solve(Method::Dop853, Keep::Everything, [t0, t1], y0, field)
}

/// The solve proper, with `T` the same type as `E`.
fn run<E, T>(settings: &Adaptive, method: Method, mut monitor: Monitor<'_, E>) -> Solution<E>
where
    E: Real,
    T: Real + FloatNumber,
    f64: From<T>,
{
    let mut step = match monitor.start(settings) {
        Ok(step) => step,
        Err(ending) => return monitor.into_solution(ending),
    };
    let shared = RefCell::new(monitor);
    let outcome = loop {
        let outcome = run_segment::<E, T>(settings, method, step, &shared);
        if !shared.borrow().paused() {
            break outcome;
        }
        step = shared.borrow().step;
    };
    let status = match outcome {
        Ok(_) => Status::Finished,
        Err(IntegrationError::MaxNumStepReached { .. }) => Status::EvaluationBound,
        Err(IntegrationError::StepSizeUnderflow { .. }) => Status::StepUnderflow,
        Err(IntegrationError::StiffnessDetected { .. }) => Status::Stiff,
    };
    let mut monitor = shared.into_inner();
    let ending = monitor.halt.take().unwrap_or(status.into());
    monitor.into_solution(ending)
}

/// Runs the package from the last accepted state until the end or a stop.
///
/// It is given elapsed time, which starts at zero and increases in both directions: the package tests
/// for stiffness only while time increases (its h λ keeps the sign of h), and `f32` resolves times
/// near zero best.
fn run_segment<E, T>(
    settings: &Adaptive,
    method: Method,
    step: f64,
    shared: &RefCell<Monitor<'_, E>>,
) -> Result<(), IntegrationError>
where
    E: Real,
    T: Real + FloatNumber,
    f64: From<T>,
{
    let scalar = <T as Real>::of;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let Constants { stages, safety, beta, ratios: [smallest, largest], .. } = method.constants();
    let monitor = shared.borrow();
    let (start, length) = (scalar(monitor.elapsed), scalar(monitor.length()));
    let state: Vec<T> = monitor.state.iter().map(|y| scalar(y.as_f64())).collect();
    // Largest number of attempts, including rejected ones and those after a halt; only a guard.
    let attempts = count(monitor.bound / stages + 2000);
    // Accepted steps of this segment after which to test for stiffness.
    let stiffness = count(STIFFNESS - monitor.accepted % STIFFNESS);
    drop(monitor);
    let system = Shared { monitor: shared, method, elapsed: Cell::new(0.0) };
    // Both steppers take the same arguments.
    macro_rules! integrate {
        ($stepper:ident) => {
            $stepper::from_param(
                system,
                start,
                length,
                T::zero(), // interval of dense output, unused
                state.into(),
                scalar(settings.rtol),
                scalar(settings.atol),
                scalar(safety),
                scalar(beta),
                scalar(smallest),
                scalar(largest),
                length, // largest step; does not apply to the first one
                // A step of zero would start the package's own estimate, whose norms are sums, so
                // that it shrinks as the state grows.
                scalar(step).max(T::min_positive_value()),
                attempts,
                stiffness,
                // The default, `Dense`, extrapolates the end point from an early step, and costs
                // DOP853 three evaluations a step. `Sparse` keeps every state of a segment.
                OutputType::Sparse,
            )
            .integrate()
            .map(|_| ())
        };
    }
    match method {
        Method::Dopri5 => integrate!(Dopri5),
        Method::Dop853 => integrate!(Dop853),
    }
}

/// The monitor, shared with the package, which owns its system and does not return it.
struct Shared<'a, 'b, E> {
    monitor: &'a RefCell<Monitor<'b, E>>,
    method: Method,
    /// Elapsed time of the last evaluation.
    elapsed: Cell<f64>,
}

impl<E: Real> Shared<'_, '_, E> {
    /// The package asks for the twelfth stage of DOP853 at the start of the step, because its c₁₂
    /// is 0 instead of 1; a field that depends on time would then be solved to order 1. No other
    /// stage after the first is there, and the stage before is 6/7 of the step away.
    fn corrected(&self, elapsed: f64) -> f64 {
        let start = self.monitor.borrow().elapsed;
        let eleventh = self.elapsed.replace(elapsed);
        if self.method == Method::Dop853 && elapsed == start && eleventh > start {
            start + (eleventh - start) * (7.0 / 6.0)
        } else {
            elapsed
        }
    }
}

impl<E: Real, T: Real + FloatNumber> System<T, DVector<T>> for Shared<'_, '_, E> {
    fn system(&self, elapsed: T, y: &DVector<T>, dy: &mut DVector<T>) {
        let elapsed = self.corrected(elapsed.as_f64());
        let dy = (dy as &mut dyn Any).downcast_mut::<DVector<E>>();
        if let (Some(y), Some(dy)) = (renamed::<E, T>(y), dy) {
            self.monitor.borrow_mut().deliver(elapsed, y, dy.as_mut_slice());
        }
    }

    fn solout(&mut self, elapsed: T, y: &DVector<T>, dy: &DVector<T>) -> bool {
        let (Some(y), Some(dy)) = (renamed::<E, T>(y), renamed::<E, T>(dy)) else {
            return true;
        };
        !self.monitor.borrow_mut().accept(elapsed.as_f64(), y, dy)
    }
}

/// The same vector under its concrete type.
fn renamed<E: Real, T: Real>(vector: &DVector<T>) -> Option<&[E]> {
    let vector = (vector as &dyn Any).downcast_ref::<DVector<E>>();
    debug_assert!(vector.is_some(), "T is E");
    vector.map(DVector::as_slice)
}
