//! Coupling layers, with what may stand between and behind them.

use std::sync::Arc;

use flows_core::{Architecture, Chain, Inverse, LastLayer, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::conditioner::Conditioner;
use super::mixing::Mixing;
use super::{Direction, layers};
use crate::transformer::{AffineConfig, TransformerConfig};
use crate::{ActNorm, Mask};

/// Coupling layers with any transformer, mask and conditioner.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 6 | couplings | >= 1 |
/// | `transformer` | affine | see [`TransformerConfig`] | |
/// | `conditioner` | perceptron of 2 x 128 ReLU | see [`Conditioner`] | widths >= 1 |
/// | `mask` | halves | see [`MaskConfig`] | |
/// | `formula` | sampling | the direction in which the transformer is its own formula; the other one is its inverse | density, sampling |
/// | `mixing` | lu | the linear map on the base side of each coupling, see [`Mixing`] | |
/// | `act_norm` | true | act-norm on the data side of the flow | |
/// | `identity_start` | true | couplings start at the identity; otherwise with small random networks | |
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CouplingFlow {
    /// Number of couplings.
    pub layers: usize,
    /// The scalar map.
    pub transformer: Arc<dyn TransformerConfig>,
    /// Network that conditions each layer.
    pub conditioner: Conditioner,
    /// Which features each layer transforms.
    pub mask: MaskConfig,
    /// The direction in which the transformer is its own formula.
    pub formula: Direction,
    /// The linear map on the base side of each coupling.
    pub mixing: Mixing,
    /// Whether act-norm stands on the data side of the flow.
    pub act_norm: bool,
    /// Whether the last layer of each conditioner starts at zero.
    pub identity_start: bool,
}

/// Which features a coupling transforms; the other ones in every other layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskConfig {
    /// The second half.
    #[default]
    Halves,
    /// Every other feature.
    Alternating,
    /// A random half, drawn anew for each layer.
    Random,
}

impl Default for CouplingFlow {
    fn default() -> Self {
        Self {
            layers: 6,
            transformer: AffineConfig::default().shared(),
            conditioner: Conditioner::default(),
            mask: MaskConfig::default(),
            formula: Direction::Sampling,
            mixing: Mixing::Lu,
            act_norm: true,
            identity_start: true,
        }
    }
}

#[typetag::serde(name = "coupling")]
impl Architecture for CouplingFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let arity = self.transformer.arity()?;
        let network = self.conditioner.weights(dim, dim * arity);
        Ok(self.layers as f64 * (network + self.mixing.weights(dim)))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { conditioner: self.conditioner.scaled(factor), ..self.clone() })
    }
}

impl CouplingFlow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let transformer = self.transformer.build()?;
        let mut parts = Vec::new();
        for layer in 0..layers(self.layers)? {
            parts.extend(self.mixing.build(dim, rng)?);
            let mask = self.mask.build(dim, layer, rng)?;
            let start = if self.identity_start { LastLayer::Zero } else { LastLayer::Random };
            let coupling =
                self.conditioner.coupling((&mask, start), context_dim, transformer.clone(), rng)?;
            parts.push(match self.formula {
                Direction::Sampling => coupling,
                Direction::Density => Box::new(Inverse::new(coupling)),
            });
        }
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}

impl MaskConfig {
    fn build(self, dim: usize, layer: usize, rng: &mut Stream) -> Result<Mask> {
        let flipped = layer % 2 == 1;
        match self {
            Self::Halves => Mask::halves(dim, flipped),
            Self::Alternating => Mask::alternating(dim, flipped),
            Self::Random => Mask::random(dim, rng),
        }
    }
}
