//! The importance-weighted bound of log Z.

use flows_core::{Error, Flow, Loss, Real, Result, Stream, Target};

use super::doubly_reparameterised::path_gradient;
use super::log_mean_exp;

/// Minus the importance-weighted lower bound of log Z for K `draws`, in nats, the mean of `bounds`
/// estimates: with w = p~/q
///
/// ```text
/// - E[log (1/K) sum of w_k] >= - log Z
/// ```
///
/// K = 1 is reverse KL up to log Z; as K grows the bound closes as the variance of the weights over 2 K.
/// The gradient is doubly reparameterised, unbiased, and its ratio of signal to noise does not fall with
/// K: for each bound
///
/// ```text
/// - sum of v_k^2 (d log w(x_k) / dx) . dx_k / dtheta,   v = w / sum of w
/// ```
///
/// It is zero for every batch if q = p. Penalties of the bijector are added to it, not to the value. The
/// weights of a mixture base get none.
///
/// # Cost
/// As [`alpha_divergence`](super::alpha_divergence()) of `bounds` x `draws` rows.
///
/// # Errors
/// As [`alpha_divergence`](super::alpha_divergence()), [`Error::Parameter`] also for 0 draws. A bound whose
/// draws all lie outside of the support makes the value infinite.
///
/// # Reference
/// Burda, Grosse, Salakhutdinov, *Importance weighted autoencoders*, ICLR 2016,
/// <https://arxiv.org/abs/1509.00519>; Tucker et al., *Doubly reparameterized gradient estimators for Monte
/// Carlo objectives*, ICLR 2019, eq. 8, <https://arxiv.org/abs/1810.04152>.
pub fn importance_bound<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    (bounds, draws): (usize, usize),
    rng: &mut Stream,
) -> Result<Loss<E>> {
    if draws == 0 {
        let (name, requirement) = ("draws of a bound", "at least 1");
        return Err(Error::Parameter { name, requirement, value: 0.0 });
    }
    let factors = |log_weights: &[f64]| {
        let mut factors = Vec::with_capacity(log_weights.len());
        for group in log_weights.chunks(draws) {
            let log_sum = log_mean_exp(group) + (draws as f64).ln();
            let share = |w: &f64| if *w > f64::NEG_INFINITY { (w - log_sum).exp() } else { 0.0 };
            factors.extend(group.iter().map(|w| share(w).powi(2) / bounds as f64));
        }
        factors
    };
    let (log_weights, gradient, work) = path_gradient(flow, target, bounds * draws, rng, factors)?;
    Ok(Loss { value: importance_bound_of_weights(&log_weights, draws), gradient, work })
}

/// The value of [`importance_bound`] by the logarithms of weights, `draws` to a bound, in nats.
#[must_use]
pub fn importance_bound_of_weights(log_weights: &[f64], draws: usize) -> f64 {
    let groups = log_weights.chunks_exact(draws.max(1));
    let count = groups.len() as f64;
    -groups.map(log_mean_exp).sum::<f64>() / count
}
