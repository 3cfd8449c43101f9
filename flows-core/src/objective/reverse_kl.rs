//! Reverse KL divergence: fitting an unnormalised density, without data.

use super::{Estimator, Loss, mean, negative_product, negative_score};
use crate::rowwise::{gradient_of_mean, negated, scaled, sum};
use crate::tape::Tape;
use crate::target::{Target, log_density};
use crate::tensor::{Batch, PerRow, Values};
use crate::{Context, Error, Flow, Real, Result, Sampled, Stream, Work};

/// The reverse KL divergence of a flow q from a target p = p~/C, up to ln C, estimated by `rows`
/// draws (review, Section 2.3.2): the mean of
///
/// ```text
/// log q(x) - beta log p~(x),   x = T(u),   u = u(psi, noise)
/// ```
///
/// with beta the `inverse_temperature`, 1 without annealing. The gradient, for the parameters of
/// bijector, base and context, is the `estimator`'s; penalties of the bijector are added to it, not
/// to the value.
///
/// * [`Estimator::Reparameterised`] differentiates both terms through draws and log-det.
/// * [`Estimator::Path`] takes g = d/dx (log q(x) - beta log p~(x)) at fixed parameters and pulls
///   it back through x = T(u); the term it leaves out has mean zero. If q = p it is zero for every
///   batch.
///
/// # Cost
/// `Reparameterised`: a traced forward pass, an evaluation of the target a row, the backward pass.
/// `Path`: the same evaluations, a traced pass in each direction (expensive if the inverse is
/// sequential or iterative) and both backward passes.
///
/// # Errors
/// [`Error::Dimension`] if flow and target differ; [`Error::Parameter`] for 0 rows or an inverse
/// temperature that is not positive; as [`Flow::sample_and_log_prob`], and for `Path` as
/// [`Flow::log_prob`]. A draw outside the support of the target makes the value infinite.
///
/// # Reference
/// Roeder, Wu, Duvenaud, *Sticking the Landing*, NeurIPS 2017, <https://arxiv.org/abs/1703.09194>;
/// Vaitl, Nicoli, Nakajima, Kessel, *Gradients should stay on path*, Machine Learning: Science and
/// Technology 2022, <https://arxiv.org/abs/2207.08219>.
pub fn reverse_kl<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    rows: usize,
    inverse_temperature: f64,
    estimator: Estimator,
    (context, tape): (&Context<E>, Tape<E>),
    rng: &mut Stream,
) -> Result<Loss<E>> {
    let at = Annealed { target, inverse_temperature };
    Ok(reverse_divergence(flow, at, (rows, estimator), context, tape, rng)?.loss)
}

/// p~ to a power.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Annealed<'a> {
    pub(crate) target: &'a dyn Target,
    pub(crate) inverse_temperature: f64,
}

/// A loss at some inverse temperature and, from the same draws, the divergence at 1.
#[derive(Debug)]
pub(crate) struct Divergence<E: Real> {
    pub(crate) loss: Loss<E>,
    pub(crate) nats: f64,
}

/// As [`reverse_kl`].
pub(crate) fn reverse_divergence<E: Real>(
    flow: &Flow<E>,
    at: Annealed<'_>,
    (rows, estimator): (usize, Estimator),
    context: &Context<E>,
    mut tape: Tape<E>,
    rng: &mut Stream,
) -> Result<Divergence<E>> {
    check(flow, at, rows)?;
    let z = flow.base().draw(rows, &mut tape, rng)?;
    let drawn = flow.push(&z, context, &mut tape)?;
    let Sampled { value: x, log_prob, penalty, mut work } = drawn;
    let (log_target, slope) = match estimator {
        Estimator::Reparameterised => (log_density(at.target, &x, &mut tape)?, None),
        Estimator::Path => {
            let held = held_slope(flow, at, &x, context)?;
            work += held.work;
            (held.log_target, Some(held.slope))
        }
    };
    let (entropy, energy) = (mean(&log_prob), mean(&log_target));
    let beta = at.inverse_temperature;
    let costs = costs(&log_prob, &log_target, penalty.as_ref(), beta);
    let score = negative_score(flow.base(), &z, &centred(&costs), &mut tape)?;
    let mut terms = match slope {
        None => vec![scaled(log_target, beta, &mut tape)?, negated(log_prob, &mut tape)?],
        Some(slope) => vec![negative_product(x, slope, &mut tape)?],
    };
    if let Some(penalty) = penalty {
        terms.push(negated(penalty, &mut tape)?);
    }
    terms.extend(score);
    let objective = sum(terms, &mut tape)?;
    let gradient = gradient_of_mean(-1.0, &objective, tape)?;
    let loss = Loss { value: entropy - beta * energy, gradient, work };
    Ok(Divergence { loss, nats: entropy - energy })
}

fn check<E: Real>(flow: &Flow<E>, at: Annealed<'_>, rows: usize) -> Result<()> {
    if at.target.dim() != flow.dim() {
        let (expected, got) = (flow.dim(), at.target.dim());
        return Err(Error::Dimension { op: "target density", expected, got });
    }
    let beta = at.inverse_temperature;
    let checks = [
        ("draws of reverse_kl", "at least 1", rows as f64, rows > 0),
        ("inverse temperature", "positive and finite", beta, beta > 0.0 && beta.is_finite()),
    ];
    for (name, requirement, value, holds) in checks {
        if !holds {
            return Err(Error::Parameter { name, requirement, value });
        }
    }
    Ok(())
}

/// The cost of each row.
fn costs<E: Real>(
    log_prob: &PerRow<E>,
    log_target: &PerRow<E>,
    penalty: Option<&PerRow<E>>,
    beta: f64,
) -> Vec<f64> {
    let wide = |values: &PerRow<E>| values.values().into_iter().map(Real::as_f64);
    let mut costs: Vec<f64> =
        wide(log_prob).zip(wide(log_target)).map(|(q, p)| q - beta * p).collect();
    if let Some(penalty) = penalty {
        costs.iter_mut().zip(wide(penalty)).for_each(|(cost, penalty)| *cost += penalty);
    }
    costs
}

/// Leave-one-out baseline: each cost less the mean of the others, which is independent of the row's
/// score. It reduces noise without bias. A single row keeps its cost.
fn centred(costs: &[f64]) -> Vec<f64> {
    let (total, others) = (costs.iter().sum::<f64>(), costs.len() as f64 - 1.0);
    let mean = |cost: f64| if others > 0.0 { (total - cost) / others } else { 0.0 };
    costs.iter().map(|&cost| cost - mean(cost)).collect()
}

/// d/dx (log q(x) - beta log p~(x)) of each row, everything but x held fixed.
struct HeldSlope<E: Real> {
    slope: Vec<E>,
    log_target: PerRow<E>,
    work: Work,
}

fn held_slope<E: Real>(
    flow: &Flow<E>,
    at: Annealed<'_>,
    x: &Batch<E>,
    context: &Context<E>,
) -> Result<HeldSlope<E>> {
    // A separate tape: nothing before x and the context is differentiated.
    let mut tape = Tape::recording();
    let result = flow.log_prob(x, context, &mut tape)?;
    let log_target = log_density(at.target, x, &mut tape)?;
    let terms = vec![
        scaled(log_target.clone(), at.inverse_temperature, &mut tape)?,
        negated(result.value, &mut tape)?,
    ];
    let objective = sum(terms, &mut tape)?;
    // The mean over rows is taken once, at the end.
    let mut gradients = gradient_of_mean(-(x.rows() as f64), &objective, tape)?;
    Ok(HeldSlope { slope: gradients.take(x)?, log_target, work: result.work })
}
