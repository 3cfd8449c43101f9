//! Learning-rate schedules and training budgets.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Learning-rate schedule: a factor over the progress of a run, from 0 to 1 of its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// 1 throughout.
    Constant,
    /// (1 + cos(pi progress)) / 2, from 1 to 0.
    #[default]
    Cosine,
}

impl Schedule {
    /// The factor at `progress`.
    #[must_use]
    pub fn factor(self, progress: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos()),
        }
    }
}

/// Training budget. Only training counts, not validation or checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Budget {
    /// Optimiser steps; reproducible on machines of the same kind.
    Steps {
        /// Optimiser steps.
        steps: u64,
    },
    /// Seconds of training.
    Seconds {
        /// Seconds of training.
        seconds: f64,
    },
    /// After this much counted work: network passes and evaluations of vector fields, forwards, times
    /// the rows that they acted on. The same numbers on every machine of a kind.
    Work {
        /// Network passes and evaluations of vector fields times their rows.
        work: u64,
    },
}

/// The budget used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Network passes and evaluations of vector fields times their rows.
    pub work: u64,
}

impl Budget {
    /// Fraction of the budget used; 1 or more when it is spent.
    #[must_use]
    pub fn progress(self, spent: Spent) -> f64 {
        match self {
            Self::Steps { steps: budget } => spent.steps as f64 / budget as f64,
            Self::Seconds { seconds: budget } => spent.seconds / budget,
            Self::Work { work: budget } => spent.work as f64 / budget as f64,
        }
    }

    /// # Errors
    /// [`Error::Parameter`] unless the budget is positive.
    pub fn check(self) -> Result<()> {
        let (name, value) = match self {
            Self::Steps { steps } => ("steps", steps as f64),
            Self::Seconds { seconds } => ("seconds", seconds),
            Self::Work { work } => ("work", work as f64),
        };
        if value > 0.0 && value.is_finite() {
            return Ok(());
        }
        Err(Error::Parameter { name, requirement: "positive and finite", value })
    }
}
