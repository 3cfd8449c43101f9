//! The monotone cubic spline, with Steffen's slopes.

use std::sync::Arc;

use flows_core::elementwise::sigmoid;
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::cubic_curve::CubicCurve;
use super::free_knots::{MIN_HEIGHT, MIN_WIDTH};
use super::partition::{Lanes, Partition};
use super::spline::{Bin, Knots, Spline};
use super::spline_interval::{SplineConfig, SplineInterval, Tails};
use super::{SharedTransformer, TransformerConfig};

/// Range of a learned end slope, in secants of its bin: beyond 3 a cubic may decrease.
const END_SLOPE: [f64; 2] = [1e-3, 2.999];
/// Smallest secant of the first and last bin where the slope at the ends is fixed at 1: above 1/3,
/// for the same reason.
const MIN_END_SECANT: f64 = 0.35;

/// The monotone cubic spline with K bins on [-B, B].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CubicSplineConfig(pub SplineConfig);

#[typetag::serde(name = "cubic_spline")]
impl TransformerConfig for CubicSplineConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        let SplineConfig { bins, bound, tails } = self.0;
        Ok(Arc::new(CubicSpline::new(bins, bound, tails)?))
    });
}

/// Monotone cubic spline with K bins on [-B, B].
///
/// In bin k, with a and b the slopes at its ends over its secant,
/// ```text
/// y = y_k + h_k (a xi (1-xi)^2 + (3 - b) xi^2 (1-xi) + xi^3)
/// ```
/// The slope at an inner knot is no parameter: with secants s and s' of the bins of width w and w'
/// on its sides it is that of the parabola through three knots, limited so that the cubics increase,
/// ```text
/// d = min(2 s, 2 s', (s w' + s' w)/(w + w'))
/// ```
/// and with [`Tails::Circular`] so it is at the ends. Parameters of an element: K raw widths and K
/// raw heights (softmax, at least 1e-3 of the interval each); with [`Tails::Linear`] then the raw
/// slopes at both ends (sigmoid, within 0 and 3 secants). With [`Tails::Identity`], where the slope
/// at the ends is 1, the first and the last bin are at least 0.35 times as high as wide.
///
/// # Accuracy
/// Round trip 1e-9 in f64. The root of the cubic is found by a fixed number of steps that end at
/// rounding, see `CubicCurve` for the reason.
///
/// # Reference
/// Durkan, Bekasov, Murray, Papamakarios, *Cubic-Spline Flows*, ICML workshop INNF 2019.
/// <https://arxiv.org/abs/1906.02145>; slopes: Steffen, *A simple method for monotonic
/// interpolation in one dimension*, Astronomy and Astrophysics 1990.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CubicSpline {
    interval: SplineInterval,
}

impl CubicSpline {
    /// A spline of `bins` bins on [-`bound`, `bound`].
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 2 to 500 bins and a
    /// positive, finite bound.
    pub fn new(bins: usize, bound: f64, tails: Tails) -> Result<Self> {
        Ok(Self { interval: SplineInterval::new(bins, bound, tails)? })
    }
}

impl Spline for CubicSpline {
    type Curve = CubicCurve;
    type Knots<'a, E: Real> = SteffenKnots<'a, E>;
    const NAME: &'static str = "cubic spline";

    fn interval(&self) -> SplineInterval {
        self.interval
    }

    fn rows(&self) -> usize {
        2 * self.interval.bins + if self.interval.tails == Tails::Linear { 2 } else { 0 }
    }

    fn start(&self) -> Vec<f64> {
        let SplineInterval { bins, tails, .. } = self.interval;
        let mut theta = vec![0.0; self.rows()];
        if tails == Tails::Identity {
            // Equal heights less the smallest ones: 1/K - MIN_HEIGHT, less at the ends.
            let part = 1.0 / bins as f64;
            let end = (part * (1.0 - MIN_END_SECANT)) / (part - MIN_HEIGHT);
            theta[bins] = end.ln();
            theta[2 * bins - 1] = end.ln();
        }
        let [low, high] = END_SLOPE;
        theta[2 * bins..].fill(((1.0 - low) / (high - 1.0)).ln());
        theta
    }

    #[inline(always)]
    fn knots<'a, E: Real>(&self, theta: &'a [E]) -> SteffenKnots<'a, E> {
        SteffenKnots::new(self.interval, theta)
    }
}

/// Widths and heights, which determine the inner slopes, and the raw slopes at learned ends.
pub(super) struct SteffenKnots<'a, E> {
    interval: SplineInterval,
    widths: Partition<E>,
    parts: Partition<E>,
    /// What the smallest heights leave, divided by `parts`.
    room: Lanes<E>,
    raw_ends: &'a [E],
}

impl<'a, E: Real> SteffenKnots<'a, E> {
    #[inline(always)]
    fn new(interval: SplineInterval, theta: &'a [E]) -> Self {
        let (widths, others) = theta.split_at(interval.bins * LANES);
        let (heights, raw_ends) = others.split_at(interval.bins * LANES);
        let mut knots = Self {
            interval,
            widths: Partition::new(widths, MIN_WIDTH, interval.bound),
            parts: Partition::new(heights, 0.0, 0.5),
            room: [E::of(2.0 * interval.bound); LANES],
            raw_ends,
        };
        for bin in 0..interval.bins {
            for lane in 0..LANES {
                let smallest = knots.smallest(bin, lane);
                knots.room[lane] -= smallest;
            }
        }
        knots
    }

    #[inline(always)]
    fn steep(&self, bin: usize) -> bool {
        self.interval.tails == Tails::Identity && (bin == 0 || bin + 1 == self.interval.bins)
    }

    /// Smallest height of a bin.
    #[inline(always)]
    fn smallest(&self, bin: usize, lane: usize) -> E {
        if self.steep(bin) {
            E::of(MIN_END_SECANT) * self.widths.size(bin, lane)
        } else {
            E::of(2.0 * self.interval.bound * MIN_HEIGHT)
        }
    }

    /// The bins on both sides of a knot; `None` at an end of the line.
    #[inline(always)]
    fn sides(&self, knot: usize) -> Option<[usize; 2]> {
        let bins = self.interval.bins;
        if !knot.is_multiple_of(bins) {
            Some([knot - 1, knot])
        } else if self.interval.tails == Tails::Circular {
            Some([bins - 1, 0])
        } else {
            None
        }
    }

    /// The bin and raw slope of a learned end.
    #[inline(always)]
    fn learned_end(&self, knot: usize) -> Option<(usize, &[E])> {
        let (lower, upper) = self.raw_ends.split_at(self.raw_ends.len() / 2);
        let end = if knot == 0 { (0, lower) } else { (self.interval.bins - 1, upper) };
        (self.interval.tails == Tails::Linear).then_some(end)
    }
}

impl<E: Real> Knots<E> for SteffenKnots<'_, E> {
    #[inline(always)]
    fn size(&self, bin: usize, lane: usize) -> (E, E) {
        let part = self.parts.size(bin, lane);
        (self.widths.size(bin, lane), self.room[lane].mul_add(part, self.smallest(bin, lane)))
    }

    #[inline(always)]
    fn slopes(&self, knot: usize) -> Lanes<E> {
        let mut slopes = [E::one(); LANES];
        if let Some([before, after]) = self.sides(knot) {
            for (lane, slope) in slopes.iter_mut().enumerate() {
                *slope = steffen(self.size(before, lane), self.size(after, lane));
            }
        } else if let Some((bin, raw)) = self.learned_end(knot) {
            let [low, high] = END_SLOPE;
            for (lane, slope) in slopes.iter_mut().enumerate() {
                let (width, height) = self.size(bin, lane);
                let times = E::of(high - low).mul_add(sigmoid(raw[lane]), E::of(low));
                *slope = times * (height / width);
            }
        }
        slopes
    }

    #[inline(always)]
    fn gradient(&self, bin: &Bin<E>, theta: &mut [E]) {
        let bins = self.interval.bins;
        let (widths, others) = theta.split_at_mut(bins * LANES);
        let (heights, ends) = others.split_at_mut(bins * LANES);
        let mut sizes = Sizes::of(bin, bins);
        for knot in 0..=bins {
            self.through_slope(knot, bin, &mut sizes, ends);
        }
        // h = smallest + room part, room = 2B - sum of the smallest
        let mut d_room = [E::zero(); LANES];
        for (k, row) in sizes.heights.iter().enumerate() {
            for lane in 0..LANES {
                d_room[lane] += row[lane] * self.parts.size(k, lane);
            }
        }
        for k in (0..bins).filter(|&k| self.steep(k)) {
            for (lane, d_room) in d_room.iter().enumerate() {
                let left = sizes.heights[k][lane] - *d_room;
                sizes.widths[k][lane] += E::of(MIN_END_SECANT) * left;
            }
        }
        self.widths.gradient(
            #[inline(always)]
            |k, lane| sizes.widths[k][lane],
            widths,
        );
        self.parts.gradient(
            #[inline(always)]
            |k, lane| sizes.heights[k][lane] * self.room[lane],
            heights,
        );
    }
}

/// Gradients of all widths and heights.
struct Sizes<E> {
    widths: Vec<Lanes<E>>,
    heights: Vec<Lanes<E>>,
}

impl<E: Real> Sizes<E> {
    /// Those of each element's own bin.
    #[inline(always)]
    fn of(bin: &Bin<E>, bins: usize) -> Self {
        let mut sizes = Self {
            widths: vec![[E::zero(); LANES]; bins],
            heights: vec![[E::zero(); LANES]; bins],
        };
        for k in 0..bins {
            for lane in 0..LANES {
                sizes.widths[k][lane] = bin.of_width(k, lane);
                sizes.heights[k][lane] = bin.of_height(k, lane);
            }
        }
        sizes
    }

    #[inline(always)]
    fn add(&mut self, bin: usize, width: &Lanes<E>, height: &Lanes<E>) {
        for lane in 0..LANES {
            self.widths[bin][lane] += width[lane];
            self.heights[bin][lane] += height[lane];
        }
    }
}

impl<E: Real> SteffenKnots<'_, E> {
    /// Adds to the gradients of the sizes on which the slope at a knot depends; at a learned end,
    /// writes that of its raw slope, in the first or second half of `ends`.
    #[inline(always)]
    fn through_slope(&self, knot: usize, bin: &Bin<E>, sizes: &mut Sizes<E>, ends: &mut [E]) {
        let zero = [E::zero(); LANES];
        let (mut width, mut height, mut next_width, mut next_height) = (zero, zero, zero, zero);
        if let Some([before, after]) = self.sides(knot) {
            for lane in 0..LANES {
                let (left, right) = (self.size(before, lane), self.size(after, lane));
                let [left, right] = steffen_gradient(left, right, bin.of_slope(knot, lane));
                (width[lane], height[lane]) = left;
                (next_width[lane], next_height[lane]) = right;
            }
            sizes.add(before, &width, &height);
            sizes.add(after, &next_width, &next_height);
        } else if let Some((end, raw)) = self.learned_end(knot) {
            let (lower, upper) = ends.split_at_mut(LANES);
            let d_raw = if knot == 0 { lower } else { upper };
            let (range, mut raw_end) = (E::of(END_SLOPE[1] - END_SLOPE[0]), zero);
            for lane in 0..LANES {
                let (w, h) = self.size(end, lane);
                let (s, g) = (sigmoid(raw[lane]), bin.of_slope(knot, lane));
                height[lane] = g * range.mul_add(s, E::of(END_SLOPE[0])) / w;
                width[lane] = -height[lane] * (h / w);
                raw_end[lane] = g * (h / w) * range * s * (E::one() - s);
            }
            d_raw.copy_from_slice(&raw_end);
            sizes.add(end, &width, &height);
        }
    }
}

/// Steffen's slope at a knot between bins of the given widths and heights.
#[inline(always)]
fn steffen<E: Real>((w, h): (E, E), (v, g): (E, E)) -> E {
    let (s, t) = (h / w, g / v);
    let parabola = (s * v + t * w) / (w + v);
    let smaller = if s < t { s } else { t };
    let limit = smaller + smaller;
    if parabola < limit { parabola } else { limit }
}

/// Backward pass of [`steffen`]: gradients of the widths and heights on both sides, from that of
/// the slope.
#[inline(always)]
fn steffen_gradient<E: Real>((w, h): (E, E), (v, g): (E, E), slope: E) -> [(E, E); 2] {
    let (s, t, both) = (h / w, g / v, w + v);
    let parabola = (s * v + t * w) / both;
    let (zero, twice) = (E::zero(), slope + slope);
    let limit = if s < t { s + s } else { t + t };
    let free = parabola < limit;
    let of_s = if free {
        slope * v / both
    } else if s < t {
        twice
    } else {
        zero
    };
    let of_t = if free {
        slope * w / both
    } else if s < t {
        zero
    } else {
        twice
    };
    let direct = if free { slope / both } else { zero };
    let left = (direct * (t - parabola) - of_s * s / w, of_s / w);
    let right = (direct * (s - parabola) - of_t * t / v, of_t / v);
    [left, right]
}
