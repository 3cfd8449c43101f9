//! Forward KL divergence by importance sampling from the flow itself.

use flows_core::rowwise::{gradient_of_mean, negated, sum, weighted};
use flows_core::{Context, Flow, LogProb, Loss, Real, Result, Stream, Tape, Target, Values};

use super::alpha_divergence::alpha_divergence_of_weights;
use super::{check, checked};

/// The forward KL divergence of a flow q from the target p = p~/Z, estimated by `rows` draws x_i of the
/// flow with self-normalised weights: with w = p~/q and v = w / sum of w
///
/// ```text
/// D = sum of v_i log w_i - log mean w,   gradient: that of - sum of v_i log q(x_i), v and x held constant
/// ```
///
/// in nats. It covers the modes that the draws reach; to find others it takes draws from elsewhere, as
/// [`Bootstrap`](crate::Bootstrap) has. Value and gradient have the bias of a ratio, which falls as the inverse
/// number of rows. Every parameter gets a gradient, the weights of a mixture base too. Penalties of the
/// bijector are added to it, not to the value.
///
/// # Cost
/// A pass in the sampling direction, a traced one in the density direction, an evaluation of the target a
/// row.
///
/// # Errors
/// [`Error::Dimension`](flows_core::Error::Dimension) if flow and target differ;
/// [`Error::Parameter`](flows_core::Error::Parameter) for 0 rows;
/// [`Error::NonFinite`](flows_core::Error::NonFinite) for a weight that is not a number;
/// [`Error::Caller`](flows_core::Error::Caller) if all weights are zero; as [`Flow::sample`] and
/// [`Flow::log_prob`].
///
/// # Reference
/// Müller, McWilliams, Rousselle, Gross, Novák, *Neural importance sampling*, ACM Transactions on Graphics
/// 38(5), 2019, Section 5. <https://arxiv.org/abs/1808.03856>
pub fn self_normalised_forward_kl<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    rows: usize,
    rng: &mut Stream,
) -> Result<Loss<E>> {
    check(flow, target, rows)?;
    let (x, mut work) = flow.sample(rows, &Context::none(), rng)?;
    let mut tape = Tape::recording();
    let LogProb { value, penalty, work: traced } =
        flow.log_prob(&x, &Context::none(), &mut tape)?;
    work += traced;
    let points: Vec<f64> = x.values().iter().map(|v| v.as_f64()).collect();
    let log_target = target.log_densities(&points)?;
    let log_weights: Vec<f64> =
        log_target.iter().zip(value.values()).map(|(p, q)| p - q.as_f64()).collect();
    let log_weights = crate::LogWeights::new(checked(log_weights)?)?;
    // The mean over rows below divides by their number.
    let factors =
        log_weights.normalised().into_iter().map(|share| E::of(share * rows as f64)).collect();
    let mut terms = vec![weighted(value, factors, &mut tape)?];
    if let Some(penalty) = penalty {
        terms.push(negated(penalty, &mut tape)?);
    }
    let objective = sum(terms, &mut tape)?;
    let value = alpha_divergence_of_weights(log_weights.values(), 1.0);
    Ok(Loss { value, gradient: gradient_of_mean(-1.0, &objective, tape)?, work })
}
