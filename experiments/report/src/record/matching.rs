//! What every run of a comparison was given the same amount of.

use flows_core::train::Budget;
use serde::{Deserialize, Deserializer, Serialize};

/// A budget, and a size where flows were scaled to one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Matching {
    /// When the training of every run ends.
    #[serde(deserialize_with = "budget")]
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

/// A budget as it is written now, or as `{"seconds": 60}` in comparisons of before.
fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<Budget, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Now(Budget),
        Before(Before),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Before {
        Steps(u64),
        Seconds(f64),
        Work(u64),
    }
    Ok(match Stored::deserialize(from)? {
        Stored::Now(budget) => budget,
        Stored::Before(Before::Steps(steps)) => Budget::Steps { steps },
        Stored::Before(Before::Seconds(seconds)) => Budget::Seconds { seconds },
        Stored::Before(Before::Work(work)) => Budget::Work { work },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_of_earlier_comparisons_are_read() {
        let read = |text: &str| serde_json::from_str::<Matching>(text).unwrap().budget;
        let before = "{\"budget\": {\"seconds\": 60.0}, \"parameters\": null}";
        let now = "{\"budget\": {\"kind\": \"seconds\", \"seconds\": 60.0}, \"parameters\": null}";
        assert_eq!([read(before), read(now)], [Budget::Seconds { seconds: 60.0 }; 2]);
    }
}
