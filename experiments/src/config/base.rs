//! The base distribution of a run.

use flows_core::activation::Activation;
use flows_core::{Base, Bijector, Chain, Layer, MlpKernel, Real, Stream};
use flows_finite::transformer::{AffineConfig, TransformerConfig};
use flows_finite::{Coupling, Mask};
use serde::{Deserialize, Serialize};

/// Hidden layers of the network from a context to location and scale of the base.
const HIDDEN: [usize; 2] = [64, 64];

/// The base distribution; all but the first have learned parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BaseConfig {
    /// N(0, I).
    #[default]
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    StandardNormal,
    /// Location and scale of each feature.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    DiagonalNormal,
    /// A normal with any covariance.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    FullNormal,
    /// A mixture of normals.
    Mixture(MixtureBase),
    /// Independent t distributions.
    StudentT(StudentTBase),
    /// Independent Laplace distributions.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Laplace,
    /// Independent logistic distributions.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Logistic,
}

/// A mixture of normals with diagonal covariances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureBase {
    /// How many, at least 1.
    pub components: usize,
}

/// t distributions with learned location and scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentTBase {
    /// Degrees of freedom, positive.
    pub nu: f64,
}

impl BaseConfig {
    /// The distribution over `dim` features.
    ///
    /// # Errors
    /// For a setting out of its range.
    pub fn build<E: Real>(self, dim: usize, rng: &mut Stream) -> flows_core::Result<Base<E>> {
        match self {
            Self::StandardNormal => Ok(Base::standard_normal(dim)),
            Self::DiagonalNormal => Base::diagonal_normal(dim),
            Self::FullNormal => Base::full_normal(dim),
            Self::Mixture(MixtureBase { components }) => Base::mixture(dim, components, rng),
            Self::StudentT(StudentTBase { nu }) => Base::student_t(dim, nu),
            Self::Laplace => Base::laplace(dim),
            Self::Logistic => Base::logistic(dim),
        }
    }

    /// The flow with this base conditional as well: its location and scale, feature by feature, are
    /// those of the base times and plus what a network of the context says. The standard normal, which
    /// has no parameters, stays as it is.
    ///
    /// # Errors
    /// If memory runs out.
    pub(super) fn given<E: Real>(
        self,
        flow: Box<dyn Bijector<E>>,
        context_dim: usize,
        rng: &mut Stream,
    ) -> flows_core::Result<Box<dyn Bijector<E>>> {
        if self == Self::StandardNormal {
            return Ok(flow);
        }
        let dim = flow.dim();
        let mask = Mask::new(vec![true; dim])?;
        let affine = AffineConfig::default().shared().build()?;
        let network = |inputs, outputs| MlpKernel::new(inputs, &HIDDEN, outputs, Activation::Relu);
        let moved = Layer::new(Coupling::new(&mask, context_dim, affine, network)?, rng)?;
        Ok(Box::new(Chain::new(dim, vec![Box::new(moved), flow])?))
    }

    /// About how many numbers it holds, before it is built.
    pub(super) fn weights(self, dim: usize) -> f64 {
        let dim = dim as f64;
        match self {
            Self::StandardNormal => 0.0,
            Self::FullNormal => dim * dim,
            Self::Mixture(MixtureBase { components }) => components as f64 * (2.0 * dim + 1.0),
            _ => 2.0 * dim,
        }
    }
}
