//! What mixes the features between layers, by config.

use flows_core::{Bijector, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::linear::{Generator, Orthogonal, qr, svd};
use crate::{LuLinear, Permutation};

/// The linear map between layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixing {
    /// None.
    #[default]
    None,
    /// A random permutation that stays.
    Permutation,
    /// A learned matrix by its LU decomposition, at first the identity.
    Lu,
    /// A learned matrix by its QR decomposition.
    Qr,
    /// A learned matrix by its singular value decomposition.
    Svd,
    /// A learned rotation by the matrix exponential.
    Exponential,
    /// A learned rotation by the Cayley map.
    Cayley,
    /// A learned orthogonal matrix of as many reflections as features, made even.
    Householder,
}

impl Mixing {
    /// The map, if there is one.
    pub(super) fn build<E: Real>(
        self,
        dim: usize,
        rng: &mut Stream,
    ) -> Result<Option<Box<dyn Bijector<E>>>> {
        let reflections = Generator::Householder(dim.next_multiple_of(2));
        let rotation = |generator, rng| Layer::new(Orthogonal::new(dim, generator)?, rng);
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Permutation => Box::new(Layer::new(Permutation::random(dim, rng)?, rng)?),
            Self::Lu => Box::new(Layer::new(LuLinear::new(dim)?, rng)?),
            Self::Qr => Box::new(qr(dim, reflections, rng)?),
            Self::Svd => Box::new(svd(dim, reflections, rng)?),
            Self::Exponential => Box::new(rotation(Generator::Exponential, rng)?),
            Self::Cayley => Box::new(rotation(Generator::Cayley, rng)?),
            Self::Householder => Box::new(rotation(reflections, rng)?),
        }))
    }

    /// About how many weights it has.
    pub(super) fn weights(self, dim: usize) -> f64 {
        let square = (dim as f64).powi(2);
        match self {
            Self::None | Self::Permutation => 0.0,
            Self::Exponential | Self::Cayley | Self::Householder => square,
            Self::Lu | Self::Qr | Self::Svd => 2.0 * square,
        }
    }
}
