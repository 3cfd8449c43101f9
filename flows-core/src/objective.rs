//! Training objectives and their gradients.

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
pub(crate) use crate::rowwise::mean;
use crate::rowwise::weighted;
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, PerRow, Values, columns, per_row};
use crate::{Base, Real, Result, Work};

/// A loss with its gradient.
#[derive(Debug)]
pub struct Loss<E: Real> {
    /// Its value.
    pub value: f64,
    /// Its gradient for all recorded tensors.
    pub gradient: Gradients<E>,
    /// Counted work.
    pub work: Work,
}

/// Gradient estimator of an expectation over a flow's draws; both are unbiased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// The reparameterisation gradient, through the draws and their log-densities: one traced pass.
    #[default]
    Reparameterised,
    /// The path gradient, through the draws only. It leaves out the score of the flow, which has
    /// mean zero but adds noise. It takes a traced pass in each direction; where the flow equals
    /// the target its variance is zero.
    Path,
}

/// Score-function term: minus the cost of each row times the score of the parameters that do not
/// move the draws `z`. It is the gradient of the mean cost by the distribution of the draws.
fn negative_score<E: Real>(
    base: &Base<E>,
    z: &Batch<E>,
    costs: &[f64],
    tape: &mut Tape<E>,
) -> Result<Option<PerRow<E>>> {
    let Some(score) = base.score(z, tape)? else { return Ok(None) };
    let factors = costs.iter().map(|&cost| E::of(-cost)).collect();
    Ok(Some(weighted(score, factors, tape)?))
}

/// -g . x of each row, for fixed g.
fn negative_product<E: Real>(x: Batch<E>, slope: Vec<E>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
    let dim = columns(&x);
    let values = x.values();
    let product = |(x, g): (&[E], &[E])| -x.iter().zip(g).map(|(&x, &g)| x * g).sum::<E>();
    let result = per_row(values.chunks(dim).zip(slope.chunks(dim)).map(product).collect())?;
    let output = result.clone();
    tape.record(move |gradients| {
        let (mut slope, incoming) = (slope, gradients.take(&output)?);
        for (row, outer) in slope.chunks_mut(dim).zip(incoming) {
            row.iter_mut().for_each(|g| *g *= -outer);
        }
        gradients.add(&x, &slope)
    });
    Ok(result)
}
