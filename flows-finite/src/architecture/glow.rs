//! Glow for vectors.

use std::sync::Arc;

use flows_core::{Architecture, Chain, LastLayer, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::conditioner::Conditioner;
use super::layers;
use crate::transformer::AffineConfig;
use crate::{ActNorm, Affine, LuLinear, Mask, Scale, Transformer};

/// Steps of act-norm, an invertible linear layer and an affine coupling, from data to base.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 8 | steps | >= 1 |
/// | `conditioner` | perceptron of 2 x 128 ReLU | see [`Conditioner`] | widths >= 1 |
/// | `scale` | bounded 1 | map of the raw log-scale (the original: sigmoid) | see [`Scale`] |
///
/// # Reference
/// Kingma, Dhariwal, *Glow: Generative Flow with Invertible 1x1 Convolutions*, NeurIPS 2018, figure
/// 2a (32 steps a level there). <https://arxiv.org/abs/1807.03039>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Glow {
    /// Number of steps.
    pub layers: usize,
    /// Network that conditions each coupling.
    pub conditioner: Conditioner,
    /// Map of the raw log-scale.
    pub scale: Scale,
}

impl Default for Glow {
    fn default() -> Self {
        Self {
            layers: 8,
            conditioner: Conditioner::default(),
            scale: AffineConfig::default().in_deep_stack().scale,
        }
    }
}

#[typetag::serde(name = "glow")]
impl Architecture for Glow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let linear = 2.0 * (dim as f64).powi(2);
        Ok(self.layers as f64 * (self.conditioner.weights(dim, 2 * dim) + linear))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { conditioner: self.conditioner.scaled(factor), ..self.clone() })
    }
}

impl Glow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let affine: Arc<dyn Transformer<E>> = Arc::new(Affine::new(self.scale)?);
        let mut parts = Vec::new();
        for _ in 0..layers(self.layers)? {
            let mask = Mask::halves(dim, false)?;
            let start = (&mask, LastLayer::Zero);
            parts.push(self.conditioner.coupling(start, context_dim, affine.clone(), rng)?);
            // Halves that never change need mixing from the start.
            parts.push(Box::new(Layer::new(LuLinear::shuffled(dim, rng)?, rng)?));
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}
