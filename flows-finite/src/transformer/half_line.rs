//! The real line onto a half-line.

use flows_core::elementwise::{clamp, ln, sigmoid, softplus, tanh, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::{Inner, Outer, Transformer};

/// The softplus map y = low + softplus(x), softplus(x) = log(1 + e^x), onto (low, infinity); or its
/// mirror image y = high - softplus(-x) onto (-infinity, high). It has no parameters.
///
/// ```text
/// x = softplus(t) + log tanh(t/2),  t = y - low,     log dy/dx = -softplus(-x)
/// ```
/// The first is log(e^t - 1) without overflow for large t and cancellation for small t. Far above
/// the bound the map is a shift, so that the tails of the base are preserved.
///
/// # Accuracy
/// In both directions, values keep a distance from the bound: 4 epsilon |low|, at least the square
/// root of the smallest normal number (1e-19 in `f32`, whose logarithm -43.7 is the smallest base
/// point). Nearer values are moved to it; the log-slope and the gradients forward are those of the
/// unlimited map at x, finite for every finite x. Two or three elementary functions an element.
///
/// # Reference
/// Dugas, Bengio, Belisle, Nadeau, Garcia, *Incorporating Second-Order Functional Knowledge for
/// Better Option Pricing*, NIPS 2000 (softplus); as a bijector, Dillon et al., *TensorFlow
/// Distributions*, 2017. <https://arxiv.org/abs/1711.10604>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfLine {
    bound: f64,
    /// 1 above the bound, -1 below: the map is f(x) = side (side bound + softplus(side x)).
    side: f64,
}

impl HalfLine {
    /// The map onto (`low`, infinity).
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the bound is finite, also in `f32`.
    pub fn new(low: f64) -> Result<Self> {
        Self::on(low, 1.0)
    }

    /// The map onto (-infinity, `high`).
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the bound is finite, also in `f32`.
    pub fn below(high: f64) -> Result<Self> {
        Self::on(high, -1.0)
    }

    fn on(bound: f64, side: f64) -> Result<Self> {
        if (bound as f32).is_finite() {
            return Ok(Self { bound, side });
        }
        let (name, requirement) = ("bound of a half-line", "finite, also in f32");
        Err(Error::Parameter { name, requirement, value: bound })
    }

    /// The bound, the distance that values keep from it, and the side.
    fn bound<E: Real>(&self) -> (E, E, E) {
        let bound = E::of(self.bound);
        let resolved = E::of(4.0) * E::epsilon() * bound.abs();
        (bound, resolved.max(E::min_positive_value().sqrt()), E::of(self.side))
    }
}

impl<E: Real> Transformer<E> for HalfLine {
    fn name(&self) -> &'static str {
        "half-line"
    }

    fn arity(&self) -> usize {
        0
    }

    fn initial(&self) -> Vec<f64> {
        Vec::new()
    }

    fn forward(&self, x: &[E], _: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (bound, margin, side) = self.bound::<E>();
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let x = side * x[lane];
                    y[lane] = bound + side * clamp(softplus(x), margin, E::max_value());
                    log_slope[lane] -= softplus(-x);
                }
            },
        );
        Ok(())
    }

    /// # Errors
    /// [`Error::NonFinite`] for a value on the other side of the bound.
    fn inverse(&self, y: &[E], _: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let (bound, margin, side) = self.bound::<E>();
        let outside = |&y: &E| !(y.is_finite() && side * (y - bound) >= E::zero());
        if let Some(row) = y.iter().position(outside) {
            let quantity = "base point of a value outside of its half-line";
            let advice = "check the data, or move the bound";
            return Err(Error::NonFinite { quantity, row, advice });
        }
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let t = clamp(side * (y[lane] - bound), margin, E::max_value());
                    let inverse = softplus(t) + ln(tanh(t * E::of(0.5)));
                    x[lane] = side * inverse;
                    log_slope[lane] += softplus(-inverse);
                }
            },
        );
        Ok(0)
    }

    // dy/dx = s(side x),  d log-slope/dx = side s(-side x)
    fn forward_gradient(&self, x: &[E], _: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (_, _, side) = self.bound::<E>();
        vectorised(
            #[inline(always)]
            || {
                let outer = outer.value.iter().zip(outer.log_slope);
                for ((inner, &x), (&g, &l)) in inner.value.iter_mut().zip(x).zip(outer) {
                    *inner = g * sigmoid(side * x) + l * side * sigmoid(-side * x);
                }
            },
        );
    }
}
