//! Solutions of the adaptive solvers: the state reached, the steps taken, and why the solve ended.

use std::error::Error;

use thiserror::Error;

use flows_core::{Real, Work};

/// Result of an adaptive solve, complete or not.
///
/// A solve that stops early is a value too: `status` says why, `time` and `state` how far it got.
#[derive(Debug)]
#[must_use]
pub struct Solution<E> {
    /// State at `time`.
    pub state: Vec<E>,
    /// States at the times of `mesh` except the last one, which is `state`; empty with
    /// [`Keep::Last`].
    pub earlier: Vec<Vec<E>>,
    /// Times of the accepted steps from the start to `time`, `accepted + 1` entries; with
    /// [`Keep::Last`], `time` alone.
    pub mesh: Vec<f64>,
    /// Why the solve ended.
    pub status: Status,
    /// Accepted steps.
    pub accepted: usize,
    /// Rejected steps.
    pub rejected: usize,
    /// Evaluations of the vector field, including those for the first step size.
    pub evaluations: usize,
    /// Last time reached, in the units of the field; the end of the interval if finished.
    pub time: f64,
    /// The failure, for [`Status::NonFinite`] and [`Status::FieldFailed`].
    pub failure: Option<Failure>,
}

impl<E: Real> Solution<E> {
    /// Whether the end of the interval was reached.
    pub fn is_finished(&self) -> bool {
        self.status == Status::Finished
    }

    /// The solution without the states.
    pub(crate) fn report(&self) -> RowReport {
        RowReport {
            status: self.status,
            time: self.time,
            accepted: self.accepted as u64,
            rejected: self.rejected as u64,
            evaluations: self.evaluations as u64,
        }
    }
}

/// Report of the solve of one row, or of rows solved together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowReport {
    /// Why its solve ended.
    pub status: Status,
    /// Last time reached.
    pub time: f64,
    /// Accepted steps.
    pub accepted: u64,
    /// Rejected steps.
    pub rejected: u64,
    /// Evaluations of the field for this row.
    pub evaluations: u64,
}

impl RowReport {
    /// The report of a solve that has done nothing yet.
    pub(crate) fn at(time: f64) -> Self {
        Self { status: Status::Finished, time, accepted: 0, rejected: 0, evaluations: 0 }
    }
}

impl From<RowReport> for Work {
    fn from(report: RowReport) -> Self {
        Self {
            field_evaluations: report.evaluations,
            steps_accepted: report.accepted,
            steps_rejected: report.rejected,
            ..Self::default()
        }
    }
}

/// Which states of a solve to keep; the steps are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// The state and time of every accepted step: memory grows with the number of steps.
    Everything,
    /// The last state and time: memory does not depend on the number of steps.
    Last,
}

/// Why a solve ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The end of the interval was reached.
    Finished,
    /// The next step needed more evaluations than allowed.
    EvaluationBound,
    /// The step became so small that time no longer advanced.
    StepUnderflow,
    /// A velocity or a state was infinite or not a number.
    NonFinite,
    /// The solve is stiff: stability, not accuracy, limits the step size.
    Stiff,
    /// The vector field returned an error.
    FieldFailed,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::EvaluationBound => "the bound on evaluations was reached",
            Self::StepUnderflow => "the step size fell below rounding",
            Self::NonFinite => "a velocity or state is not finite",
            Self::Stiff => "the problem is stiff",
            Self::FieldFailed => "the vector field failed",
        })
    }
}

impl Status {
    /// One sentence on what to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Finished => "nothing to do",
            Self::EvaluationBound => "raise `max_evaluations`, or loosen `rtol` and `atol`",
            Self::StepUnderflow => {
                "look for a solution that blows up or a field that jumps near the last time, \
                 or loosen `rtol` and `atol`"
            }
            Self::NonFinite => {
                "bound the output of the field, lower the learning rate, or set a smaller \
                 `first_step`"
            }
            Self::Stiff => {
                "regularise the field so that its Jacobian is smaller, shorten the interval, or \
                 use fixed steps small enough to be stable"
            }
            Self::FieldFailed => "read the error in `failure`, which came from the vector field",
        }
    }
}

/// Why an evaluation of the vector field could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// A component is infinite or not a number.
    #[error("{quantity} is not finite at time {time}, component {index}")]
    NonFinite {
        /// `"velocity"` or `"state"`.
        quantity: &'static str,
        /// Time of the evaluation.
        time: f64,
        /// First component affected.
        index: usize,
    },
    /// The field returned an error.
    #[error("vector field failed at time {time}")]
    Field {
        /// Time of the evaluation.
        time: f64,
        /// What the field returned.
        source: FieldError,
    },
}

/// An error of the vector field itself, passed through unchanged.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct FieldError(Box<dyn Error + Send + Sync>);

impl FieldError {
    /// Wraps an error, or a message.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Errors of a solve that could not begin, and of fixed steps that could not be completed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SolveError {
    /// An end of the interval is not finite, or its length does not fit the precision.
    #[error(
        "interval from {t0} to {t1} must have finite ends and a finite length in this precision"
    )]
    Interval {
        /// Starting time.
        t0: f64,
        /// Final time.
        t1: f64,
    },
    /// A tolerance that rounding makes unreachable.
    #[error("{name} must be finite and at least {smallest:e} in this precision, got {value:e}")]
    Tolerance {
        /// Field of the settings.
        name: &'static str,
        /// Value given.
        value: f64,
        /// Smallest value that works.
        smallest: f64,
    },
    /// Any other setting outside its range.
    #[error("{name} must be {requirement}, got {value}")]
    Parameter {
        /// Field of the settings.
        name: &'static str,
        /// Values allowed.
        requirement: &'static str,
        /// Value given.
        value: f64,
    },
    /// A mesh that is empty, not finite, or not strictly monotone.
    #[error("mesh must be finite and strictly monotone, broken at entry {index} of {len}")]
    Mesh {
        /// First entry at fault.
        index: usize,
        /// Length of the mesh.
        len: usize,
    },
    /// Coefficients that fail [`Tableau::check`](crate::Tableau::check).
    #[error("tableau {name} is not a consistent explicit method")]
    Tableau {
        /// Name of the method.
        name: &'static str,
    },
    /// Fixed steps stopped; an adaptive solve reports this in [`Solution::failure`] instead.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Index of the first component that is infinite or not a number.
///
/// The first pass has no early exit, so that it compiles to vector instructions.
pub(crate) fn first_non_finite<E: Real>(values: &[E]) -> Option<usize> {
    let finite = values.iter().fold(true, |all, value| all & value.is_finite());
    if finite { None } else { values.iter().position(|value| !value.is_finite()) }
}
