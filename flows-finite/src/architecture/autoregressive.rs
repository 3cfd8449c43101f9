//! Masked autoregressive layers, with what may stand between and behind them.

use std::sync::Arc;

use flows_core::{Architecture, Bijector, Chain, Inverse, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::conditioner::Conditioner;
use super::mixing::Mixing;
use super::{Direction, layers};
use crate::transformer::{AffineConfig, TransformerConfig};
use crate::{ActNorm, Autoregressive, BatchNorm, Order, Sampling};

/// Masked autoregressive layers; with another transformer another flow of the literature.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 5 | masked layers | >= 1 |
/// | `transformer` | inverted affine | see [`TransformerConfig`] | |
/// | `conditioner` | perceptron of 2 x 128 ReLU | see [`Conditioner`] | widths >= D - 1 |
/// | `order` | alternating | see [`LayerOrder`] | |
/// | `parts` | none | parts of a layer; none: as many as features | 1 to D |
/// | `sampling` | incremental | see [`Sampling`] | |
/// | `formula` | density | the direction in which the transformer is its own formula, in one pass; the other one is its inverse | density, sampling |
/// | `mixing` | none | the linear map on the data side of each layer, see [`Mixing`] | |
/// | `batch_norm` | false | batch norm on the data side of each layer, as in MAF's experiments | |
/// | `act_norm` | true | act-norm on the data side of the flow | |
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoregressiveFlow {
    /// Number of layers.
    pub layers: usize,
    /// The scalar map.
    pub transformer: Arc<dyn TransformerConfig>,
    /// Network that conditions each layer.
    pub conditioner: Conditioner,
    /// In which order each layer takes the features.
    pub order: LayerOrder,
    /// Parts of each layer; none for as many as there are features.
    pub parts: Option<usize>,
    /// How the direction that waits is computed.
    pub sampling: Sampling,
    /// The direction in which the transformer is its own formula, in one pass.
    pub formula: Direction,
    /// The linear map on the data side of each layer.
    pub mixing: Mixing,
    /// Whether batch norm stands on the data side of each layer.
    pub batch_norm: bool,
    /// Whether act-norm stands on the data side of the flow.
    pub act_norm: bool,
}

/// The order of the features of each layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerOrder {
    /// First feature first, and last feature first in every other layer, as in MAF.
    #[default]
    Alternating,
    /// First feature first.
    Natural,
    /// A random one for each layer.
    Random,
}

impl Default for AutoregressiveFlow {
    fn default() -> Self {
        Self {
            layers: 5,
            transformer: AffineConfig::inverted().shared(),
            conditioner: Conditioner::default(),
            order: LayerOrder::default(),
            parts: None,
            sampling: Sampling::default(),
            formula: Direction::default(),
            mixing: Mixing::None,
            batch_norm: false,
            act_norm: true,
        }
    }
}

#[typetag::serde(name = "autoregressive")]
impl Architecture for AutoregressiveFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let network = self.conditioner.weights(dim, dim * self.transformer.arity()?);
        Ok(self.layers as f64 * (network + self.mixing.weights(dim)))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { conditioner: self.conditioner.scaled(factor), ..self.clone() })
    }
}

impl AutoregressiveFlow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let (transformer, conditioner) = (self.transformer.build()?, self.conditioner.masked());
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for layer in 0..layers(self.layers)? {
            let order = self.order(layer, dim, rng)?;
            let map = Autoregressive::new(&order, context_dim, transformer.clone(), &conditioner)?;
            let layer = Box::new(Layer::new(map.with_sampling(self.sampling)?, rng)?);
            parts.push(match self.formula {
                Direction::Density => layer,
                Direction::Sampling => Box::new(Inverse::new(layer)),
            });
            parts.extend(self.mixing.build(dim, rng)?);
            if self.batch_norm {
                parts.push(Box::new(BatchNorm::new(dim)?));
            }
        }
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }

    fn order(&self, layer: usize, dim: usize, rng: &mut Stream) -> Result<Order> {
        let order = match self.order {
            LayerOrder::Alternating if layer % 2 == 1 => Order::reversed(dim),
            LayerOrder::Alternating | LayerOrder::Natural => Order::natural(dim),
            LayerOrder::Random => Order::random(dim, rng),
        };
        self.parts.map_or(Ok(order.clone()), |parts| order.in_parts(parts))
    }
}
