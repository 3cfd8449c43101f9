//! Residual flows: contractive residual layers.

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::architecture::scaled_width;
use flows_core::{Architecture, Bijector, Chain, Inverse, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::conditioner::Conditioner;
use super::layers;
use crate::ActNorm;
use crate::residual::{Constraint, Contractive, Determinant, LipschitzNetwork};

/// Contractive residual layers with act-norm between them; a density is one pass beside its
/// log-det, a draw a fixed point.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 10 | residual layers (the original on toys: 100) | >= 1 |
/// | `hidden` | 3 x 64 | widths of each layer's network (the original: 4 x 128) | >= 1 |
/// | `activation` | LipSwish | see [`Activation`] | slopes of at most 1 |
/// | `constraint` | 0.9 by 5 power iterations a step | bound of each network's Lipschitz constant, see [`Constraint`] | |
/// | `training` | roulette of 2 exact terms | log-det for gradients, see [`Determinant`] | |
/// | `reporting` | exact | log-det of reported numbers | |
///
/// # Reference
/// Chen, Behrmann, Duvenaud, Jacobsen, *Residual Flows for Invertible Generative Modeling*, NeurIPS
/// 2019. <https://arxiv.org/abs/1906.02735>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResidualFlow {
    /// Number of residual layers.
    pub layers: usize,
    /// Widths of the hidden layers of each network.
    pub hidden: Vec<usize>,
    /// Activation.
    pub activation: Activation,
    /// Bound of the Lipschitz constant of each network.
    pub constraint: Constraint,
    /// Log-det for gradients.
    pub training: Determinant,
    /// Log-det of reported numbers.
    pub reporting: Determinant,
}

impl Default for ResidualFlow {
    fn default() -> Self {
        Self {
            layers: 10,
            hidden: vec![64; 3],
            activation: Activation::LipSwish,
            constraint: Constraint::default(),
            training: Determinant::Roulette { exact_terms: 2, probability: 0.5, probes: 1 },
            reporting: Determinant::Exact,
        }
    }
}

#[typetag::serde(name = "residual")]
impl Architecture for ResidualFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let network = Conditioner::perceptron(self.hidden.clone());
        Ok(self.layers as f64 * network.weights(dim, dim))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        let hidden = self.hidden.iter().map(|&width| scaled_width(width, factor)).collect();
        Arc::new(Self { hidden, ..self.clone() })
    }
}

impl ResidualFlow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let sizes = (dim, context_dim);
        let network = LipschitzNetwork::new(sizes, &self.hidden, self.activation, self.constraint)?;
        let map = Contractive::new(network, self.training, self.reporting)?;
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for _ in 0..layers(self.layers)? {
            parts.push(Box::new(Inverse::new(Box::new(Layer::new(map.clone(), rng)?))));
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}
