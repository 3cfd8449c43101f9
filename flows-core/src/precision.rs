//! From code that is generic in the precision to trait objects that are not, and back.
//!
//! A trait object has no generic methods, so that a config behind one has a method for each precision.

use std::any::{Any, TypeId};

use crate::{Error, Real, Result};

/// The value for the precision E, made by that of two functions that names it; each gets `state`.
///
/// # Errors
/// Those of the function; [`Error::Unavailable`] for a precision beside `f32` and `f64`.
pub fn in_precision<E: Real, S, A: 'static, B: 'static, T: 'static>(
    state: S,
    single: impl FnOnce(S) -> Result<A>,
    double: impl FnOnce(S) -> Result<B>,
) -> Result<T> {
    // E is named, and then the value's type found again.
    let value: Box<dyn Any> = if TypeId::of::<E>() == TypeId::of::<f32>() {
        Box::new(single(state)?)
    } else {
        Box::new(double(state)?)
    };
    let (what, advice) = ("a precision beside f32 and f64", "use one of them");
    value.downcast().map(|value| *value).map_err(|_| Error::Unavailable { what, advice })
}

/// The methods `build_f32` and `build_f64` of a config from one body that is generic in the precision.
///
/// Without arguments they are those of an [`Architecture`](crate::Architecture), from a method
/// `compose::<E>(&self, dim, context_dim, rng) -> Result<Chain<E>>`. For another trait there stand the
/// receiver, the type that is built, less its precision, and the body:
///
/// ```text
/// flows_core::build_in_both_precisions!(|self| -> SharedTransformer { Ok(Arc::new(Cube)) });
/// ```
///
/// A generic function is compiled in every crate that calls it, and these may need every layer of an
/// architecture: here it is compiled once for each precision, beside the config.
#[macro_export]
macro_rules! build_in_both_precisions {
    () => {
        $crate::build_in_both_precisions!(
            @ [$crate::Chain]
            |self, dim: usize, context_dim: usize, rng: &mut $crate::Stream|
            self.compose(dim, context_dim, rng)
        );
    };
    (|$self:ident| -> $built:ident $body:block) => {
        $crate::build_in_both_precisions!(@ [$built] |$self| $body);
    };
    (@ [$($built:tt)+] |$self:ident $(, $name:ident: $type:ty)*| $body:expr) => {
        fn build_f32(&$self $(, $name: $type)*) -> $crate::Result<$($built)+<f32>> {
            $body
        }

        fn build_f64(&$self $(, $name: $type)*) -> $crate::Result<$($built)+<f64>> {
            $body
        }
    };
}
