//! Gaussianization flows: elementwise maps and rotations in turn.

use std::sync::Arc;

use flows_core::architecture::scaled_width;
use flows_core::{Architecture, Bijector, Chain, Inverse, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::{Conditioner, layers};
use crate::linear::{Generator, Orthogonal};
use crate::transformer::{GaussianizationConfig, MixtureConfig, TransformerConfig};
use crate::{ActNorm, Elementwise};

/// Layers of a rotation and an elementwise map each; without a context, no network conditions
/// anything.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 8 | rotations and elementwise maps | >= 1 |
/// | `transformer` | Gaussianization with 20 components | the elementwise map | |
/// | `reflections` | D, made even | Householder reflections of a rotation | >= 0 |
/// | `act_norm` | true | act-norm on the data side of the flow | |
/// | `conditioner` | 2 x 128 ReLU | network from a context to the parameters of the elementwise maps | |
///
/// # Reference
/// Meng, Song, Song, Ermon, *Gaussianization Flows*, AISTATS 2020.
/// <https://arxiv.org/abs/2003.01941>; the idea: Chen, Gopinath, *Gaussianization*, NeurIPS 2000.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianizationFlow {
    /// Number of layers.
    pub layers: usize,
    /// The elementwise map.
    pub transformer: Arc<dyn TransformerConfig>,
    /// Reflections of each rotation.
    pub reflections: Option<usize>,
    /// Whether act-norm stands on the data side.
    pub act_norm: bool,
    /// Network of a conditional flow; without a context there is none.
    pub conditioner: Conditioner,
}

impl Default for GaussianizationFlow {
    fn default() -> Self {
        let transformer = GaussianizationConfig(MixtureConfig { components: 20 }).shared();
        Self {
            layers: 8,
            transformer,
            reflections: None,
            act_norm: true,
            conditioner: Conditioner::default(),
        }
    }
}

#[typetag::serde(name = "gaussianization")]
impl Architecture for GaussianizationFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let reflections = self.reflections.unwrap_or(dim) as f64;
        let arity = self.transformer.arity()? as f64;
        Ok(self.layers as f64 * dim as f64 * (arity + reflections))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(match self.transformer.scaled(factor) {
            Some(transformer) => Self { transformer, ..self.clone() },
            None => Self { layers: scaled_width(self.layers, factor), ..self.clone() },
        })
    }
}

impl GaussianizationFlow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let transformer = self.transformer.build()?;
        let reflections = self.reflections.unwrap_or(dim.next_multiple_of(2));
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for _ in 0..layers(self.layers)? {
            // Data to base: rotate, then Gaussianize each feature.
            let map: Box<dyn Bijector<E>> = match context_dim {
                0 => Box::new(Layer::new(Elementwise::new(dim, Arc::clone(&transformer)), rng)?),
                _ => self.conditioner.of_context(dim, context_dim, transformer.clone(), rng)?,
            };
            parts.push(Box::new(Inverse::new(map)));
            let rotation = Orthogonal::new(dim, Generator::Householder(reflections))?;
            parts.push(Box::new(Layer::new(rotation, rng)?));
        }
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}
