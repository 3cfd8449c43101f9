//! Maximum likelihood.

use super::{Loss, mean};
use crate::rowwise::{gradient_of_mean, negated, sum};
use crate::tape::Tape;
use crate::tensor::Batch;
use crate::{Context, Flow, LogProb, Real, Result};

/// Maximum likelihood: the mean negative log-likelihood in nats, which is the forward KL divergence
/// up to the entropy of the data (review, Section 2.3.1). The gradient includes the penalty of the
/// bijector, the value does not. `tape` records and may hold the encoder that computed the context.
///
/// # Errors
/// As [`Flow::log_prob`].
pub fn forward_kl<E: Real>(
    flow: &Flow<E>,
    x: &Batch<E>,
    context: &Context<E>,
    mut tape: Tape<E>,
) -> Result<Loss<E>> {
    let LogProb { value, penalty, work } = flow.log_prob(x, context, &mut tape)?;
    let nats = mean(&value);
    let objective = match penalty {
        None => value,
        Some(penalty) => {
            let minus = negated(penalty, &mut tape)?;
            sum(vec![value, minus], &mut tape)?
        }
    };
    Ok(Loss { value: -nats, gradient: gradient_of_mean(-1.0, &objective, tape)?, work })
}
