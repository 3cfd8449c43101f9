//! Training objectives: what is minimised, and its gradient.

mod flow_matching;
mod forward_kl;
mod mmd;
mod reverse_kl;

use serde::{Deserialize, Serialize};

pub use self::flow_matching::flow_matching;
pub use self::forward_kl::forward_kl;
pub use self::mmd::mmd;
pub use self::reverse_kl::reverse_kl;
pub(crate) use self::reverse_kl::{Annealed, Divergence, reverse_divergence};
use crate::rowwise::weighted;
use crate::tensor::{Batch, Gradient, PerRow, Traced, Values, columns, per_row};
use crate::{Base, Real, Result, Work};

/// A loss with its gradient.
#[derive(Debug)]
pub struct Loss<E: Real> {
    /// Its value.
    pub value: f64,
    /// Its gradient for everything recorded.
    pub gradient: Gradient<E>,
    /// What it took.
    pub work: Work,
}

/// How the gradient of an expectation over a flow's draws is estimated; both are unbiased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Through the draws and their log-densities: one traced pass of the flow.
    #[default]
    Reparameterised,
    /// Through the draws alone, the density being held as it is: without the score of the flow, whose
    /// mean is zero but whose noise is not. Takes a traced pass in each direction; where the flow
    /// equals the target its variance is zero.
    Path,
}

pub(crate) fn mean<E: Real>(values: &PerRow<E>) -> f64 {
    values.values().iter().map(|v| v.as_f64()).sum::<f64>() / values.rows() as f64
}

/// Minus the cost of each row times the score of those parameters that do not move the draws `z`: the
/// gradient of the mean cost that comes from where the draws fall.
fn negative_score<E: Real>(
    base: &Base<E>,
    z: &Batch<E>,
    costs: &[f64],
    tape: &mut Traced<E>,
) -> Result<Option<PerRow<E>>> {
    let Some(score) = base.score(z, tape)? else { return Ok(None) };
    let factors = costs.iter().map(|&cost| E::of(-cost)).collect();
    Ok(Some(weighted(score, factors, tape)?))
}

/// -g . x of each row, for a fixed g.
fn negative_product<E: Real>(
    x: Batch<E>,
    slope: Vec<E>,
    tape: &mut Traced<E>,
) -> Result<PerRow<E>> {
    let dim = columns(&x);
    let values = x.values();
    let product = |(x, g): (&[E], &[E])| -x.iter().zip(g).map(|(&x, &g)| x * g).sum::<E>();
    let result = per_row(values.chunks(dim).zip(slope.chunks(dim)).map(product).collect())?;
    let output = result.clone();
    dfdx::tensor::Tape::add_backward_op(tape, move |gradients| {
        let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&output)?);
        let sums = gradients.get_or_alloc_mut(&x)?.chunks_mut(dim);
        for ((sums, slope), outer) in sums.zip(slope.chunks(dim)).zip(incoming) {
            for (sum, &g) in sums.iter_mut().zip(slope) {
                *sum -= g * outer;
            }
        }
        Ok(())
    });
    Ok(result)
}
