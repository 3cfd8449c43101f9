//! The scalar map of a layer, by config.

use flows_core::Result;
use serde::{Deserialize, Serialize};

use crate::transformer::{Affine, AnyTransformer, Inverted, RationalQuadratic, Scale, Tails};

/// Which transformer a layer has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransformerConfig {
    /// y = exp(s) x + t.
    Affine(AffineConfig),
    /// Rational-quadratic spline.
    RationalQuadratic(RationalQuadraticConfig),
}

/// The affine transformer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AffineConfig {
    /// Map of the raw log-scale.
    pub scale: Scale,
    /// Whether it is written as (x - t) exp(-s), as MAF does.
    pub inverted: bool,
}

impl Default for AffineConfig {
    fn default() -> Self {
        Self { scale: Scale::Bounded(3.0), inverted: false }
    }
}

/// A rational-quadratic spline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RationalQuadraticConfig {
    /// Number of bins.
    pub bins: usize,
    /// It acts on [-bound, bound].
    pub bound: f64,
    /// What happens outside.
    pub tails: Tails,
}

impl Default for RationalQuadraticConfig {
    fn default() -> Self {
        Self { bins: 16, bound: 4.0, tails: Tails::Identity }
    }
}

impl TransformerConfig {
    /// The affine map as MAF writes it, its scale bounded.
    #[must_use]
    pub fn inverted_affine() -> Self {
        Self::Affine(AffineConfig { inverted: true, ..AffineConfig::default() })
    }

    /// The transformer.
    ///
    /// # Errors
    /// [`flows_core::Error::Parameter`] for a value out of range.
    pub fn build(&self) -> Result<AnyTransformer> {
        Ok(match self {
            Self::Affine(AffineConfig { scale, inverted }) => {
                let affine = Affine::new(*scale);
                if *inverted { Inverted(affine).into() } else { affine.into() }
            }
            Self::RationalQuadratic(RationalQuadraticConfig { bins, bound, tails }) => {
                RationalQuadratic::new(*bins, *bound, *tails)?.into()
            }
        })
    }
}
