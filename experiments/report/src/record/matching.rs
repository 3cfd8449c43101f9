//! What every run of a comparison was given the same amount of.

use flows_core::train::Budget;
use serde::{Deserialize, Serialize};

/// A budget, and a size where flows were scaled to one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Matching {
    /// When the training of every run ends.
    pub budget: Budget,
    /// Weights of every flow, within a tenth.
    pub parameters: Option<u64>,
}

impl Matching {
    /// The arguments of `compare` that ask for it.
    pub fn arguments(&self) -> String {
        let budget = match self.budget {
            Budget::Seconds { seconds } => format!("--seconds {seconds}"),
            Budget::Steps { steps } => format!("--steps {steps}"),
            Budget::Work { work } => format!("--match work --work {work}"),
        };
        match self.parameters {
            Some(count) => format!("--match parameters --parameters {count} {budget}"),
            None => budget,
        }
    }
}
