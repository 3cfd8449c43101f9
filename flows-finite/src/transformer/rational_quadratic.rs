//! The monotone rational-quadratic spline of neural spline flows.
//!
//! All loops run over LANES elements abreast: the bin of each element is found by comparing and
//! selecting while the knots are summed up, never by a search, so that everything is vector code.

use flows_core::elementwise::{clamp, ln, sigmoid, softplus, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::partition::{Lanes, Partition};
use super::{Inner, Outer, Transformer};

/// Smallest width and height of a bin as a fraction of the interval, and smallest slope at a knot.
const MIN_WIDTH: f64 = 1e-3;
const MIN_HEIGHT: f64 = 1e-3;
const MIN_SLOPE: f64 = 1e-3;

/// What happens outside of the interval [-B, B].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tails {
    /// The identity; the slope at both ends is 1, so that the map is C1.
    #[default]
    Identity,
    /// Straight lines that continue the spline with its own learned slopes at both ends.
    Linear,
}

/// Rational-quadratic spline with K bins on [-B, B].
///
/// With xi = (x - x_k)/w_k in bin k, s_k = h_k/w_k and slopes d_k at the knots,
/// ```text
/// y = y_k + h_k (s_k xi^2 + d_k xi(1-xi)) / (s_k + (d_k+1 + d_k - 2 s_k) xi(1-xi))
/// ```
/// Parameters of an element: K raw widths and K raw heights (softmax, at least 1e-3 of the interval
/// each), then the raw slopes (softplus, at least 1e-3): K - 1 inner ones with
/// [`Tails::Identity`], K + 1 with [`Tails::Linear`].
///
/// # Accuracy
/// Round trip 1e-9 in f64 for slopes within [1e-3, 1e3]; the quadratic is solved in its
/// cancellation-free form with its discriminant clamped at zero. Elements are moved into the
/// interval before any arithmetic, so that those outside cannot leak NaN into gradients.
///
/// # Reference
/// Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019, eq. 4-8.
/// <https://arxiv.org/abs/1906.04032>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RationalQuadratic {
    bins: usize,
    bound: f64,
    tails: Tails,
}

/// The bin of each element: left and lower knot, width, height, slopes at both ends, its number.
struct Bin<E> {
    left: Lanes<E>,
    width: Lanes<E>,
    bottom: Lanes<E>,
    height: Lanes<E>,
    slope_left: Lanes<E>,
    slope_right: Lanes<E>,
    index: Lanes<E>,
}

/// A spline with its parameters made explicit.
struct Explicit<'a, E> {
    widths: Partition<E>,
    heights: Partition<E>,
    raw_slopes: &'a [E],
}

/// Rational function of one element: value within the bin's height, slope, and what gradients need.
#[derive(Clone, Copy)]
struct Piece<E> {
    q: E,
    s: E,
    t: E,
    numerator: E,
    denominator: E,
    slope_numerator: E,
}

impl<E: Real> Piece<E> {
    #[inline(always)]
    fn new(xi: E, s: E, left: E, right: E) -> Self {
        let rest = E::one() - xi;
        let q = xi * rest;
        let t = left + right - (s + s);
        Self {
            q,
            s,
            t,
            numerator: s * xi * xi + left * q,
            denominator: t.mul_add(q, s),
            slope_numerator: right * xi * xi + (s + s) * q + left * rest * rest,
        }
    }

    /// log of the slope, eq. 5.
    #[inline(always)]
    fn log_slope(&self) -> E {
        ln(self.slope())
    }

    #[inline(always)]
    fn slope(&self) -> E {
        // In this order nothing overflows or vanishes on the way: the square of the ratio would.
        let ratio = self.s / self.denominator;
        ratio * (ratio * self.slope_numerator)
    }
}

impl RationalQuadratic {
    /// `bins` bins on [-`bound`, `bound`].
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are 2 to 500 bins and a positive, finite bound.
    pub fn new(bins: usize, bound: f64, tails: Tails) -> Result<Self> {
        if !(2..=500).contains(&bins) {
            let (name, requirement) = ("bins of a spline", "between 2 and 500");
            return Err(Error::Parameter { name, requirement, value: bins as f64 });
        }
        if !(bound > 0.0 && bound.is_finite()) {
            let (name, requirement) = ("bound of a spline", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: bound });
        }
        Ok(Self { bins, bound, tails })
    }

    #[inline(always)]
    fn explicit<'a, E: Real>(&self, theta: &'a [E]) -> Explicit<'a, E> {
        let split = self.bins * LANES;
        Explicit {
            widths: Partition::new(&theta[..split], MIN_WIDTH, self.bound),
            heights: Partition::new(&theta[split..2 * split], MIN_HEIGHT, self.bound),
            raw_slopes: &theta[2 * split..],
        }
    }

    /// Raw slope at knot `knot`, or `None` where it is fixed at 1.
    #[inline(always)]
    fn slope_row<'a, E: Real>(&self, raw: &'a [E], knot: usize) -> Option<&'a [E]> {
        let row = match self.tails {
            Tails::Linear => knot,
            Tails::Identity if knot == 0 || knot == self.bins => return None,
            Tails::Identity => knot - 1,
        };
        Some(&raw[row * LANES..(row + 1) * LANES])
    }

    #[inline(always)]
    fn slopes<E: Real>(&self, raw: &[E], knot: usize) -> Lanes<E> {
        let mut slopes = [E::one(); LANES];
        if let Some(row) = self.slope_row(raw, knot) {
            for (slope, &raw) in slopes.iter_mut().zip(row) {
                *slope = softplus(raw) + E::of(MIN_SLOPE);
            }
        }
        slopes
    }

    /// The bin that holds each of `at`, counted by width (`by_width`) or by height.
    #[inline(always)]
    fn locate<E: Real>(&self, spline: &Explicit<'_, E>, at: &Lanes<E>, by_width: bool) -> Bin<E> {
        let start = E::of(-self.bound);
        let mut bin = Bin {
            left: [start; LANES],
            width: [E::zero(); LANES],
            bottom: [start; LANES],
            height: [E::zero(); LANES],
            slope_left: [E::one(); LANES],
            slope_right: [E::one(); LANES],
            index: [E::zero(); LANES],
        };
        let (mut x, mut y) = ([start; LANES], [start; LANES]);
        let mut slope_left = self.slopes(spline.raw_slopes, 0);
        for k in 0..self.bins {
            let slope_right = self.slopes(spline.raw_slopes, k + 1);
            for lane in 0..LANES {
                let knot = if by_width { x[lane] } else { y[lane] };
                let here = k == 0 || at[lane] >= knot;
                let (width, height) = (spline.widths.size(k, lane), spline.heights.size(k, lane));
                bin.left[lane] = if here { x[lane] } else { bin.left[lane] };
                bin.width[lane] = if here { width } else { bin.width[lane] };
                bin.bottom[lane] = if here { y[lane] } else { bin.bottom[lane] };
                bin.height[lane] = if here { height } else { bin.height[lane] };
                bin.slope_left[lane] = if here { slope_left[lane] } else { bin.slope_left[lane] };
                bin.slope_right[lane] =
                    if here { slope_right[lane] } else { bin.slope_right[lane] };
                bin.index[lane] = if here { E::of(k as f64) } else { bin.index[lane] };
                x[lane] += width;
                y[lane] += height;
            }
            slope_left = slope_right;
        }
        bin
    }

    /// Elements moved into the interval.
    #[inline(always)]
    fn inside<E: Real>(&self, x: &[E]) -> Lanes<E> {
        let mut moved = [E::zero(); LANES];
        for (moved, &x) in moved.iter_mut().zip(x) {
            *moved = clamp(x, E::of(-self.bound), E::of(self.bound));
        }
        moved
    }

    /// Slope of the tail that an element outside lies on.
    #[inline(always)]
    fn tail_slopes<E: Real>(&self, raw: &[E], x: &[E]) -> Lanes<E> {
        let (mut low, high) = (self.slopes(raw, 0), self.slopes(raw, self.bins));
        for lane in 0..LANES {
            low[lane] = if x[lane] > E::zero() { high[lane] } else { low[lane] };
        }
        low
    }

    /// Both gradients: with `INVERSE`, (`outer`) belongs to x and -log slope at x.
    #[inline(always)]
    fn gradient<E: Real, const INVERSE: bool>(
        &self,
        x: &[E],
        theta: &[E],
        outer: Outer<'_, E>,
        inner: Inner<'_, E>,
    ) {
        let spline = self.explicit(theta);
        let moved = self.inside(x);
        let bin = self.locate(&spline, &moved, true);
        let tails = self.tail_slopes(spline.raw_slopes, x);
        let bound = E::of(self.bound);
        let zero = [E::zero(); LANES];
        let (mut d_width, mut d_left) = (zero, zero);
        let (mut d_height, mut d_bottom) = (zero, zero);
        let (mut d_slope_left, mut d_slope_right, mut d_tail) = (zero, zero, zero);
        for lane in 0..LANES {
            let inside = x[lane] >= -bound && x[lane] <= bound;
            let (w, h) = (bin.width[lane], bin.height[lane]);
            let (left, right) = (bin.slope_left[lane], bin.slope_right[lane]);
            let xi = clamp((moved[lane] - bin.left[lane]) / w, E::zero(), E::one());
            let piece = Piece::new(xi, h / w, left, right);
            let Piece { q, s, t, numerator: a, denominator: den, slope_numerator: n, .. } = piece;
            let (rest, two) = (E::one() - xi, E::of(2.0));
            let (mut gy, mut gl) = (outer.value[lane], outer.log_slope[lane]);
            let mut gx_out = E::zero();
            let mut tail_gx = gy * tails[lane];
            if INVERSE {
                let dn = two * (right * xi - left * rest + s * (rest - xi));
                let d_log_slope = (dn / n - two * t * (rest - xi) / den) / w;
                gx_out = (gy - gl * d_log_slope) / piece.slope();
                tail_gx = gy / tails[lane];
                gl = -gl;
                gy = if inside { -gx_out } else { -tail_gx };
            }
            // The tail: y = end + slope (x - end), log slope.
            let beyond = if inside { E::zero() } else { x[lane] - moved[lane] };
            d_tail[lane] = if inside { E::zero() } else { gy * beyond + gl / tails[lane] };
            // Everything below is zero outside.
            let gy = if inside { gy } else { E::zero() };
            let gl = if inside { gl } else { E::zero() };
            // y = bottom + h a / den, log slope = 2 ln s + ln n - 2 ln den.
            let ga = gy * h / den;
            let g_den = -(ga * a + two * gl) / den;
            let gn = gl / n;
            let gt = g_den * q;
            let gq = g_den * t + ga * left + gn * two * s;
            let gs = two * gl / s + g_den - two * gt + ga * xi * xi + gn * two * q;
            let g_xi = ga * two * s * xi + gn * two * (right * xi - left * rest) + gq * (rest - xi);
            d_slope_left[lane] = gt + ga * q + gn * rest * rest;
            d_slope_right[lane] = gt + gn * xi * xi;
            let per_width = E::one() / w;
            d_height[lane] = gs * per_width + gy * a / den;
            d_width[lane] = -(gs * s + g_xi * xi) * per_width;
            d_left[lane] = -g_xi * per_width;
            d_bottom[lane] = gy;
            let gx = if INVERSE { gx_out } else { g_xi * per_width };
            inner.value[lane] = if inside { gx } else { tail_gx };
        }
        let split = self.bins * LANES;
        let (d_widths, others) = inner.theta.split_at_mut(split);
        let (d_heights, d_slopes) = others.split_at_mut(split);
        spline.widths.gradient(&bin.index, &d_width, &d_left, d_widths);
        spline.heights.gradient(&bin.index, &d_height, &d_bottom, d_heights);
        self.slope_gradient(&spline, &bin, [&d_slope_left, &d_slope_right, &d_tail], x, d_slopes);
    }

    /// Gradient of the raw slopes from those at the left and right knot of each bin and at tails.
    #[inline(always)]
    fn slope_gradient<E: Real>(
        &self,
        spline: &Explicit<'_, E>,
        bin: &Bin<E>,
        [left, right, tail]: [&Lanes<E>; 3],
        x: &[E],
        raw_gradient: &mut [E],
    ) {
        let first = usize::from(self.tails == Tails::Identity);
        for (row, gradient) in raw_gradient.chunks_exact_mut(LANES).enumerate() {
            let knot = row + first;
            let raw = &spline.raw_slopes[row * LANES..(row + 1) * LANES];
            let (below, here) = (E::of(knot as f64 - 1.0), E::of(knot as f64));
            for lane in 0..LANES {
                let from_left = if bin.index[lane] == here { left[lane] } else { E::zero() };
                let from_right = if bin.index[lane] == below { right[lane] } else { E::zero() };
                let upper = x[lane] > E::zero();
                let end = (knot == 0 && !upper) || (knot == self.bins && upper);
                let from_tail = if end { tail[lane] } else { E::zero() };
                gradient[lane] = (from_left + from_right + from_tail) * sigmoid(raw[lane]);
            }
        }
    }
}

impl<E: Real> Transformer<E> for RationalQuadratic {
    fn name(&self) -> &'static str {
        "rational-quadratic spline"
    }

    fn arity(&self) -> usize {
        match self.tails {
            Tails::Identity => 3 * self.bins - 1,
            Tails::Linear => 3 * self.bins + 1,
        }
    }

    fn identity(&self) -> Vec<f64> {
        // softplus(raw) + MIN_SLOPE = 1
        let slope = ((1.0 - MIN_SLOPE).exp() - 1.0).ln();
        let mut theta = vec![0.0; Transformer::<E>::arity(self)];
        theta[2 * self.bins..].fill(slope);
        theta
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        vectorised(
            #[inline(always)]
            || {
                let spline = self.explicit(theta);
                let moved = self.inside(x);
                let bin = self.locate(&spline, &moved, true);
                let tails = self.tail_slopes(spline.raw_slopes, x);
                let bound = E::of(self.bound);
                for lane in 0..LANES {
                    let inside = x[lane] >= -bound && x[lane] <= bound;
                    let (w, h) = (bin.width[lane], bin.height[lane]);
                    let xi = clamp((moved[lane] - bin.left[lane]) / w, E::zero(), E::one());
                    let piece = Piece::new(xi, h / w, bin.slope_left[lane], bin.slope_right[lane]);
                    let value = bin.bottom[lane] + h * piece.numerator / piece.denominator;
                    let tail = tails[lane].mul_add(x[lane] - moved[lane], moved[lane]);
                    y[lane] = if inside { value } else { tail };
                    log_slope[lane] += if inside { piece.log_slope() } else { ln(tails[lane]) };
                }
            },
        );
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        vectorised(
            #[inline(always)]
            || {
                let spline = self.explicit(theta);
                let moved = self.inside(y);
                let bin = self.locate(&spline, &moved, false);
                let tails = self.tail_slopes(spline.raw_slopes, y);
                let bound = E::of(self.bound);
                for lane in 0..LANES {
                    let inside = y[lane] >= -bound && y[lane] <= bound;
                    let (w, h) = (bin.width[lane], bin.height[lane]);
                    let (left, right) = (bin.slope_left[lane], bin.slope_right[lane]);
                    let s = h / w;
                    let above = moved[lane] - bin.bottom[lane];
                    let t = left + right - (s + s);
                    // eq. 6-8: a xi^2 + b xi + c = 0
                    let a = h * (s - left) + above * t;
                    let b = h * left - above * t;
                    let c = -s * above;
                    let discriminant = b * b - E::of(4.0) * a * c;
                    let root = clamp(discriminant, E::zero(), E::infinity()).sqrt();
                    let xi = clamp((c + c) / -(b + root), E::zero(), E::one());
                    let piece = Piece::new(xi, s, left, right);
                    let tail = (y[lane] - moved[lane]) / tails[lane] + moved[lane];
                    x[lane] = if inside { w.mul_add(xi, bin.left[lane]) } else { tail };
                    log_slope[lane] -= if inside { piece.log_slope() } else { ln(tails[lane]) };
                }
            },
        );
        Ok(0)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        vectorised(
            #[inline(always)]
            || self.gradient::<E, false>(x, theta, outer, inner),
        );
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        vectorised(
            #[inline(always)]
            || self.gradient::<E, true>(x, theta, outer, inner),
        );
    }
}
