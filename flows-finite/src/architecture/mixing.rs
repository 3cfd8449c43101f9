//! What mixes the features between layers, by config.

use flows_core::{BoxBijector, Real, Result, Stream};
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
    ) -> Result<Option<BoxBijector<E>>> {
        let reflections = Generator::Householder(dim.next_multiple_of(2));
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Permutation => BoxBijector::new(Permutation::random(dim, rng)?),
            Self::Lu => BoxBijector::new(LuLinear::new(dim)?),
            Self::Qr => BoxBijector::new(qr(dim, reflections, rng)?),
            Self::Svd => BoxBijector::new(svd(dim, reflections, rng)?),
            Self::Exponential => {
                BoxBijector::new(Orthogonal::new(dim, Generator::Exponential, rng)?)
            }
            Self::Cayley => BoxBijector::new(Orthogonal::new(dim, Generator::Cayley, rng)?),
            Self::Householder => BoxBijector::new(Orthogonal::new(dim, reflections, rng)?),
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
