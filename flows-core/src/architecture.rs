//! Architectures: configs from which flows of any size and precision are built.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::precision::in_precision;
use crate::{Chain, Real, Result, Stream};

/// A flow architecture: a config that builds a chain of bijectors for data of a given size.
///
/// In a file it is a table whose `kind` is the name given to `typetag::serde` at the
/// implementation. A crate adds its own architectures by being linked into a program.
///
/// ```
/// use std::sync::Arc;
/// use flows_core::{ActNorm, Architecture, Chain, Layer, Real, Result, Stream};
/// use serde::{Deserialize, Serialize};
///
/// /// A stack of act-norm layers.
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Scales {
///     layers: usize,
/// }
///
/// impl Scales {
///     fn compose<E: Real>(&self, dim: usize, _: usize, rng: &mut Stream) -> Result<Chain<E>> {
///         let layer = |_| Ok(Box::new(Layer::new(ActNorm::new(dim), rng)?) as _);
///         Chain::new(dim, (0..self.layers).map(layer).collect::<Result<_>>()?)
///     }
/// }
///
/// #[typetag::serde(name = "scales")]
/// impl Architecture for Scales {
///     flows_core::build_in_both_precisions!();
///
///     fn weights(&self, dim: usize) -> Result<f64> {
///         Ok((2 * self.layers * dim) as f64)
///     }
///
///     fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
///         Arc::new(Self { layers: flows_core::architecture::scaled_width(self.layers, factor) })
///     }
/// }
/// ```
#[typetag::serde(tag = "kind")]
pub trait Architecture: Any + Debug + Send + Sync {
    /// The chain for `dim` features and `context_dim` conditioning features, in single precision.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of its range.
    fn build_f32(&self, dim: usize, context_dim: usize, rng: &mut Stream) -> Result<Chain<f32>>;

    /// The same in double precision.
    ///
    /// # Errors
    /// As [`build_f32`](Self::build_f32).
    fn build_f64(&self, dim: usize, context_dim: usize, rng: &mut Stream) -> Result<Chain<f64>>;

    /// The chain in precision `E`; for a `dyn Architecture` use the function [`build`].
    ///
    /// # Errors
    /// As [`build_f32`](Self::build_f32).
    fn build<E: Real>(&self, dim: usize, context_dim: usize, rng: &mut Stream) -> Result<Chain<E>>
    where
        Self: Sized,
    {
        build(self, dim, context_dim, rng)
    }

    /// Approximate number of weights for `dim` features; a float, because a config may ask for more
    /// than an integer holds.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of its range.
    fn weights(&self, dim: usize) -> Result<f64>;

    /// The same architecture with its widths times `factor`, or, if it has none, its number of
    /// components or layers.
    fn scaled(&self, factor: f64) -> Arc<dyn Architecture>;

    /// Whether it solves an ODE (review, Section 4).
    fn is_continuous(&self) -> bool {
        false
    }
}

impl dyn Architecture {
    /// The config if it is of this type.
    #[must_use]
    pub fn downcast_ref<T: Architecture>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Configs are equal if their debug output is, which prints numbers to the last bit.
impl PartialEq for dyn Architecture {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// Builds the chain of an architecture in precision `E`.
///
/// # Errors
/// As [`Architecture::build_f32`].
pub fn build<E: Real>(
    architecture: &dyn Architecture,
    dim: usize,
    context_dim: usize,
    rng: &mut Stream,
) -> Result<Chain<E>> {
    in_precision::<E, _, _, _, _>(
        rng,
        |rng| architecture.build_f32(dim, context_dim, rng),
        |rng| architecture.build_f64(dim, context_dim, rng),
    )
}

/// `width` times `factor`, rounded, at least 1.
#[must_use]
pub fn scaled_width(width: usize, factor: f64) -> usize {
    ((width as f64 * factor).round() as usize).max(1)
}
