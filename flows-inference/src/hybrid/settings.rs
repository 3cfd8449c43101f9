//! Settings of the training of a hybrid model.

use flows_core::train::{Budget, Objective, TrainConfig};
use flows_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the training of a hybrid model.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `train` | | see [`TrainConfig`]; maximum likelihood, without base updates and averaged weights | |
/// | `budget` | 5,000 steps | of training | |
/// | `weight` | 1 | of log p(x) for a feature, see [`Hybrid::loss`](super::Hybrid::loss) | >= 0 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HybridTraining {
    /// Batches, optimiser, schedule, validation.
    pub train: TrainConfig,
    /// Budget of the training.
    pub budget: Budget,
    /// Weight of log p(x) for a feature.
    pub weight: f64,
}

impl Default for HybridTraining {
    fn default() -> Self {
        let budget = Budget::Steps { steps: 5_000 };
        Self { train: TrainConfig::default(), budget, weight: 1.0 }
    }
}

impl HybridTraining {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above; [`Error::Unavailable`] for a setting that
    /// hybrid models do not have.
    pub fn check(&self) -> Result<()> {
        self.train.check()?;
        self.budget.check()?;
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            let (name, requirement) = ("weight of a hybrid model", "at least 0 and finite");
            return Err(Error::Parameter { name, requirement, value: self.weight });
        }
        let TrainConfig { objective, base_update, ema, .. } = &self.train;
        for (what, given, advice) in [
            (
                "an objective beside that of a hybrid model",
                *objective != Objective::MaximumLikelihood,
                "choose maximum likelihood, which it weighs against the classes",
            ),
            ("base_update of a hybrid model", base_update.is_some(), "leave it out"),
            ("ema of a hybrid model", ema.is_some(), "leave it out, or set patience"),
        ] {
            if given {
                return Err(Error::Unavailable { what, advice });
            }
        }
        Ok(())
    }
}
