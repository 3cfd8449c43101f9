//! Real NVP: affine couplings with alternating halves.

use std::sync::Arc;

use flows_core::{Architecture, Chain, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::conditioner::Conditioner;
use super::couplings::CouplingFlow;
use super::mixing::Mixing;
use super::transformer::TransformerConfig;
use crate::Scale;
use crate::transformer::AffineConfig;

/// Real NVP.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 10 | affine couplings, halves alternating | >= 1 |
/// | `conditioner` | perceptron of 2 x 128 ReLU | see [`Conditioner`] | widths >= 1 |
/// | `scale` | bounded 3 | map of the raw log-scale | exp, bounded |
/// | `linear` | true | an LU linear layer before each coupling | |
/// | `act_norm` | true | act-norm on the data side | |
///
/// # Reference
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017.
/// <https://arxiv.org/abs/1605.08803>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealNvp {
    /// Number of couplings.
    pub layers: usize,
    /// Network that conditions each layer.
    pub conditioner: Conditioner,
    /// Map of the raw log-scale.
    pub scale: Scale,
    /// Whether an LU linear layer stands before each coupling.
    pub linear: bool,
    /// Whether act-norm stands on the data side.
    pub act_norm: bool,
}

impl Default for RealNvp {
    fn default() -> Self {
        Self {
            layers: 10,
            conditioner: Conditioner::default(),
            scale: Scale::Bounded { bound: 3.0 },
            linear: true,
            act_norm: true,
        }
    }
}

#[typetag::serde(name = "real_nvp")]
impl Architecture for RealNvp {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        self.couplings().weights(dim)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { conditioner: self.conditioner.scaled(factor), ..self.clone() })
    }
}

impl RealNvp {
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
        let affine = AffineConfig { scale: self.scale, inverted: false };
        CouplingFlow {
            layers: self.layers,
            transformer: TransformerConfig::Affine(affine),
            conditioner: self.conditioner.clone(),
            mixing: if self.linear { Mixing::Lu } else { Mixing::None },
            act_norm: self.act_norm,
            ..CouplingFlow::default()
        }
    }
}
