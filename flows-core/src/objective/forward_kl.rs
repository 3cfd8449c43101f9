//! Maximum likelihood.

use super::{Loss, mean};
use crate::rowwise::{backward, negated, negative_mean, sum};
use crate::tensor::{Batch, PutTape, Traced};
use crate::{Context, Flow, Real, Result};

/// Forward KL up to the entropy of the data: the mean negative log-likelihood in nats (review,
/// Section 2.3.1). The gradient is that of the likelihood with the penalty that the bijector adds
/// in training; the value is the likelihood's alone.
///
/// # Errors
/// As [`Flow::log_prob`].
pub fn forward_kl<E: Real>(
    flow: &Flow<E>,
    x: Batch<E>,
    context: Context<E, Traced<E>>,
) -> Result<Loss<E>> {
    let result = flow.log_prob(x.put_tape(Traced::default()), context)?;
    let (log_prob, mut tape) = (result.value, result.tape);
    let nats = mean(&log_prob);
    let objective = match result.penalty {
        None => log_prob,
        Some(penalty) => {
            let minus = negated(penalty, &mut tape)?;
            sum(vec![log_prob, minus], &mut tape)?
        }
    };
    let (_, scalar) = negative_mean(objective, tape)?;
    Ok(Loss { value: -nats, gradient: backward(scalar)?, work: result.work })
}
