//! The monotone quadratic spline, whose density is piecewise linear.

use std::sync::Arc;

use flows_core::elementwise::{clamp, exp};
use flows_core::lanes::{add, lanes_mut};
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::free_knots::MIN_WIDTH;
use super::partition::{Lanes, Partition, largest};
use super::spline::{Bin, Curve, Knots, Spline, Unit};
use super::spline_interval::{SplineConfig, SplineInterval, Tails};
use super::{SharedTransformer, TransformerConfig};

/// Smallest slope at a knot.
const MIN_DENSITY: f64 = 1e-3;

/// The monotone quadratic spline with K bins on [-B, B]: its slope is linear between values V_k at
/// the knots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuadraticSplineConfig(pub SplineConfig);

#[typetag::serde(name = "quadratic_spline")]
impl TransformerConfig for QuadraticSplineConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        let SplineConfig { bins, bound, tails } = self.0;
        Ok(Arc::new(QuadraticSpline::new(bins, bound, tails)?))
    });
}

/// Quadratic spline with K bins on [-B, B]: its slope is linear between values V_k at the knots.
///
/// ```text
/// y = y_k + w_k xi (V_k + (V_k+1 - V_k) xi / 2),   log slope = ln(V_k + (V_k+1 - V_k) xi)
/// ```
/// The values have to fill the interval: sum_k w_k (V_k + V_k+1)/2 = sum_k omega_k V_k = 2B, where
/// omega_k is half the width of the bins on both sides of knot k. Since the omega_k sum to 2B, the
/// values have mean 1 under them, and so have those that are not fixed at 1:
/// ```text
/// V_k = m + (1 - m) e^r_k (sum_j omega_j) / (sum_j omega_j e^r_j),   j over the learned values
/// ```
/// which is possible for all ends. Parameters of an element: K raw widths (softmax, at least 1e-3
/// of the interval each), then the raw values r (m = 1e-3): K - 1 inner ones with
/// [`Tails::Identity`], K + 1 with [`Tails::Linear`], K with [`Tails::Circular`].
///
/// # Accuracy
/// Round trip 1e-9 in f64; the quadratic is solved in its cancellation-free form with its
/// discriminant clamped at zero.
///
/// # Reference
/// Müller, McWilliams, Rousselle, Gross, Novák, *Neural Importance Sampling*, ACM Transactions on
/// Graphics 2019, Section 4.2, <https://arxiv.org/abs/1808.03856>; with tails, Durkan, Bekasov,
/// Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019, <https://arxiv.org/abs/1906.04032>.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuadraticSpline {
    interval: SplineInterval,
}

impl QuadraticSpline {
    /// A spline of `bins` bins on [-`bound`, `bound`].
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 2 to 500 bins and a
    /// positive, finite bound.
    pub fn new(bins: usize, bound: f64, tails: Tails) -> Result<Self> {
        Ok(Self { interval: SplineInterval::new(bins, bound, tails)? })
    }
}

impl Spline for QuadraticSpline {
    type Curve = Parabola;
    type Knots<'a, E: Real> = Densities<E>;
    const NAME: &'static str = "quadratic spline";

    fn interval(&self) -> SplineInterval {
        self.interval
    }

    fn rows(&self) -> usize {
        self.interval.bins + self.interval.slope_rows()
    }

    fn start(&self) -> Vec<f64> {
        vec![0.0; self.rows()]
    }

    #[inline(always)]
    fn knots<E: Real>(&self, theta: &[E]) -> Densities<E> {
        Densities::new(self.interval, theta)
    }
}

/// Widths of the bins and densities at the knots.
pub(super) struct Densities<E> {
    interval: SplineInterval,
    widths: Partition<E>,
    /// V_k at all knots, including fixed ones.
    densities: Vec<Lanes<E>>,
    /// omega_j of the learned values, and the sum of all.
    mass: Vec<Lanes<E>>,
    room: Lanes<E>,
}

impl<E: Real> Densities<E> {
    #[inline(always)]
    fn new(interval: SplineInterval, theta: &[E]) -> Self {
        let (widths, logs) = theta.split_at(interval.bins * LANES);
        let zero = [E::zero(); LANES];
        let widths = Partition::new(widths, MIN_WIDTH, interval.bound);
        let mut mass = vec![zero; interval.slope_rows()];
        for knot in 0..=interval.bins {
            if let Some(row) = interval.slope_row(knot) {
                for (lane, mass) in mass[row].iter_mut().enumerate() {
                    *mass += half_widths(&widths, interval.bins, knot, lane);
                }
            }
        }
        let largest = largest(logs);
        let mut learned = vec![zero; interval.slope_rows()];
        let (mut room, mut total) = (zero, zero);
        for ((value, logs), mass) in learned.iter_mut().zip(logs.chunks_exact(LANES)).zip(&mass) {
            for lane in 0..LANES {
                value[lane] = exp(logs[lane] - largest[lane]);
                room[lane] += mass[lane];
                total[lane] += mass[lane] * value[lane];
            }
        }
        let mut densities = vec![[E::one(); LANES]; interval.bins + 1];
        for (knot, densities) in densities.iter_mut().enumerate() {
            if let Some(row) = interval.slope_row(knot) {
                for lane in 0..LANES {
                    let scale = E::of(1.0 - MIN_DENSITY) * room[lane] / total[lane];
                    densities[lane] = scale.mul_add(learned[row][lane], E::of(MIN_DENSITY));
                }
            }
        }
        Self { interval, widths, densities, mass, room }
    }

    #[inline(always)]
    fn mean_of_ends(&self, bin: usize, lane: usize) -> E {
        (self.densities[bin][lane] + self.densities[bin + 1][lane]) * E::of(0.5)
    }

    /// Adds to the gradients of the learned values, from those of each element's bin, and returns
    /// sum_j G_j (V_j - m) / ((1 - m) sum_j omega_j).
    #[inline(always)]
    fn of_densities(&self, bin: &Bin<E>, gradient: &mut [E]) -> Lanes<E> {
        let zero = [E::zero(); LANES];
        let (mut before, mut sum) = (zero, zero);
        for (knot, density) in self.densities.iter().enumerate() {
            // h_k = w_k (V_k + V_k+1)/2
            let (mut after, mut all) = (zero, zero);
            if knot < self.interval.bins {
                for (lane, after) in after.iter_mut().enumerate() {
                    let width = self.widths.size(knot, lane);
                    *after = bin.of_height(knot, lane) * width * E::of(0.5);
                }
            }
            if let Some(row) = self.interval.slope_row(knot) {
                for lane in 0..LANES {
                    all[lane] = bin.of_slope(knot, lane) + before[lane] + after[lane];
                    sum[lane] += all[lane] * (density[lane] - E::of(MIN_DENSITY));
                }
                add(lanes_mut(gradient, row), &all);
            }
            before = after;
        }
        for (sum, &room) in sum.iter_mut().zip(&self.room) {
            *sum = *sum * E::of(1.0 / (1.0 - MIN_DENSITY)) / room;
        }
        sum
    }
}

/// The weight omega of a knot: half of the bins on both sides.
#[inline(always)]
fn half_widths<E: Real>(widths: &Partition<E>, bins: usize, knot: usize, lane: usize) -> E {
    let before = if knot > 0 { widths.size(knot - 1, lane) } else { E::zero() };
    let after = if knot < bins { widths.size(knot, lane) } else { E::zero() };
    (before + after) * E::of(0.5)
}

impl<E: Real> Knots<E> for Densities<E> {
    #[inline(always)]
    fn size(&self, bin: usize, lane: usize) -> (E, E) {
        let width = self.widths.size(bin, lane);
        (width, width * self.mean_of_ends(bin, lane))
    }

    #[inline(always)]
    fn slopes(&self, knot: usize) -> Lanes<E> {
        self.densities[knot]
    }

    /// With G the gradients of V, S the sum of [`of_densities`](Self::of_densities): V_j moves with
    /// r_j as V_j - m does, less all of them with their sum, and omega_j with the widths beside it,
    /// ```text
    /// r_j: (V_j - m)(G_j - omega_j S)      omega_j: S (1 - V_j), which is 0 for V_j fixed at 1
    /// ```
    #[inline(always)]
    fn gradient(&self, bin: &Bin<E>, theta: &mut [E]) {
        let (widths, values) = theta.split_at_mut(self.interval.bins * LANES);
        values.fill(E::zero());
        let sum = self.of_densities(bin, values);
        self.widths.gradient(
            #[inline(always)]
            |k, lane| {
                let mean = self.mean_of_ends(k, lane);
                bin.of_width(k, lane)
                    + bin.of_height(k, lane) * mean
                    + sum[lane] * (E::one() - mean)
            },
            widths,
        );
        let first = usize::from(self.interval.tails == Tails::Identity);
        let rows = values.chunks_exact_mut(LANES).zip(&self.mass).zip(&self.densities[first..]);
        for ((gradient, mass), density) in rows {
            for lane in 0..LANES {
                let free = gradient[lane] - mass[lane] * sum[lane];
                gradient[lane] = (density[lane] - E::of(MIN_DENSITY)) * free;
            }
        }
    }
}

/// f = a xi + (b - a) xi^2 / 2, where a + b = 2.
pub(super) struct Parabola;

impl Curve for Parabola {
    #[inline(always)]
    fn at<E: Real>(Unit { xi, left, right, .. }: Unit<E>) -> (E, E) {
        let bend = right - left;
        (xi * (E::of(0.5) * bend).mul_add(xi, left), left * (E::one() - xi) + right * xi)
    }

    #[inline(always)]
    fn solve<E: Real>(value: E, Unit { left, right, .. }: Unit<E>) -> E {
        let discriminant = left * left + E::of(2.0) * (right - left) * value;
        let root = clamp(discriminant, E::zero(), E::infinity()).sqrt();
        (value + value) / (left + root)
    }

    #[inline(always)]
    fn gradient<E: Real>(unit: Unit<E>, value: E, log_slope: E) -> Unit<E> {
        let Unit { xi, left, right, .. } = unit;
        let slope = left * (E::one() - xi) + right * xi;
        let g = log_slope / slope;
        let square = E::of(0.5) * xi * xi;
        Unit {
            xi: value * slope + g * (right - left),
            left: value * (xi - square) + g * (E::one() - xi),
            right: value * square + g * xi,
            shape: E::zero(),
        }
    }
}
