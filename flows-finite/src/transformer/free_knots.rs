//! Knots of a spline with free widths, heights and slopes.

use flows_core::Real;
use flows_core::operation::LANES;

use super::lanes::{Lanes, rows, rows_mut, sigmoids, softpluses};
use super::partition::Partition;
use super::spline::{Bin, Knots};
use super::spline_interval::SplineInterval;

/// Smallest width and height of a bin as a fraction of the interval, and smallest slope at a knot.
pub(super) const MIN_WIDTH: f64 = 1e-3;
pub(super) const MIN_HEIGHT: f64 = 1e-3;
const MIN_SLOPE: f64 = 1e-3;

/// K raw widths and K raw heights (softmax), then the raw learned slopes (softplus).
pub(super) struct FreeKnots<'a, E> {
    interval: SplineInterval,
    widths: Partition<E>,
    heights: Partition<E>,
    raw_slopes: &'a [E],
}

impl<'a, E: Real> FreeKnots<'a, E> {
    #[inline(always)]
    pub(super) fn new(interval: SplineInterval, theta: &'a [E]) -> Self {
        let (widths, others) = theta.split_at(interval.bins * LANES);
        let (heights, raw_slopes) = others.split_at(interval.bins * LANES);
        Self {
            interval,
            widths: Partition::new(widths, MIN_WIDTH, interval.bound),
            heights: Partition::new(heights, MIN_HEIGHT, interval.bound),
            raw_slopes,
        }
    }
}

/// Parameters of equal bins with slope 1 at all knots.
pub(super) fn start(interval: SplineInterval) -> Vec<f64> {
    // softplus(raw) + MIN_SLOPE = 1
    let slope = ((1.0 - MIN_SLOPE).exp() - 1.0).ln();
    let mut theta = vec![0.0; 2 * interval.bins];
    theta.resize(2 * interval.bins + interval.slope_rows(), slope);
    theta
}

impl<E: Real> Knots<E> for FreeKnots<'_, E> {
    #[inline(always)]
    fn size(&self, bin: usize, lane: usize) -> (E, E) {
        (self.widths.size(bin, lane), self.heights.size(bin, lane))
    }

    #[inline(always)]
    fn slopes(&self, knot: usize) -> Lanes<E> {
        let mut slopes = [E::one(); LANES];
        if let Some(row) = self.interval.slope_row(knot) {
            slopes = softpluses(rows(self.raw_slopes)[row]);
            for slope in &mut slopes {
                *slope += E::of(MIN_SLOPE);
            }
        }
        slopes
    }

    #[inline(always)]
    fn gradient(&self, bin: &Bin<E>, theta: &mut [E]) {
        let (widths, others) = theta.split_at_mut(self.interval.bins * LANES);
        let (heights, slopes) = others.split_at_mut(self.interval.bins * LANES);
        self.widths.gradient(
            #[inline(always)]
            |k, lane| bin.of_width(k, lane),
            widths,
        );
        self.heights.gradient(
            #[inline(always)]
            |k, lane| bin.of_height(k, lane),
            heights,
        );
        slopes.fill(E::zero());
        for knot in 0..=self.interval.bins {
            if let Some(row) = self.interval.slope_row(knot) {
                let turn = sigmoids(rows(self.raw_slopes)[row]);
                let gradient = &mut rows_mut(slopes)[row];
                for lane in 0..LANES {
                    gradient[lane] += bin.of_slope(knot, lane) * turn[lane];
                }
            }
        }
    }
}
