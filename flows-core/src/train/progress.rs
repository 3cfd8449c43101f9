//! Progress and result of training.

use crate::{Context, Real, Work};

/// Validation rows.
#[derive(Debug, Clone)]
pub struct Validation<E: Real> {
    /// Row by row.
    pub values: Vec<E>,
    /// Their conditioning features.
    pub context: Context<E>,
}

/// Progress of training after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Fraction of the budget used.
    pub fraction: f64,
    /// Mean negative log-likelihood of the minibatch, nats, where the step computed it.
    pub train_nats: Option<f64>,
    /// Loss of flow matching, squared velocity a feature, in its steps.
    pub matching_loss: Option<f64>,
    /// Mean of log q - log p~ over the draws, nats, at inverse temperature 1, in steps of reverse
    /// KL.
    pub reverse_nats: Option<f64>,
    /// Squared maximum mean discrepancy between draws and minibatch, in its steps.
    pub discrepancy: Option<f64>,
    /// Value of a [`StepLoss`](super::StepLoss), in its steps.
    pub step_loss: Option<f64>,
    /// Mean negative log-likelihood of the validation rows, if this step validated; on a density
    /// without rows, the mean of log q - log p~ over the same draws every time; on a loss without rows,
    /// what it is validated by.
    pub validation_nats: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Counted work of the step.
    pub work: Work,
}

/// How training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum StopReason {
    /// The budget is spent.
    Finished,
    /// Validation stopped improving; the best weights are in place.
    EarlyStop,
    /// The caller asked to stop.
    Interrupted,
    /// The loss was not finite, or a computation failed. The weights are those of that step; the
    /// last checkpoint is older.
    Diverged {
        /// Steps completed.
        step: u64,
        /// What happened and what to try.
        reason: String,
    },
}
