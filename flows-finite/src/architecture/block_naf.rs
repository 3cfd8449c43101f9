//! Block neural autoregressive flows.

use std::sync::Arc;

use flows_core::architecture::scaled_width;
use flows_core::{Architecture, Bijector, Chain, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::layers;
use crate::{ActNorm, BlockAutoregressive, Permutation};

/// B-NAF: layers of one monotone network each, the order of the features reversed between them.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 2 | networks | >= 1 |
/// | `hidden` | 2 x 16 | units of each hidden layer for each feature | >= 1 |
/// | `act_norm` | true | act-norm on the data side of the flow | |
///
/// The original has one network of three hidden layers of 50 units a feature on toys, and five of
/// one hidden layer of 10 units a feature on tables.
///
/// # Reference
/// De Cao, Titov, Aziz, *Block Neural Autoregressive Flow*, UAI 2019.
/// <https://arxiv.org/abs/1904.04676>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlockNaf {
    /// Number of networks.
    pub layers: usize,
    /// Units of each hidden layer for each feature.
    pub hidden: Vec<usize>,
    /// Whether act-norm stands on the data side.
    pub act_norm: bool,
}

impl Default for BlockNaf {
    fn default() -> Self {
        Self { layers: 2, hidden: vec![16, 16], act_norm: true }
    }
}

#[typetag::serde(name = "block_naf")]
impl Architecture for BlockNaf {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let (mut total, mut below) = (0.0, 1.0);
        for units in self.hidden.iter().map(|&units| units as f64).chain([1.0]) {
            total += below * units;
            below = units;
        }
        Ok(self.layers as f64 * total * (dim as f64).powi(2))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        let hidden = self.hidden.iter().map(|&width| scaled_width(width, factor)).collect();
        Arc::new(Self { hidden, ..self.clone() })
    }
}

impl BlockNaf {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for layer in 0..layers(self.layers)? {
            if layer > 0 {
                parts.push(Box::new(Layer::new(Permutation::reverse(dim)?, rng)?));
            }
            let map = BlockAutoregressive::new(dim, context_dim, &self.hidden)?;
            parts.push(Box::new(Layer::new(map, rng)?));
        }
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}
