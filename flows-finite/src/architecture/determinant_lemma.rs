//! Flows by the matrix determinant lemma: planar, radial and Sylvester layers.

use std::sync::Arc;

use flows_core::architecture::scaled_width;
use flows_core::{Architecture, Bijector, Chain, Error, Inverse, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use super::{Direction, layers};
use crate::ActNorm;
use crate::linear::Generator;
use crate::residual::{Planar, Radial, Sylvester};

/// Which layer, all of them one closed formula in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LemmaLayer {
    /// One unit: Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015.
    /// <https://arxiv.org/abs/1505.05770>
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Planar,
    /// Around a point: the same paper, and Tabak, Turner, 2013.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Radial,
    /// Several units: van den Berg, Hasenclever, Tomczak, Welling, *Sylvester Normalizing Flows for
    /// Variational Inference*, UAI 2018. <https://arxiv.org/abs/1803.05649>
    Sylvester(SylvesterConfig),
}

/// A Sylvester layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SylvesterConfig {
    /// Units M; none for as many as features.
    pub units: Option<usize>,
    /// Where the orthonormal columns come from.
    pub basis: Columns,
}

/// The orthonormal columns of a Sylvester layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Columns {
    /// As many Householder reflections as features: H-SNF.
    #[default]
    Householder,
    /// The Cayley map of a skew-symmetric matrix: O-SNF.
    Orthogonal,
    /// Unit vectors, their order reversed in every other layer: T-SNF.
    Triangular,
}

impl SylvesterConfig {
    fn build(self, layer: usize, dim: usize) -> Result<Sylvester> {
        let units = self.units.unwrap_or(dim);
        match self.basis {
            Columns::Householder => Sylvester::new(dim, units, Generator::Householder(dim)),
            Columns::Orthogonal => Sylvester::new(dim, units, Generator::Cayley),
            Columns::Triangular => Sylvester::triangular(dim, units, layer % 2 == 1),
        }
    }
}

/// Planar, radial or Sylvester layers.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `layers` | 32 | layers | >= 1 |
/// | `layer` | planar | see [`LemmaLayer`] | |
/// | `formula` | density | the direction of the formula; the other one is a root search | density, sampling |
/// | `act_norm` | true | act-norm on the data side of the flow | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LemmaFlow {
    /// Number of layers.
    pub layers: usize,
    /// Which layer.
    pub layer: LemmaLayer,
    /// The direction of the formula.
    pub formula: Direction,
    /// Whether act-norm stands on the data side.
    pub act_norm: bool,
}

impl Default for LemmaFlow {
    fn default() -> Self {
        let formula = Direction::Density;
        Self { layers: 32, layer: LemmaLayer::Planar, formula, act_norm: true }
    }
}

#[typetag::serde(name = "determinant_lemma")]
impl Architecture for LemmaFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let dim = dim as f64;
        let layer = match self.layer {
            LemmaLayer::Planar | LemmaLayer::Radial => 2.0 * dim,
            LemmaLayer::Sylvester(config) => {
                let units = config.units.map_or(dim, |units| units as f64);
                dim * dim + 2.0 * units * units
            }
        };
        Ok(self.layers as f64 * layer)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { layers: scaled_width(self.layers, factor), ..self.clone() })
    }
}

impl LemmaFlow {
    /// 32 planar layers (the original: 2, 8 and 32).
    #[must_use]
    pub fn planar() -> Self {
        Self::default()
    }

    /// 32 radial layers.
    #[must_use]
    pub fn radial() -> Self {
        Self { layer: LemmaLayer::Radial, ..Self::default() }
    }

    /// 16 Sylvester layers with Householder bases (the original: 4 to 16 layers).
    #[must_use]
    pub fn sylvester() -> Self {
        let layer = LemmaLayer::Sylvester(SylvesterConfig::default());
        Self { layers: 16, layer, ..Self::default() }
    }

    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        if context_dim > 0 {
            let what = "a context for planar, radial or Sylvester layers";
            let advice = "they have no network to read it; choose another architecture";
            return Err(Error::Unavailable { what, advice });
        }
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for index in 0..layers(self.layers)? {
            let layer = match self.layer {
                LemmaLayer::Planar => Layer::new(Planar::new(dim), rng)?,
                LemmaLayer::Radial => Layer::new(Radial::new(dim), rng)?,
                LemmaLayer::Sylvester(config) => Layer::new(config.build(index, dim)?, rng)?,
            };
            parts.push(match self.formula {
                Direction::Sampling => Box::new(layer),
                Direction::Density => Box::new(Inverse::new(Box::new(layer))),
            });
        }
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }
}
