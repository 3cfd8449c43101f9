//! Training objectives: what is minimised, and its gradient.

mod flow_matching;
mod forward_kl;
mod reverse_kl;

use serde::{Deserialize, Serialize};

pub use self::flow_matching::flow_matching;
pub use self::forward_kl::forward_kl;
pub use self::reverse_kl::reverse_kl;
pub(crate) use self::reverse_kl::{Annealed, Divergence, reverse_divergence};
use crate::tensor::{Gradient, PerRow, Values};
use crate::{Real, Work};

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
