//! Neural spline flow with coupling layers.

use flows_core::{Chain, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::conditioner::Conditioner;
use super::couplings::Couplings;
use crate::{RationalQuadratic, Tails};

/// RQ-NSF (C).
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 6 | spline couplings, halves alternating | >= 1 |
/// | `conditioner` | perceptron of 2 x 128 ReLU | see [`Conditioner`] | widths >= 1 |
/// | `bins` | 16 | spline bins K | 2 to 500 |
/// | `bound` | 4 | the splines act on [-bound, bound] | > 0 |
/// | `linear` | true | an LU linear layer before each coupling | |
/// | `act_norm` | true | act-norm on the data side | |
///
/// # Reference
/// Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019.
/// <https://arxiv.org/abs/1906.04032>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NsfCoupling {
    /// Number of couplings.
    pub layers: usize,
    /// Network that conditions each layer.
    pub conditioner: Conditioner,
    /// Number of bins.
    pub bins: usize,
    /// Half-width of the interval on which the splines act.
    pub bound: f64,
    /// Whether an LU linear layer stands before each coupling.
    pub linear: bool,
    /// Whether act-norm stands on the data side.
    pub act_norm: bool,
}

impl Default for NsfCoupling {
    fn default() -> Self {
        Self {
            layers: 6,
            conditioner: Conditioner::default(),
            bins: 16,
            bound: 4.0,
            linear: true,
            act_norm: true,
        }
    }
}

impl NsfCoupling {
    /// Builds the chain for `dim` features and `context_dim` conditioning features.
    ///
    /// # Errors
    /// [`flows_core::Error::Parameter`] for a value outside the table above.
    pub fn build<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let spline = RationalQuadratic::new(self.bins, self.bound, Tails::Identity)?;
        let couplings = Couplings {
            layers: self.layers,
            conditioner: &self.conditioner,
            linear: self.linear,
            act_norm: self.act_norm,
        };
        couplings.build(&spline, (dim, context_dim), rng)
    }
}
