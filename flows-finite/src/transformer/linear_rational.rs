//! The monotone linear-rational spline.

use std::sync::Arc;

use flows_core::elementwise::sigmoid;
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::free_knots::{self, FreeKnots};
use super::lanes::{Lanes, rows};
use super::spline::{Bin, Curve, Knots, Spline, Unit};
use super::spline_interval::{SplineConfig, SplineInterval, Tails};
use super::{SharedTransformer, TransformerConfig};

/// Smallest width of a piece, as a fraction of its bin.
const MIN_PIECE: f64 = 0.025;

/// The monotone linear-rational spline with K bins on [-B, B].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinearRationalConfig(pub SplineConfig);

#[typetag::serde(name = "linear_rational")]
impl TransformerConfig for LinearRationalConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        let SplineConfig { bins, bound, tails } = self.0;
        Ok(Arc::new(LinearRational::new(bins, bound, tails)?))
    });
}

/// Linear-rational spline with K bins on [-B, B].
///
/// A bin is cut at the fraction lambda of its width. With xi = (x - x_k)/w_k, a and b the slopes at
/// its ends over its secant h_k/w_k, and N = lambda sqrt(a) + (1 - lambda) sqrt(b),
/// ```text
/// y = y_k + h_k lambda a t / (1 - t + sqrt(a) N t)                       t = xi/lambda <= 1
/// y = y_k+1 - h_k (1-lambda) b u / (1 - u + sqrt(b) N u)         u = (1-xi)/(1-lambda) <= 1
/// ```
/// which is the paper's pair of weighted means with its free weight chosen as sqrt(b). The pieces
/// meet at height lambda sqrt(a)/N with slope 1/N^2 (of the unit square).
///
/// Parameters of an element: those of
/// [`RationalQuadratic`](super::RationalQuadratic), then K raw lambdas (sigmoid, within
/// [0.025, 0.975]).
///
/// # Accuracy
/// Round trip 1e-9 in f64 for slopes within [1e-3, 1e3]. The inverse is a ratio of straight lines
/// as well, without roots.
///
/// # Reference
/// Dolatabadi, Erfani, Leckie, *Invertible Generative Modeling using Linear Rational Splines*,
/// AISTATS 2020, Section 3. <https://arxiv.org/abs/2001.05168>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearRational {
    interval: SplineInterval,
}

impl LinearRational {
    /// A spline of `bins` bins on [-`bound`, `bound`].
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 2 to 500 bins and a
    /// positive, finite bound.
    pub fn new(bins: usize, bound: f64, tails: Tails) -> Result<Self> {
        Ok(Self { interval: SplineInterval::new(bins, bound, tails)? })
    }
}

impl Spline for LinearRational {
    type Curve = LinearRationalCurve;
    type Knots<'a, E: Real> = CutKnots<'a, E>;
    const NAME: &'static str = "linear-rational spline";

    fn interval(&self) -> SplineInterval {
        self.interval
    }

    fn rows(&self) -> usize {
        3 * self.interval.bins + self.interval.slope_rows()
    }

    fn start(&self) -> Vec<f64> {
        let mut theta = free_knots::start(self.interval);
        theta.resize(theta.len() + self.interval.bins, 0.0);
        theta
    }

    #[inline(always)]
    fn knots<'a, E: Real>(&self, theta: &'a [E]) -> CutKnots<'a, E> {
        let (free, raw_cuts) = theta.split_at(theta.len() - self.interval.bins * LANES);
        CutKnots { free: FreeKnots::new(self.interval, free), raw_cuts }
    }
}

/// Knots, and the cut of each bin.
pub(super) struct CutKnots<'a, E> {
    free: FreeKnots<'a, E>,
    raw_cuts: &'a [E],
}

impl<E: Real> Knots<E> for CutKnots<'_, E> {
    #[inline(always)]
    fn size(&self, bin: usize, lane: usize) -> (E, E) {
        self.free.size(bin, lane)
    }

    #[inline(always)]
    fn slopes(&self, knot: usize) -> Lanes<E> {
        self.free.slopes(knot)
    }

    #[inline(always)]
    fn shapes(&self, bin: usize) -> Option<Lanes<E>> {
        let mut cuts = [E::zero(); LANES];
        for (cut, &raw) in cuts.iter_mut().zip(&rows(self.raw_cuts)[bin]) {
            *cut = E::of(1.0 - 2.0 * MIN_PIECE).mul_add(sigmoid(raw), E::of(MIN_PIECE));
        }
        Some(cuts)
    }

    #[inline(always)]
    fn gradient(&self, bin: &Bin<E>, theta: &mut [E]) {
        let (free, cuts) = theta.split_at_mut(theta.len() - self.raw_cuts.len());
        self.free.gradient(bin, free);
        let rows = cuts.chunks_exact_mut(LANES).zip(self.raw_cuts.chunks_exact(LANES));
        for (k, (gradient, raw)) in rows.enumerate() {
            for lane in 0..LANES {
                let s = sigmoid(raw[lane]);
                let slope = E::of(1.0 - 2.0 * MIN_PIECE) * s * (E::one() - s);
                gradient[lane] = bin.of_shape(k, lane) * slope;
            }
        }
    }
}

/// The two pieces, each from its own end of the bin.
pub(super) struct LinearRationalCurve;

/// A piece: r the square root of the slope at its end, `share` its fraction of the width, t the
/// position of the point within it, and the weight N of the bin.
struct Piece<E> {
    r: E,
    share: E,
    t: E,
    weight: E,
}

impl<E: Real> Piece<E> {
    /// The piece that holds xi, and whether it is the lower one.
    #[inline(always)]
    fn holding(Unit { xi, left, right, shape }: Unit<E>) -> (Self, bool) {
        let (alpha, beta, rest) = (left.sqrt(), right.sqrt(), E::one() - shape);
        let weight = shape * alpha + rest * beta;
        let lower = xi <= shape;
        let (r, share) = if lower { (alpha, shape) } else { (beta, rest) };
        let from_end = if lower { xi } else { E::one() - xi };
        (Self { r, share, t: from_end / share, weight }, lower)
    }

    #[inline(always)]
    fn denominator(&self) -> E {
        E::one() - self.t + self.r * self.weight * self.t
    }

    /// Distance from the end's height.
    #[inline(always)]
    fn rise(&self) -> E {
        self.share * self.r * (self.r * self.t / self.denominator())
    }
}

impl Curve for LinearRationalCurve {
    #[inline(always)]
    fn at<E: Real>(unit: Unit<E>) -> (E, E) {
        let (piece, lower) = Piece::holding(unit);
        let (rise, ratio) = (piece.rise(), piece.r / piece.denominator());
        (if lower { rise } else { E::one() - rise }, ratio * ratio)
    }

    #[inline(always)]
    fn solve<E: Real>(value: E, Unit { left, right, shape, .. }: Unit<E>) -> E {
        let (alpha, beta, rest) = (left.sqrt(), right.sqrt(), E::one() - shape);
        let weight = shape * alpha + rest * beta;
        let lower = value * weight <= shape * alpha;
        let (r, share) = if lower { (alpha, shape) } else { (beta, rest) };
        let rise = if lower { value } else { E::one() - value };
        // rise (1 - t + r N t) = share r^2 t
        let t = rise / (rise + r * (share * r - rise * weight));
        let from_end = share * t;
        if lower { from_end } else { E::one() - from_end }
    }

    #[inline(always)]
    fn gradient<E: Real>(unit: Unit<E>, value: E, log_slope: E) -> Unit<E> {
        let (piece, lower) = Piece::holding(unit);
        let Piece { r, share, t, weight } = piece;
        let (denominator, rise, two) = (piece.denominator(), piece.rise(), E::of(2.0));
        let sign = if lower { E::one() } else { -E::one() };
        // rise = share r^2 t / den, ln f' = 2 ln r - 2 ln den, den = 1 - t + r N t
        let g = sign * value;
        let g_den = -(g * rise + two * log_slope) / denominator;
        let g_r = two * (g * rise + log_slope) / r + g_den * weight * t;
        let g_weight = g_den * r * t;
        let g_from_end = g * r * (r / denominator) + g_den * (r * weight - E::one()) / share;
        let g_share = g * rise / share - g_from_end * t;
        // N = lambda alpha + (1 - lambda) beta, alpha = sqrt(a)
        let (alpha, beta) = (unit.left.sqrt(), unit.right.sqrt());
        let only = |this: bool| if this { g_r } else { E::zero() };
        Unit {
            xi: sign * g_from_end,
            left: (only(lower) + g_weight * unit.shape) / (two * alpha),
            right: (only(!lower) + g_weight * (E::one() - unit.shape)) / (two * beta),
            shape: sign * g_share + g_weight * (alpha - beta),
        }
    }
}
