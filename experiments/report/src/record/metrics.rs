//! `metrics.csv` of a run: one row for each logged step, and the names of its end states.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Exactness, Family, Status};

/// One logged step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct MetricsRow {
    /// Optimiser step.
    pub step: u64,
    /// Wall-clock seconds of training so far.
    pub seconds: f64,
    /// Negative log-likelihood of the training batch, in the data's own units. Files without
    /// `train_standardised_nats` are older and have it standardised.
    pub train_nats: Option<f64>,
    /// Negative log-likelihood of the validation rows, in the data's own units, on the steps that
    /// measure it.
    pub validation_nats: Option<f64>,
    /// `train_nats` of standardised features.
    #[serde(default)]
    pub train_standardised_nats: Option<f64>,
    /// `validation_nats` of standardised features.
    #[serde(default)]
    pub validation_standardised_nats: Option<f64>,
    /// Learning rate.
    pub learning_rate: Option<f64>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: Option<f64>,
    /// Network passes or evaluations of the vector field.
    pub evaluations: Option<f64>,
    /// Loss of flow matching of the training batch, on the steps that minimise it.
    #[serde(default)]
    pub matching_loss: Option<f64>,
    /// Mean of log q - log p over the draws of a step of reverse KL, p unnormalised.
    #[serde(default)]
    pub reverse_nats: Option<f64>,
    /// Squared maximum mean discrepancy of the draws of a step that minimises it.
    #[serde(default)]
    pub discrepancy: Option<f64>,
    /// Value of the objective of a proposal of importance sampling, on the steps that minimise one.
    #[serde(default)]
    pub proposal_loss: Option<f64>,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finite => "finite",
            Self::Continuous => "continuous",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Diverged => "diverged",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Exactness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Estimate => "estimate",
        })
    }
}
