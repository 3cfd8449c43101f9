//! A transformer chosen at run time.

use flows_core::{Real, Result};

use super::{
    Additive, Affine, Bernstein, CircularSpline, CubicSpline, DeepSigmoidal, DenseSigmoidal,
    Gaussianization, Inner, Integrated, Inverted, LinearRational, LinearSpline, LogisticMixture,
    Outer, QuadraticSpline, RationalQuadratic, SumOfSquares, Transformer,
};

/// The calls of one precision, handed on to the variant. They are not generic, so that every
/// transformer is compiled here, once, and not in each program that uses one.
macro_rules! calls {
    (
        $real:ty, [$($variant:ident),*],
        $forward:ident, $inverse:ident, $forward_gradient:ident, $inverse_gradient:ident
    ) => {
        impl AnyTransformer {
            fn $forward(
                &self,
                x: &[$real],
                theta: &[$real],
                y: &mut [$real],
                log_slope: &mut [$real],
            ) -> Result<()> {
                match self { $(Self::$variant(t) => t.forward(x, theta, y, log_slope),)* }
            }

            fn $inverse(
                &self,
                y: &[$real],
                theta: &[$real],
                x: &mut [$real],
                log_slope: &mut [$real],
            ) -> Result<u64> {
                match self { $(Self::$variant(t) => t.inverse(y, theta, x, log_slope),)* }
            }

            fn $forward_gradient(
                &self,
                x: &[$real],
                theta: &[$real],
                outer: Outer<'_, $real>,
                inner: Inner<'_, $real>,
            ) {
                match self { $(Self::$variant(t) => t.forward_gradient(x, theta, outer, inner),)* }
            }

            fn $inverse_gradient(
                &self,
                x: &[$real],
                theta: &[$real],
                outer: Outer<'_, $real>,
                inner: Inner<'_, $real>,
            ) {
                match self { $(Self::$variant(t) => t.inverse_gradient(x, theta, outer, inner),)* }
            }
        }
    };
}

macro_rules! any_transformer {
    ($($variant:ident($kind:ty)),* $(,)?) => {
        /// Any transformer of this crate; a choice for every 128 elements costs nothing.
        #[derive(Clone, Debug)]
        pub enum AnyTransformer {
            $(
                #[doc = concat!("`", stringify!($kind), "`")]
                $variant($kind),
            )*
        }

        $(impl From<$kind> for AnyTransformer {
            fn from(transformer: $kind) -> Self {
                Self::$variant(transformer)
            }
        })*

        calls!(f32, [$($variant),*], forward_32, inverse_32, forward_gradient_32, inverse_gradient_32);
        calls!(f64, [$($variant),*], forward_64, inverse_64, forward_gradient_64, inverse_gradient_64);

        impl AnyTransformer {
            fn named(&self) -> &'static str {
                match self { $(Self::$variant(t) => Transformer::<f64>::name(t),)* }
            }

            fn width(&self) -> usize {
                match self { $(Self::$variant(t) => Transformer::<f64>::arity(t),)* }
            }

            fn start(&self) -> Vec<f64> {
                match self { $(Self::$variant(t) => Transformer::<f64>::identity(t),)* }
            }

            fn closed(&self) -> bool {
                match self { $(Self::$variant(t) => Transformer::<f64>::closed_inverse(t),)* }
            }
        }
    };
}

any_transformer! {
    Additive(Additive),
    Affine(Affine),
    InvertedAffine(Inverted<Affine>),
    LinearSpline(LinearSpline),
    QuadraticSpline(QuadraticSpline),
    CubicSpline(CubicSpline),
    LinearRational(LinearRational),
    RationalQuadratic(RationalQuadratic),
    CircularSpline(CircularSpline),
    Bernstein(Bernstein),
    DeepSigmoidal(DeepSigmoidal),
    DenseSigmoidal(DenseSigmoidal),
    LogisticMixture(LogisticMixture),
    Gaussianization(Gaussianization),
    Integrated(Integrated),
    SumOfSquares(SumOfSquares),
}

impl<E: Real> Outer<'_, E> {
    fn single(&self) -> Option<Outer<'_, f32>> {
        Some(Outer { value: E::single(self.value)?, log_slope: E::single(self.log_slope)? })
    }

    fn double(&self) -> Option<Outer<'_, f64>> {
        Some(Outer { value: E::double(self.value)?, log_slope: E::double(self.log_slope)? })
    }
}

impl<E: Real> Inner<'_, E> {
    fn single(&mut self) -> Option<Inner<'_, f32>> {
        Some(Inner { value: E::single_mut(self.value)?, theta: E::single_mut(self.theta)? })
    }

    fn double(&mut self) -> Option<Inner<'_, f64>> {
        Some(Inner { value: E::double_mut(self.value)?, theta: E::double_mut(self.theta)? })
    }
}

impl<E: Real> Transformer<E> for AnyTransformer {
    fn name(&self) -> &'static str {
        self.named()
    }

    fn arity(&self) -> usize {
        self.width()
    }

    fn identity(&self) -> Vec<f64> {
        self.start()
    }

    fn closed_inverse(&self) -> bool {
        self.closed()
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        if let (Some(x), Some(theta)) = (E::single(x), E::single(theta))
            && let (Some(y), Some(log_slope)) = (E::single_mut(y), E::single_mut(log_slope))
        {
            self.forward_32(x, theta, y, log_slope)?;
        }
        if let (Some(x), Some(theta)) = (E::double(x), E::double(theta))
            && let (Some(y), Some(log_slope)) = (E::double_mut(y), E::double_mut(log_slope))
        {
            self.forward_64(x, theta, y, log_slope)?;
        }
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let mut iterations = 0;
        if let (Some(y), Some(theta)) = (E::single(y), E::single(theta))
            && let (Some(x), Some(log_slope)) = (E::single_mut(x), E::single_mut(log_slope))
        {
            iterations = self.inverse_32(y, theta, x, log_slope)?;
        }
        if let (Some(y), Some(theta)) = (E::double(y), E::double(theta))
            && let (Some(x), Some(log_slope)) = (E::double_mut(x), E::double_mut(log_slope))
        {
            iterations = self.inverse_64(y, theta, x, log_slope)?;
        }
        Ok(iterations)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, mut inner: Inner<'_, E>) {
        if let (Some(x), Some(theta), Some(outer)) =
            (E::single(x), E::single(theta), outer.single())
            && let Some(inner) = inner.single()
        {
            self.forward_gradient_32(x, theta, outer, inner);
        }
        if let (Some(x), Some(theta), Some(outer)) =
            (E::double(x), E::double(theta), outer.double())
            && let Some(inner) = inner.double()
        {
            self.forward_gradient_64(x, theta, outer, inner);
        }
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, mut inner: Inner<'_, E>) {
        if let (Some(x), Some(theta), Some(outer)) =
            (E::single(x), E::single(theta), outer.single())
            && let Some(inner) = inner.single()
        {
            self.inverse_gradient_32(x, theta, outer, inner);
        }
        if let (Some(x), Some(theta), Some(outer)) =
            (E::double(x), E::double(theta), outer.double())
            && let Some(inner) = inner.double()
        {
            self.inverse_gradient_64(x, theta, outer, inner);
        }
    }
}
