//! Choice of the ODE solver and its accuracy.

pub(crate) mod adaptive;
pub(crate) mod control;
pub(crate) mod fixed_step;
pub(crate) mod monitor;
pub(crate) mod path;
pub(crate) mod recorder;
pub(crate) mod row_wise;
pub(crate) mod runge_kutta;
pub(crate) mod solution;
pub(crate) mod tableau;

use std::num::NonZeroUsize;

use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use crate::dynamics::divergence::Divergence;
use crate::requirement::require;
use crate::solver::control::{Adaptive, Method};
use crate::solver::solution::{Failure, RowReport, SolveError, Status};
use crate::solver::tableau::{
    DORMAND_PRINCE, DORMAND_PRINCE_8, EULER, HEUN, MIDPOINT, RALSTON, RK4, Tableau,
};

/// ODE solver.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Solver {
    /// Equal steps of Euler's method, order 1.
    Euler(EqualSteps),
    /// Equal steps of the midpoint rule, order 2.
    Midpoint(EqualSteps),
    /// Equal steps of Heun's method, order 2.
    Heun(EqualSteps),
    /// Equal steps of Ralston's method, order 2.
    Ralston(EqualSteps),
    /// Equal steps of the classical method of order 4.
    Rk4(EqualSteps),
    /// Adaptive Dormand-Prince 5(4) with one step size for the batch.
    Dopri5(Adaptive),
    /// Adaptive Dormand-Prince 8(5,3) with one step size for the batch.
    Dop853(Adaptive),
    /// Adaptive Dormand-Prince 5(4) where each row has its own time and step size, so that its
    /// result does not depend on its batch.
    RowWise(Adaptive),
}

/// Settings of equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EqualSteps {
    /// Steps over the whole interval.
    pub steps: NonZeroUsize,
}

/// A solver and a divergence method, for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// How the ODE is solved.
    pub solver: Solver,
    /// How the trace of the Jacobian is computed.
    pub divergence: Divergence,
}

/// Most equal steps of a solve.
const MOST_STEPS: usize = 1_000_000;

/// Evaluations that the row-wise solver needs up to its first step.
const FIRST_STEP: usize = 9;

/// Settings of either kind of solver.
enum Settings<'a> {
    Equal(&'a mut EqualSteps),
    Adaptive(&'a mut Adaptive),
}

impl Solver {
    fn settings(&mut self) -> Settings<'_> {
        match self {
            Self::Euler(s)
            | Self::Midpoint(s)
            | Self::Heun(s)
            | Self::Ralston(s)
            | Self::Rk4(s) => Settings::Equal(s),
            Self::Dopri5(a) | Self::Dop853(a) | Self::RowWise(a) => Settings::Adaptive(a),
        }
    }

    pub(crate) fn check<E: Real>(mut self) -> Result<()> {
        if let Self::RowWise(Adaptive { max_evaluations: bound, .. }) = self {
            let requirement = "at least 9, for the first step";
            require(bound >= FIRST_STEP, "max_evaluations", requirement, bound as f64)?;
        }
        match self.settings() {
            Settings::Adaptive(settings) => settings.check::<E>().map_err(refused),
            Settings::Equal(EqualSteps { steps }) => {
                let (few, steps) = (steps.get() <= MOST_STEPS, steps.get() as f64);
                require(few, "steps of the solver", "at most 1000000", steps)
            }
        }
    }

    /// The number of equal steps; `None` for adaptive solvers.
    #[must_use]
    pub fn equal_steps(&self) -> Option<NonZeroUsize> {
        match { *self }.settings() {
            Settings::Equal(equal) => Some(equal.steps),
            Settings::Adaptive(_) => None,
        }
    }

    /// The settings of an adaptive solver; `None` for equal steps.
    #[must_use]
    pub fn adaptive(&self) -> Option<Adaptive> {
        match { *self }.settings() {
            Settings::Equal(_) => None,
            Settings::Adaptive(settings) => Some(*settings),
        }
    }

    /// The same solver with half the tolerance, limited by the precision, or twice the number of
    /// steps.
    #[must_use]
    pub fn halved<E: Real>(mut self) -> Self {
        let least = 8.0 * E::epsilon().as_f64();
        match self.settings() {
            Settings::Equal(EqualSteps { steps }) => *steps = steps.saturating_add(steps.get()),
            Settings::Adaptive(Adaptive { rtol, atol, .. }) => {
                for tolerance in [rtol, atol] {
                    *tolerance = (0.5 * *tolerance).max(least).min(*tolerance);
                }
            }
        }
        self
    }

    /// The tableau of the method.
    pub(crate) fn tableau(&self) -> &'static Tableau {
        match self {
            Self::Euler(_) => &EULER,
            Self::Midpoint(_) => &MIDPOINT,
            Self::Heun(_) => &HEUN,
            Self::Ralston(_) => &RALSTON,
            Self::Rk4(_) => &RK4,
            Self::Dopri5(_) | Self::RowWise(_) => &DORMAND_PRINCE,
            Self::Dop853(_) => &DORMAND_PRINCE_8,
        }
    }

    /// The method of `ode_solvers` for solvers with one step size for the batch.
    pub(crate) fn method(&self) -> Method {
        if matches!(self, Self::Dop853(_)) { Method::Dop853 } else { Method::Dopri5 }
    }
}

/// Checks that an interval has a finite length that is not zero.
pub(crate) fn check_interval(times: [f64; 2]) -> Result<()> {
    let length = times[1] - times[0];
    let sound = length.is_finite() && length != 0.0;
    require(sound, "length of the time interval", "finite and not 0", length)
}

/// The error of a solve that stopped early.
pub(crate) fn stopped(row: Option<usize>, report: RowReport) -> Error {
    let RowReport { status, time, evaluations, .. } = report;
    Error::Stopped {
        method: "the ODE solver",
        row,
        reached: format!("time {time:.4} after {evaluations} evaluations"),
        status: status.to_string(),
        advice: status.advice(),
    }
}

/// The error of a solve that could not begin.
pub(crate) fn refused(error: SolveError) -> Error {
    match error {
        SolveError::Tolerance { name, value, .. } => {
            let requirement = match name {
                "rtol" => "above rounding: at least 9e-16 in f64, 4.8e-7 in f32",
                _ => "above rounding: at least 2.3e-16 in f64, 1.2e-7 in f32",
            };
            Error::Parameter { name, requirement, value }
        }
        SolveError::Parameter { name, requirement, value } => {
            Error::Parameter { name, requirement, value }
        }
        SolveError::Failed(Failure::NonFinite { time, .. }) => {
            stopped(None, RowReport { status: Status::NonFinite, ..RowReport::at(time) })
        }
        other => Error::Stopped {
            method: "the ODE solver",
            row: None,
            reached: "its start".into(),
            status: other.to_string(),
            advice: "check the time interval and the solver settings",
        },
    }
}
