//! Numerical inverses of monotone maps: Newton's method kept inside a bracket.

use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::Transformer;
use super::lanes::exps;

/// Largest number of evaluations: bisection of any `f64` bracket takes some 1,100, and Newton's
/// steps, tried first, about ten.
const MOST: u64 = 2_000;

/// Consecutive Newton steps that may leave one side of the bracket open.
const PATIENCE: u32 = 8;

/// The search of one lane; see [`invert`].
#[derive(Clone, Copy)]
struct Search<E> {
    low: E,
    high: E,
    /// Newton steps since the last other step.
    steps: u32,
    /// Longest Newton step that is taken.
    stride: E,
    /// Whether the last step was Newton's and short enough to leave only rounding.
    refined: bool,
    done: bool,
}

impl<E: Real> Search<E> {
    /// The first step may cover the distance to zero: far out a map is often a straight line.
    fn new(start: E) -> Self {
        let (low, high) = (E::neg_infinity(), E::infinity());
        let stride = E::one() + start.abs();
        Self { low, high, steps: 0, stride, refined: false, done: false }
    }

    /// The next point after `x`, where the map exceeds its aim by `residual` and has slope `slope`.
    fn next(&mut self, x: E, residual: E, slope: E) -> E {
        if residual > E::zero() {
            self.high = x;
        } else {
            self.low = x;
        }
        self.steps += 1;
        let newton = x - residual / slope;
        let open = !(self.low.is_finite() && self.high.is_finite());
        let next = if open { self.outward(x, newton) } else { self.inward(x, newton) };
        // The remaining error is the square of the step times the curvature.
        let short = E::epsilon().powf(E::of(2.0 / 3.0)) * (E::one() + x.abs());
        self.refined = next == newton && (newton - x).abs() <= short;
        next
    }

    /// A Newton step within the stride, which grows when it is used up: a flat place must not throw
    /// the search to the end of the numbers, nor short steps keep it on one side.
    fn outward(&mut self, x: E, newton: E) -> E {
        if (newton - x).abs() <= self.stride && self.steps <= PATIENCE {
            return newton;
        }
        let length = self.stride;
        (self.stride, self.steps) = (length * E::of(4.0), 0);
        if self.high == x { x - length } else { x + length }
    }

    /// A Newton step within the bracket if it is at most half as long as the last step, otherwise
    /// bisection: as long as Newton steps shrink, they may stay on one side.
    fn inward(&mut self, x: E, newton: E) -> E {
        let two = E::of(2.0);
        let length = (newton - x).abs();
        if newton > self.low && newton < self.high && length <= self.stride {
            self.stride = length / two;
            return newton;
        }
        self.stride = (self.high - self.low) / two;
        self.low + self.stride
    }

    /// Whether `x`, with `residual` at an aim of `y`, is as near to the root as rounding allows.
    fn settled(&self, x: E, residual: E, y: E, slope: E) -> bool {
        let epsilon = E::epsilon();
        let within = E::of(4.0) * epsilon * (E::one() + x.abs());
        let size = residual.abs();
        // The rounding of a map is some units of 1 + |y|.
        let rounding = E::of(64.0) * epsilon * (E::one() + y.abs());
        // An infinite slope, as of a cubic root at 0, does not locate the root.
        size <= epsilon * y.abs()
            || (slope.is_finite() && size <= within * slope)
            || self.high - self.low <= within
            || (self.refined && size <= rounding)
    }
}

/// The inverse of a transformer by root search, for maps without an inverse formula.
///
/// [`Transformer::inverse`] of such a map calls this function with its arguments. For each of the
/// LANES elements it writes x with tau(x) = y, subtracts log tau'(x) from `log_slope`, and returns
/// the number of evaluations of [`forward`](Transformer::forward). The method is Newton's, kept
/// inside a bracket that starts at y and grows until it holds the root: slopes that vanish, jump or
/// are infinite at some points only cost steps.
///
/// # Accuracy
/// The error of x is at most 4 epsilon (1 + |x|), as estimated by Newton's step or the bracket. If
/// rounding of the map hides that, the search ends once tau(x) is y to within this rounding.
///
/// # Cost
/// About ten evaluations for a smooth map, at most 2,000. Each evaluates all elements, so the
/// slowest element decides.
///
/// # Errors
/// [`Error::NotConverged`] with the element as row, if y is outside the range of the map, or y or
/// the map is not finite; errors of [`forward`](Transformer::forward).
pub fn invert<E: Real>(
    transformer: &dyn Transformer<E>,
    y: &[E],
    theta: &[E],
    x: &mut [E],
    log_slope: &mut [E],
) -> Result<u64> {
    find(transformer.name(), y, x, log_slope, |x, value, log_slope| {
        transformer.forward(x, theta, value, log_slope)
    })
}

/// Solves for x at which an increasing map is y, for each lane; subtracts the map's log-slope there
/// from `log_slope` and returns the number of evaluations.
///
/// `evaluate` writes the value at x and adds the log-slope to zeros; its last call is at the
/// returned x. The search ends at |x - root| <= 4 epsilon (1 + |x|), as estimated by Newton's step
/// or the bracket, or once the value equals y to the rounding of the map.
///
/// # Errors
/// [`Error::NotConverged`] with the lane as row, if y is outside the range of the map or the map is
/// not finite.
pub(crate) fn find<E: Real>(
    method: &'static str,
    y: &[E],
    x: &mut [E],
    log_slope: &mut [E],
    mut evaluate: impl FnMut(&[E], &mut [E], &mut [E]) -> Result<()>,
) -> Result<u64> {
    let mut searches: Vec<Search<E>> = y.iter().map(|&start| Search::new(start)).collect();
    let (mut value, mut log) = ([E::zero(); LANES], [E::zero(); LANES]);
    x.copy_from_slice(y);
    for iteration in 1..=MOST {
        log.fill(E::zero());
        evaluate(x, &mut value, &mut log)?;
        let slope = exps(log);
        let mut left = 0;
        for (lane, search) in searches.iter_mut().enumerate().filter(|(_, s)| !s.done) {
            let residual = value[lane] - y[lane];
            if !(residual.is_finite() && x[lane].is_finite()) {
                return Err(failure(method, lane, residual, iteration));
            }
            search.done = search.settled(x[lane], residual, y[lane], slope[lane]);
            if !search.done {
                x[lane] = search.next(x[lane], residual, slope[lane]);
                left += 1;
            }
        }
        if left == 0 {
            add(log_slope, &log.map(|log| -log));
            return Ok(iteration);
        }
    }
    let lane = searches.iter().position(|search| !search.done).unwrap_or(0);
    Err(failure(method, lane, value[lane] - y[lane], MOST))
}

fn failure<E: Real>(method: &'static str, row: usize, residual: E, iterations: u64) -> Error {
    let advice = "the value may be outside the range of the map: check the data for outliers, or \
                  put act-norm or bounded tails around the layer";
    Error::NotConverged { method, row, residual: residual.as_f64(), iterations, advice }
}
