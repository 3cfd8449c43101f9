//! The real line onto a bounded interval.

use flows_core::elementwise::{clamp, ln, sigmoid, softplus, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result, Space};

use super::{Inner, Outer, Transformer};

/// The logistic map y = low + (high - low) sigmoid(x) onto (low, high). It has no parameters.
///
/// ```text
/// x = log (y - low) - log (high - y),   log dy/dx = log(high - low) - |x| - 2 log(1 + e^-|x|)
/// ```
/// # Accuracy
/// The logistic function rounds to 1 for x above 17 in `f32` and 37 in `f64`, and data may lie on a
/// bound. In both directions, values therefore keep a distance from either bound: 4 epsilon
/// |bound|, at least the width times the square root of the smallest normal number (1e-19 in
/// `f32`), at most a quarter of the width. So (0, 1) in `f32` ends at 1 - 4.8e-7 and its base
/// points at 14.6 and -43.7. Values beyond are moved to these ends; the log-slope and the gradients
/// forward are those of the unlimited map at x, finite for every finite x.
///
/// Each half is computed from its own bound, so that values near 0 keep their relative accuracy if
/// either bound is 0. Two or three elementary functions an element.
///
/// # Reference
/// Carpenter et al., *Stan: A Probabilistic Programming Language*, J. Stat. Softw. 76(1), 2017;
/// reference manual, "Lower and upper bounded scalar".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    low: f64,
    high: f64,
}

/// The interval in the precision of the data; both margins are fractions of the width.
struct Bounds<E> {
    low: E,
    high: E,
    width: E,
    margin_low: E,
    margin_high: E,
}

impl Interval {
    /// The map onto (`low`, `high`).
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the bounds are finite and low < high, also when rounded to
    /// `f32`.
    pub fn new(low: f64, high: f64) -> Result<Self> {
        let width = high as f32 - low as f32;
        if width.is_normal() && width > 0.0 {
            return Ok(Self { low, high });
        }
        let (name, requirement) = ("width of an interval", "positive and finite, also in f32");
        Err(Error::Parameter { name, requirement, value: high - low })
    }

    fn bounds<E: Real>(&self) -> Bounds<E> {
        let (low, high) = (E::of(self.low), E::of(self.high));
        let width = high - low;
        let margin = |bound: E| {
            let resolved = E::of(4.0) * E::epsilon() * (bound / width).abs();
            clamp(resolved, E::min_positive_value().sqrt(), E::of(0.25))
        };
        Bounds { low, high, width, margin_low: margin(low), margin_high: margin(high) }
    }
}

impl<E: Real> Transformer<E> for Interval {
    fn name(&self) -> &'static str {
        "interval"
    }

    fn arity(&self) -> usize {
        0
    }

    fn image_space(&self, _: Space) -> std::result::Result<Space, Space> {
        Ok(Space::Interval([self.low, self.high]))
    }

    fn initial(&self) -> Vec<f64> {
        Vec::new()
    }

    fn forward(&self, x: &[E], _: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let Bounds { low, high, width, margin_low, margin_high } = self.bounds::<E>();
        let log_width = width.ln();
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let outward = -x[lane].abs();
                    let share = sigmoid(outward);
                    let below = low + width * clamp(share, margin_low, E::one());
                    let above = high - width * clamp(share, margin_high, E::one());
                    y[lane] = if x[lane] < E::zero() { below } else { above };
                    let tail = softplus(outward);
                    log_slope[lane] += log_width + outward - (tail + tail);
                }
            },
        );
        Ok(())
    }

    /// # Errors
    /// [`Error::NonFinite`] for a value outside of [low, high].
    fn inverse(&self, y: &[E], _: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let Bounds { low, high, width, margin_low, margin_high } = self.bounds::<E>();
        if let Some(row) = y.iter().position(|&y| !(low <= y && y <= high)) {
            let quantity = "base point of a value outside of its interval";
            let advice = "check the data, or widen the interval";
            return Err(Error::NonFinite { quantity, row, advice });
        }
        let log_width = width.ln();
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let above_low = ln(clamp((y[lane] - low) / width, margin_low, E::one()));
                    let below_high = ln(clamp((high - y[lane]) / width, margin_high, E::one()));
                    x[lane] = above_low - below_high;
                    log_slope[lane] -= log_width + above_low + below_high;
                }
            },
        );
        Ok(0)
    }

    // dy/dx = width s(x) s(-x),  d log-slope/dx = s(-x) - s(x)
    fn forward_gradient(&self, x: &[E], _: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let width = self.bounds::<E>().width;
        vectorised(
            #[inline(always)]
            || {
                let outer = outer.value.iter().zip(outer.log_slope);
                for ((inner, &x), (&g, &l)) in inner.value.iter_mut().zip(x).zip(outer) {
                    let (up, down) = (sigmoid(x), sigmoid(-x));
                    *inner = g * width * up * down + l * (down - up);
                }
            },
        );
    }
}
