//! One optimiser step of a model that is more than a flow.

use flows_core::train::{Adam, TrainConfig, gradient_norm};
use flows_core::{Error, Gradients, Parameters, Real, Result, Values};

/// What a step did.
pub(crate) struct AdamStep {
    pub(crate) learning_rate: f64,
    pub(crate) gradient_norm: f64,
}

/// Changes the weights of `model` by a loss, whose gradient is clipped, `fraction` of the budget being used.
///
/// # Errors
/// [`Error::NonFinite`] if the loss or its gradient is not finite; the weights are then unchanged.
pub(crate) fn adam_step<E: Real>(
    model: &mut impl Parameters<E>,
    adam: &mut Adam<E>,
    (loss, gradient): (f64, &mut Gradients<E>),
    train: &TrainConfig,
    fraction: f64,
) -> Result<AdamStep> {
    let norm = gradient_norm(model, gradient)?;
    if !loss.is_finite() || !norm.is_finite() {
        let quantity = if loss.is_finite() { "gradient" } else { "loss" };
        let advice = "lower learning_rate or clip_norm, or check the data for outliers";
        return Err(Error::NonFinite { quantity, row: 0, advice });
    }
    let rate = train.schedule.factor(fraction);
    let scale = if norm > train.clip_norm { train.clip_norm / norm } else { 1.0 };
    adam.update(model, gradient, rate, scale)?;
    Ok(AdamStep { learning_rate: rate * train.optimiser.learning_rate, gradient_norm: norm })
}

/// Values of all tensors, in the order of the model.
pub(crate) fn values<E: Real>(model: &impl Parameters<E>) -> Vec<Vec<E>> {
    let mut all = Vec::new();
    model.visit(&mut |_, _, tensor| all.push(tensor.values()));
    all
}

/// Whether other weights could avoid the error.
pub(crate) fn is_numerical(error: &Error) -> bool {
    matches!(error, Error::NonFinite { .. } | Error::NotConverged { .. } | Error::Stopped { .. })
}
