//! Configs of transformers.

use std::fmt::Debug;
use std::sync::Arc;

use flows_core::precision::in_precision;
use flows_core::{Real, Result};

use super::Transformer;

/// A transformer as layers hold it.
pub type SharedTransformer<E> = Arc<dyn Transformer<E>>;

/// The config of a transformer: the scalar map of coupling, masked, recurrent and elementwise layers.
///
/// In a file it is a table whose `kind` is the name given to `typetag::serde` at the implementation; a
/// crate that is linked into a program adds its own without being named anywhere else.
///
/// | kind | settings with their defaults | inverse |
/// |---|---|---|
/// | `additive` | | formula |
/// | `affine` | `scale = { kind = "bounded", bound = 3 }`, `inverted = false` | formula |
/// | `linear_spline`, `quadratic_spline`, `cubic_spline`, `linear_rational`, `rational_quadratic`, `circular_spline` | `bins = 16`, `bound = 4`, `tails = "identity"` | formula |
/// | `bernstein` | `degree = 16`, `bound = 3` | search inside the bound |
/// | `deep_sigmoidal` | `units = 16` | search |
/// | `dense_sigmoidal` | `layers = 2`, `units = 8` | search |
/// | `logistic_mixture`, `gaussianization` | `components = 16` | search |
/// | `integrated` | `hidden = 16`, `steps = 20`, `tolerance = 5e-4` | search |
/// | `sum_of_squares` | `polynomials = 2`, `degree = 2`, `bound = 3` | search inside the bound |
///
/// ```
/// use std::sync::Arc;
/// use flows_finite::transformer::{Additive, SharedTransformer, TransformerConfig};
/// use serde::{Deserialize, Serialize};
///
/// /// Another name for y = x + t.
/// #[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Shift {}
///
/// #[typetag::serde(name = "shift")]
/// impl TransformerConfig for Shift {
///     flows_core::build_in_both_precisions!(|self| -> SharedTransformer { Ok(Arc::new(Additive)) });
/// }
///
/// assert_eq!(Shift {}.shared().arity()?, 1);
/// # Ok::<(), flows_core::Error>(())
/// ```
#[typetag::serde(tag = "kind")]
pub trait TransformerConfig: Debug + Send + Sync {
    /// The transformer in single precision.
    ///
    /// # Errors
    /// [`flows_core::Error::Parameter`] for a value out of range.
    fn build_f32(&self) -> Result<SharedTransformer<f32>>;

    /// The same in double precision.
    ///
    /// # Errors
    /// As [`build_f32`](Self::build_f32).
    fn build_f64(&self) -> Result<SharedTransformer<f64>>;

    /// The same with its components times `factor`: how a flow whose maps no network conditions is made
    /// larger. None where there are no components.
    fn scaled(&self, factor: f64) -> Option<Arc<dyn TransformerConfig>> {
        let _ = factor;
        None
    }

    /// The config as architectures hold it.
    fn shared(self) -> Arc<dyn TransformerConfig>
    where
        Self: Sized + 'static,
    {
        Arc::new(self)
    }
}

impl dyn TransformerConfig {
    /// The transformer in a precision.
    ///
    /// # Errors
    /// As [`TransformerConfig::build_f32`].
    pub fn build<E: Real>(&self) -> Result<SharedTransformer<E>> {
        in_precision::<E, _, _, _, _>((), |()| self.build_f32(), |()| self.build_f64())
    }

    /// Parameters of an element.
    ///
    /// # Errors
    /// As [`TransformerConfig::build_f32`].
    pub fn arity(&self) -> Result<usize> {
        Ok(self.build_f64()?.arity())
    }
}

/// As for an architecture: what configs print tells them apart.
impl PartialEq for dyn TransformerConfig {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}
