//! What a training tells its caller.

use crate::{Context, Real, Work};

/// Rows held back to validate on.
#[derive(Debug, Clone)]
pub struct Validation<E: Real> {
    /// Row by row.
    pub values: Vec<E>,
    /// Their conditioning features.
    pub context: Context<E>,
}

/// What a step reports to the caller.
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
    /// Loss of flow matching, squared velocity a feature, where the step was one of it.
    pub matching_loss: Option<f64>,
    /// Mean of log q - log p~ over the draws, nats, at inverse temperature 1, where the step was one
    /// of reverse KL.
    pub reverse_nats: Option<f64>,
    /// Squared maximum mean discrepancy between draws and minibatch, where the step was one of it.
    pub discrepancy: Option<f64>,
    /// Mean negative log-likelihood of the validation rows, where this step validated; without such
    /// rows, on a density, the mean of log q - log p~ over the same draws every time.
    pub validation_nats: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// What the step took.
    pub work: Work,
}

/// How training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The budget is spent.
    Finished,
    /// Validation stopped improving; the best weights are in place.
    EarlyStop,
    /// The caller asked to stop.
    Interrupted,
    /// The loss stopped being finite, or a computation failed. The weights are those that showed
    /// it; the last checkpoint is older and good.
    Diverged {
        /// Steps done before.
        step: u64,
        /// What happened and what to try.
        reason: String,
    },
}
