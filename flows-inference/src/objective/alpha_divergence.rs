//! Alpha divergences, among them chi squared.

use flows_core::{Error, Flow, Loss, Real, Result, Stream, Target};

use super::doubly_reparameterised::path_gradient;
use super::log_mean_exp;

/// The Rényi divergence of order alpha of the target p = p~/Z from a flow q, over alpha, estimated by
/// `rows` draws of the flow: with w = p~/q
///
/// ```text
/// D = (log E_q[w^alpha] - alpha log E_q[w]) / (alpha (alpha - 1))
/// ```
///
/// in nats, zero exactly if q = p. It is a monotone function of the alpha divergence
/// (E_q[(p/q)^alpha] - 1) / (alpha (alpha - 1)), with the same minimum, and stays finite where powers of
/// an unnormalised density overflow. Chi squared, which is the variance of the weights and sets the
/// effective sample size, is alpha = 2: D = log(1 + chi^2) / 2; the limit at 1 is the forward, at 0 the
/// reverse KL divergence. The more above 1, the less of p a flow can leave out, and the noisier the
/// estimate.
///
/// The gradient is doubly reparameterised, with the weights of the minibatch in place of expectations:
///
/// ```text
/// - sum of v (d log w(x) / dx) . dx / dtheta,   v = w^alpha / sum of w^alpha
/// ```
///
/// Its bias, that of a ratio, falls as the inverse number of rows; it is zero for every batch if q = p.
/// Penalties of the bijector are added to it, not to the value. The weights of a mixture base get none.
///
/// # Cost
/// A traced pass in each direction with both backward passes, an evaluation of the target a row.
///
/// # Errors
/// [`Error::Dimension`] if flow and target differ; [`Error::Parameter`] for 0 rows or an alpha that is
/// not finite; [`Error::NonFinite`] for a weight that is not a number; [`Error::Caller`] if all weights
/// are zero; as [`Flow::sample_and_log_prob`] and [`Flow::log_prob`].
///
/// # Reference
/// Tucker et al., *Doubly reparameterized gradient estimators for Monte Carlo objectives*, ICLR 2019;
/// Geffner, Domke, *On the difficulty of unbiased alpha divergence minimization*, ICML 2021, Section 3.
/// <https://arxiv.org/abs/2010.09541>
pub fn alpha_divergence<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    rows: usize,
    alpha: f64,
    rng: &mut Stream,
) -> Result<Loss<E>> {
    if !alpha.is_finite() {
        let (name, requirement) = ("alpha of the divergence", "finite");
        return Err(Error::Parameter { name, requirement, value: alpha });
    }
    let (log_weights, gradient, work) =
        path_gradient(flow, target, rows, rng, |w| normalised_power(w, alpha))?;
    Ok(Loss { value: alpha_divergence_of_weights(&log_weights, alpha), gradient, work })
}

/// The estimate of [`alpha_divergence`] by the logarithms of weights, of which one is above minus
/// infinity; infinite for alpha of at most 0 if one is not.
#[must_use]
pub fn alpha_divergence_of_weights(log_weights: &[f64], alpha: f64) -> f64 {
    let log_z = log_mean_exp(log_weights);
    if alpha == 0.0 {
        return log_z - log_weights.iter().sum::<f64>() / log_weights.len() as f64;
    }
    if alpha == 1.0 {
        let shares = normalised_power(log_weights, 1.0);
        let terms = shares.iter().zip(log_weights).filter(|(share, _)| **share > 0.0);
        return terms.map(|(share, log_w)| share * log_w).sum::<f64>() - log_z;
    }
    (log_power_mean(log_weights, alpha) - alpha * log_z) / (alpha * (alpha - 1.0))
}

fn log_power_mean(log_weights: &[f64], alpha: f64) -> f64 {
    log_mean_exp(&log_weights.iter().map(|w| alpha * w).collect::<Vec<_>>())
}

/// w^alpha over its sum. Weights of zero have no part in it: the gradient of their logarithm is none.
fn normalised_power(log_weights: &[f64], alpha: f64) -> Vec<f64> {
    let inside: Vec<f64> = log_weights.iter().copied().filter(|w| *w > f64::NEG_INFINITY).collect();
    let log_sum = log_power_mean(&inside, alpha) + (inside.len() as f64).ln();
    let share = |w: &f64| if *w > f64::NEG_INFINITY { (alpha * w - log_sum).exp() } else { 0.0 };
    log_weights.iter().map(share).collect()
}
