//! Settings of a training run.

use serde::{Deserialize, Serialize};

use super::adam::AdamConfig;
use super::objective::Objective;
use super::schedule::Schedule;
use crate::{Error, Result};

/// Settings of a training run.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `objective` | maximum likelihood | see [`Objective`] | |
/// | `batch_rows` | 512 | rows of a minibatch | >= 1 |
/// | `base_update` | none | fits the base instead of learning it, see [`BaseUpdate`] | not for reverse KL |
/// | `optimiser` | Adam at 1e-3 | see [`AdamConfig`] | |
/// | `schedule` | cosine | learning rate over the budget | constant, cosine |
/// | `clip_norm` | 5 | largest norm of the whole gradient | > 0 |
/// | `ema` | none | decay of the averaged weights that are evaluated | in (0, 1) |
/// | `validate_every` | 200 | steps between validations | >= 1 |
/// | `patience` | none | validations without improvement before training ends | >= 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// What is minimised.
    pub objective: Objective,
    /// Rows of a minibatch.
    pub batch_rows: usize,
    /// Fits the base instead of learning it.
    pub base_update: Option<BaseUpdate>,
    /// The optimiser.
    pub optimiser: AdamConfig,
    /// Learning rate over the budget.
    pub schedule: Schedule,
    /// Largest norm of the whole gradient.
    pub clip_norm: f64,
    /// Decay of the averaged weights.
    pub ema: Option<f64>,
    /// Steps between validations.
    pub validate_every: u64,
    /// Validations without improvement before training ends; the best weights are kept, those of the
    /// start among them.
    pub patience: Option<u64>,
}

/// Alternating base updates (review, Section 2.3.1): every so many steps, from the first, the base
/// is set to its maximum-likelihood fit of fresh training rows that are pulled back to base space;
/// its parameters take no gradient steps. Averaged weights average the fits too.
///
/// The rows are those of minibatches that no step uses, numbered downwards from the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseUpdate {
    /// Steps from one fit to the next, at least 1.
    pub every: u64,
    /// Rows of a fit, at least 2; more than the base has parameters.
    pub rows: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            batch_rows: 512,
            base_update: None,
            optimiser: AdamConfig::default(),
            schedule: Schedule::Cosine,
            clip_norm: 5.0,
            ema: None,
            validate_every: 200,
            patience: None,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above.
    pub fn check(&self) -> Result<()> {
        self.objective.check()?;
        let base_update = self.base_update.unwrap_or(BaseUpdate { every: 1, rows: 2 });
        if self.base_update.is_some() && matches!(self.objective, Objective::ReverseKl(_)) {
            let advice = "it fits the base to rows; leave it out, or train on rows";
            return Err(Error::Unavailable { what: "base_update of reverse KL", advice });
        }
        let [beta1, beta2] = self.optimiser.betas;
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let rows = self.batch_rows as f64;
        let checks = [
            ("batch_rows", "at least 1", rows, self.batch_rows > 0),
            ("every of base_update", "at least 1", base_update.every as f64, base_update.every > 0),
            ("rows of base_update", "at least 2", base_update.rows as f64, base_update.rows > 1),
            (
                "learning_rate",
                "positive and finite",
                self.optimiser.learning_rate,
                positive(self.optimiser.learning_rate),
            ),
            ("betas", "in [0, 1)", beta1, (0.0..1.0).contains(&beta1)),
            ("betas", "in [0, 1)", beta2, (0.0..1.0).contains(&beta2)),
            (
                "epsilon",
                "positive and finite",
                self.optimiser.epsilon,
                positive(self.optimiser.epsilon),
            ),
            (
                "weight_decay",
                "at least 0 and finite",
                self.optimiser.weight_decay,
                self.optimiser.weight_decay >= 0.0 && self.optimiser.weight_decay.is_finite(),
            ),
            ("clip_norm", "positive", self.clip_norm, self.clip_norm > 0.0),
            (
                "ema",
                "between 0 and 1",
                self.ema.unwrap_or(0.5),
                self.ema.is_none_or(|decay| decay > 0.0 && decay < 1.0),
            ),
            ("validate_every", "at least 1", self.validate_every as f64, self.validate_every > 0),
            ("patience", "at least 1", self.patience.unwrap_or(1) as f64, self.patience != Some(0)),
        ];
        for (name, requirement, value, holds) in checks {
            if !holds {
                return Err(Error::Parameter { name, requirement, value });
            }
        }
        Ok(())
    }
}
