//! A transformer chosen at run time.

use flows_core::{Real, Result};

use super::{Affine, Inner, Inverted, Outer, RationalQuadratic, Transformer};

/// One variant for each transformer, each call handed on to it: a choice for every 128 elements
/// costs nothing, and the wirings are compiled once.
macro_rules! any_transformer {
    ($($variant:ident($kind:ty)),* $(,)?) => {
        /// Any transformer of this crate.
        #[derive(Clone, Debug)]
        pub enum AnyTransformer {
            $(
                #[doc = concat!("[`", stringify!($variant), "`](super::", stringify!($variant), ")")]
                $variant($kind),
            )*
        }

        $(impl From<$kind> for AnyTransformer {
            fn from(transformer: $kind) -> Self {
                Self::$variant(transformer)
            }
        })*

        impl<E: Real> Transformer<E> for AnyTransformer {
            fn name(&self) -> &'static str {
                match self { $(Self::$variant(t) => Transformer::<E>::name(t),)* }
            }

            fn arity(&self) -> usize {
                match self { $(Self::$variant(t) => Transformer::<E>::arity(t),)* }
            }

            fn identity(&self) -> Vec<f64> {
                match self { $(Self::$variant(t) => Transformer::<E>::identity(t),)* }
            }

            fn closed_inverse(&self) -> bool {
                match self { $(Self::$variant(t) => Transformer::<E>::closed_inverse(t),)* }
            }

            fn forward(
                &self,
                x: &[E],
                theta: &[E],
                y: &mut [E],
                log_slope: &mut [E],
            ) -> Result<()> {
                match self { $(Self::$variant(t) => t.forward(x, theta, y, log_slope),)* }
            }

            fn inverse(
                &self,
                y: &[E],
                theta: &[E],
                x: &mut [E],
                log_slope: &mut [E],
            ) -> Result<u64> {
                match self { $(Self::$variant(t) => t.inverse(y, theta, x, log_slope),)* }
            }

            fn forward_gradient(
                &self,
                x: &[E],
                theta: &[E],
                outer: Outer<'_, E>,
                inner: Inner<'_, E>,
            ) {
                match self { $(Self::$variant(t) => t.forward_gradient(x, theta, outer, inner),)* }
            }

            fn inverse_gradient(
                &self,
                x: &[E],
                theta: &[E],
                outer: Outer<'_, E>,
                inner: Inner<'_, E>,
            ) {
                match self { $(Self::$variant(t) => t.inverse_gradient(x, theta, outer, inner),)* }
            }
        }
    };
}

any_transformer! {
    Affine(Affine),
    InvertedAffine(Inverted<Affine>),
    RationalQuadratic(RationalQuadratic),
}
