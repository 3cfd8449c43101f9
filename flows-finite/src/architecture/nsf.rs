//! Neural spline flows: rational-quadratic splines in coupling or masked layers.

use std::sync::Arc;

use flows_core::{Architecture, Chain, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::autoregressive::AutoregressiveFlow;
use super::conditioner::Conditioner;
use super::couplings::CouplingFlow;
use super::mixing::Mixing;
use super::transformer::TransformerConfig;
use crate::Tails;
use crate::transformer::SplineConfig;

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

#[typetag::serde(name = "nsf_coupling")]
impl Architecture for NsfCoupling {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        self.couplings().weights(dim)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { conditioner: self.conditioner.scaled(factor), ..self.clone() })
    }
}

impl NsfCoupling {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        self.couplings().build(dim, context_dim, rng)
    }

    /// The same as a general coupling flow.
    #[must_use]
    pub fn couplings(&self) -> CouplingFlow {
        let (bins, bound) = (self.bins, self.bound);
        let spline = SplineConfig { bins, bound, tails: Tails::Identity };
        CouplingFlow {
            layers: self.layers,
            transformer: TransformerConfig::RationalQuadratic(spline),
            conditioner: self.conditioner.clone(),
            mixing: if self.linear { Mixing::Lu } else { Mixing::None },
            act_norm: self.act_norm,
            ..CouplingFlow::default()
        }
    }
}

impl AutoregressiveFlow {
    /// RQ-NSF (AR): four masked layers, 16 bins on [-4, 4], an LU linear layer after each (the
    /// original for tables has 10 layers, 8 bins on [-3, 3] and residual conditioners).
    ///
    /// # Reference
    /// Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019.
    /// <https://arxiv.org/abs/1906.04032>
    #[must_use]
    pub fn nsf() -> Self {
        let transformer = TransformerConfig::RationalQuadratic(SplineConfig::default());
        Self { layers: 4, transformer, mixing: Mixing::Lu, ..Self::default() }
    }
}
