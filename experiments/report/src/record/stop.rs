//! What ended the training of a run that finished.

use flows_core::train::StopReason;
use serde::{Deserialize, Serialize};

/// Why the training of a run that finished came to its end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Its steps, seconds or work were spent.
    Budget,
    /// Validation had not improved for as long as the patience allows.
    EarlyStop,
}

impl Stop {
    /// The end of a training that came to one by itself.
    #[must_use]
    pub fn of(outcome: &StopReason) -> Option<Self> {
        match outcome {
            StopReason::Finished => Some(Self::Budget),
            StopReason::EarlyStop => Some(Self::EarlyStop),
            StopReason::Interrupted | StopReason::Diverged { .. } => None,
        }
    }
}
