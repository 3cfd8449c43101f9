//! Autoregressive layers with a recurrent conditioner.

use std::sync::Arc;

use flows_core::architecture::scaled_width;
use flows_core::{Architecture, Bijector, Chain, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::layers;
use crate::transformer::{AffineConfig, TransformerConfig};
use crate::{ActNorm, LuLinear, Recurrent};

/// Layers in which one gated recurrent unit reads the features in turn, an LU linear layer on the
/// data side of each.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 4 | recurrent layers | >= 1 |
/// | `transformer` | affine | see [`TransformerConfig`] | |
/// | `hidden` | 32 | units of the recurrent state | >= 1 |
/// | `act_norm` | true | act-norm on the data side of the flow | |
///
/// # Reference
/// Oliva et al., *Transformation Autoregressive Networks*, ICML 2018.
/// <https://arxiv.org/abs/1801.09819>
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecurrentFlow {
    /// Number of layers.
    pub layers: usize,
    /// The scalar map.
    pub transformer: Arc<dyn TransformerConfig>,
    /// Units of the recurrent state.
    pub hidden: usize,
    /// Whether act-norm stands on the data side.
    pub act_norm: bool,
}

impl Default for RecurrentFlow {
    fn default() -> Self {
        Self {
            layers: 4,
            transformer: AffineConfig::default().shared(),
            hidden: 32,
            act_norm: true,
        }
    }
}

#[typetag::serde(name = "recurrent")]
impl Architecture for RecurrentFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let (hidden, dim) = (self.hidden as f64, dim as f64);
        let arity = self.transformer.arity()? as f64;
        Ok(self.layers as f64 * (hidden * (3.0 * hidden + arity) + 2.0 * dim * dim))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { hidden: scaled_width(self.hidden, factor), ..self.clone() })
    }
}

impl RecurrentFlow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let transformer = self.transformer.build()?;
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for _ in 0..layers(self.layers)? {
            let map = Recurrent::new(dim, context_dim, self.hidden, transformer.clone())?;
            parts.push(Box::new(Layer::new(map, rng)?));
            parts.push(Box::new(Layer::new(LuLinear::new(dim)?, rng)?));
        }
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}
