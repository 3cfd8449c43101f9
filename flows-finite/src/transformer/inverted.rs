//! Inverse transformers.

use flows_core::operation::LANES;
use flows_core::{Real, Result, Space};

use super::{Inner, Outer, Transformer};

/// The inverse of a transformer: for the affine one z = (x - t) exp(-s), the density direction of
/// MAF.
///
/// For transformers with an inverse formula, which is evaluated once more for each gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inverted<T>(pub T);

impl<T> Inverted<T> {
    /// The argument whose image under the inner map is `image`; NaN if there is none, which the
    /// forward pass has reported.
    fn preimage<E: Real>(&self, image: &[E], theta: &[E]) -> [E; LANES]
    where
        T: Transformer<E>,
    {
        let (mut argument, mut unused) = ([E::nan(); LANES], [E::zero(); LANES]);
        drop(self.0.inverse(image, theta, &mut argument, &mut unused));
        argument
    }
}

impl<E: Real, T: Transformer<E>> Transformer<E> for Inverted<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn arity(&self) -> usize {
        self.0.arity()
    }

    fn image_space(&self, from: Space) -> std::result::Result<Space, Space> {
        // As an inverse bijector: a circle is mapped onto itself, all else is taken for the line.
        let image = self.0.image_space(from)?;
        Ok(if let Space::Circle(_) = image { image } else { Space::Line })
    }

    fn initial(&self) -> Vec<f64> {
        self.0.initial()
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        self.0.inverse(x, theta, y, log_slope).map(drop)
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        self.0.forward(y, theta, x, log_slope).map(|()| 0)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        self.0.inverse_gradient(&self.preimage(x, theta), theta, outer, inner);
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        self.0.forward_gradient(&self.preimage(x, theta), theta, outer, inner);
    }
}
