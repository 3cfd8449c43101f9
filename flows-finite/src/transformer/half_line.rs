//! The real line onto a half-line.

use flows_core::elementwise::{clamp, ln, sigmoid, softplus, tanh, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::{Inner, Outer, Transformer};

/// y = low + softplus(x), softplus(x) = log(1 + e^x), onto (low, infinity); no parameters to learn.
///
/// ```text
/// x = softplus(t) + log tanh(t/2),  t = y - low,     log dy/dx = -softplus(-x)
/// ```
/// The first is log(e^t - 1) without its overflow for large t and its cancellation for small ones.
/// Far above the bound the map is a shift, so that the tails of the base stay what they are.
///
/// # Accuracy
/// Values keep a distance from the bound in both directions, 4 epsilon |low|, at least the square
/// root of the smallest normal number (1e-19 in `f32`, whose logarithm -43.7 is the smallest base
/// point). What lies nearer comes back as this end; the log-slope and the gradients forward are
/// those of the unlimited map at x, finite for every finite x. Two or three elementary functions an
/// element.
///
/// # Reference
/// Dugas, Bengio, Belisle, Nadeau, Garcia, *Incorporating Second-Order Functional Knowledge for
/// Better Option Pricing*, NIPS 2000 (softplus); as a bijector, Dillon et al., *TensorFlow
/// Distributions*, 2017. <https://arxiv.org/abs/1711.10604>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfLine {
    low: f64,
}

impl HalfLine {
    /// Onto (`low`, infinity).
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the bound is finite, also in `f32`.
    pub fn new(low: f64) -> Result<Self> {
        if (low as f32).is_finite() {
            return Ok(Self { low });
        }
        let (name, requirement) = ("bound of a half-line", "finite, also in f32");
        Err(Error::Parameter { name, requirement, value: low })
    }

    /// The bound and the distance that values keep from it.
    fn bound<E: Real>(&self) -> (E, E) {
        let low = E::of(self.low);
        let resolved = E::of(4.0) * E::epsilon() * low.abs();
        (low, resolved.max(E::min_positive_value().sqrt()))
    }
}

impl<E: Real> Transformer<E> for HalfLine {
    fn name(&self) -> &'static str {
        "half-line"
    }

    fn arity(&self) -> usize {
        0
    }

    fn identity(&self) -> Vec<f64> {
        Vec::new()
    }

    fn forward(&self, x: &[E], _: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (low, margin) = self.bound::<E>();
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    y[lane] = low + clamp(softplus(x[lane]), margin, E::max_value());
                    log_slope[lane] -= softplus(-x[lane]);
                }
            },
        );
        Ok(())
    }

    /// # Errors
    /// [`Error::NonFinite`] for a value below the bound.
    fn inverse(&self, y: &[E], _: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let (low, margin) = self.bound::<E>();
        if let Some(row) = y.iter().position(|&y| !(low <= y && y <= E::max_value())) {
            let quantity = "base point of a value outside of its half-line";
            let advice = "check the data, or lower the bound";
            return Err(Error::NonFinite { quantity, row, advice });
        }
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let t = clamp(y[lane] - low, margin, E::max_value());
                    x[lane] = softplus(t) + ln(tanh(t * E::of(0.5)));
                    log_slope[lane] += softplus(-x[lane]);
                }
            },
        );
        Ok(0)
    }

    // dy/dx = s(x),  d log-slope/dx = s(-x)
    fn forward_gradient(&self, x: &[E], _: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        vectorised(
            #[inline(always)]
            || {
                let outer = outer.value.iter().zip(outer.log_slope);
                for ((inner, &x), (&g, &l)) in inner.value.iter_mut().zip(x).zip(outer) {
                    *inner = g * sigmoid(x) + l * sigmoid(-x);
                }
            },
        );
    }
}
