//! The base distribution of a run.

use flows_core::{Base, Real};
use serde::{Deserialize, Serialize};

/// The base distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseConfig {
    /// N(0, I).
    #[default]
    StandardNormal,
    /// Learned location and scale of each feature.
    DiagonalNormal,
}

impl BaseConfig {
    /// The distribution over `dim` features.
    ///
    /// # Errors
    /// For a setting out of its range.
    pub fn build<E: Real>(self, dim: usize) -> flows_core::Result<Base<E>> {
        match self {
            Self::StandardNormal => Ok(Base::standard_normal(dim)),
            Self::DiagonalNormal => Base::diagonal_normal(dim),
        }
    }
}
