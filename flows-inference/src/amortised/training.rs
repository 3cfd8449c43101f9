//! Settings of the training of a variational autoencoder.

use flows_core::train::{Budget, Objective, TrainConfig};
use flows_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the training of an autoencoder.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `train` | batches of 128 | see [`TrainConfig`]; maximum likelihood, by its bound, without base updates and averaged weights | |
/// | `budget` | 5,000 steps | of training | |
/// | `draws` | 1 | posterior draws of each row in a step | >= 1 |
/// | `validation_draws` | 4 | of each validation row, with the same noise every time | >= 1 |
/// | `warm_up` | 0.1 | fraction of the budget over which the weight of the KL grows from 0 to 1 | 0 to 1 |
///
/// # Reference
/// The warm-up is that of van den Berg, Hasenclever, Tomczak, Welling, *Sylvester Normalizing Flows for
/// Variational Inference*, UAI 2018, Section 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoencoderTraining {
    /// Batches, optimiser, schedule, validation.
    pub train: TrainConfig,
    /// Budget of the training.
    pub budget: Budget,
    /// Posterior draws of each row in a step.
    pub draws: usize,
    /// Posterior draws of each validation row.
    pub validation_draws: usize,
    /// Fraction of the budget over which the weight of the KL grows from 0 to 1.
    pub warm_up: f64,
}

impl Default for AutoencoderTraining {
    fn default() -> Self {
        Self {
            train: TrainConfig { batch_rows: 128, ..TrainConfig::default() },
            budget: Budget::Steps { steps: 5_000 },
            draws: 1,
            validation_draws: 4,
            warm_up: 0.1,
        }
    }
}

impl AutoencoderTraining {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above; [`Error::Unavailable`] for a setting
    /// that autoencoders do not have.
    pub fn check(&self) -> Result<()> {
        self.train.check()?;
        self.budget.check()?;
        let (draws, validation) = (self.draws as f64, self.validation_draws as f64);
        for (name, requirement, value, holds) in [
            ("draws", "at least 1", draws, self.draws > 0),
            ("validation_draws", "at least 1", validation, self.validation_draws > 0),
            ("warm_up", "from 0 to 1", self.warm_up, (0.0..=1.0).contains(&self.warm_up)),
        ] {
            if !holds {
                return Err(Error::Parameter { name, requirement, value });
            }
        }
        let TrainConfig { objective, base_update, ema, .. } = &self.train;
        for (what, given, advice) in [
            (
                "an objective beside the evidence lower bound",
                *objective != Objective::MaximumLikelihood,
                "choose maximum likelihood, whose bound it is",
            ),
            ("base_update of an autoencoder", base_update.is_some(), "leave it out"),
            ("ema of an autoencoder", ema.is_some(), "leave it out, or set patience"),
        ] {
            if given {
                return Err(Error::Unavailable { what, advice });
            }
        }
        Ok(())
    }

    /// The weight of the KL at this fraction of the budget.
    #[must_use]
    pub fn kl_weight(&self, fraction: f64) -> f64 {
        if fraction < self.warm_up { fraction / self.warm_up } else { 1.0 }
    }
}
