//! The linear spline of neural importance sampling.

use std::sync::Arc;

use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::free_knots::MIN_HEIGHT;
use super::partition::{Lanes, Partition};
use super::spline::{Bin, Curve, Knots, Spline, Unit};
use super::spline_interval::{SplineConfig, SplineInterval, Tails};
use super::{SharedTransformer, TransformerConfig};

/// Settings of [`LinearSpline`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinearSplineConfig(pub SplineConfig);

#[typetag::serde(name = "linear_spline")]
impl TransformerConfig for LinearSplineConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        let SplineConfig { bins, bound, .. } = self.0;
        Ok(Arc::new(LinearSpline::new(bins, bound)?))
    });
}

/// The linear spline: straight lines over K equal bins of [-B, B], the identity outside. It is the
/// distribution function of a histogram.
///
/// ```text
/// y = y_k + h_k xi,   h_k = 2B p_k,   log slope = ln(K p_k)
/// ```
/// Parameters of an element: K raw heights (softmax, at least 1e-3 of the interval each).
///
/// The slope, and so the density, jumps at the knots and at both ends; the knots are fixed in x.
///
/// # Reference
/// Müller, McWilliams, Rousselle, Gross, Novák, *Neural Importance Sampling*, ACM Transactions on
/// Graphics 2019, Section 4.1. <https://arxiv.org/abs/1808.03856>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSpline {
    interval: SplineInterval,
}

impl LinearSpline {
    /// A spline of `bins` bins on [-`bound`, `bound`].
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 2 to 500 bins and a
    /// positive, finite bound.
    pub fn new(bins: usize, bound: f64) -> Result<Self> {
        Ok(Self { interval: SplineInterval::new(bins, bound, Tails::Identity)? })
    }
}

impl Spline for LinearSpline {
    type Curve = Line;
    type Knots<'a, E: Real> = EqualBins<E>;
    const NAME: &'static str = "linear spline";

    fn interval(&self) -> SplineInterval {
        self.interval
    }

    fn rows(&self) -> usize {
        self.interval.bins
    }

    fn start(&self) -> Vec<f64> {
        vec![0.0; self.interval.bins]
    }

    #[inline(always)]
    fn knots<E: Real>(&self, theta: &[E]) -> EqualBins<E> {
        let SplineInterval { bins, bound, .. } = self.interval;
        let width = E::of(2.0 * bound / bins as f64);
        EqualBins { width, heights: Partition::new(theta, MIN_HEIGHT, bound) }
    }
}

/// Bins of equal width.
pub(super) struct EqualBins<E> {
    width: E,
    heights: Partition<E>,
}

impl<E: Real> Knots<E> for EqualBins<E> {
    #[inline(always)]
    fn size(&self, bin: usize, lane: usize) -> (E, E) {
        (self.width, self.heights.size(bin, lane))
    }

    /// Slopes of the tails only: the lines have their own.
    #[inline(always)]
    fn slopes(&self, _knot: usize) -> Lanes<E> {
        [E::one(); LANES]
    }

    #[inline(always)]
    fn gradient(&self, bin: &Bin<E>, theta: &mut [E]) {
        self.heights.gradient(
            #[inline(always)]
            |k, lane| bin.of_height(k, lane),
            theta,
        );
    }
}

/// f = xi.
pub(super) struct Line;

impl Curve for Line {
    #[inline(always)]
    fn at<E: Real>(unit: Unit<E>) -> (E, E) {
        (unit.xi, E::one())
    }

    #[inline(always)]
    fn solve<E: Real>(value: E, _ends: Unit<E>) -> E {
        value
    }

    #[inline(always)]
    fn gradient<E: Real>(_unit: Unit<E>, value: E, _log_slope: E) -> Unit<E> {
        let zero = E::zero();
        Unit { xi: value, left: zero, right: zero, shape: zero }
    }
}
