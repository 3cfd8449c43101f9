//! The inverse of a monotone map without a closed form: Newton's method kept inside a bracket.

use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::Transformer;

/// Most evaluations: bisecting a bracket of any size that `f64` holds down to neighbours takes some
/// 1,100, and Newton's steps, tried first, take about ten.
const MOST: u64 = 2_000;

/// Searches for each lane; see [`invert`].
struct Search<E> {
    low: E,
    high: E,
    /// The bracket's width when it was last known to have halved, and the steps since.
    width: E,
    steps: u32,
    /// Length of the next step outward while one side of the bracket is open.
    stride: E,
    done: bool,
}

impl<E: Real> Search<E> {
    fn new() -> Self {
        let (low, high) = (E::neg_infinity(), E::infinity());
        Self { low, high, width: E::infinity(), steps: 0, stride: E::one(), done: false }
    }

    /// The next point after `x`, where the map is `residual` above its aim with slope `slope`.
    fn next(&mut self, x: E, residual: E, slope: E) -> E {
        if residual > E::zero() {
            self.high = x;
        } else {
            self.low = x;
        }
        let newton = x - residual / slope;
        let two = E::of(2.0);
        if !(self.low.is_finite() && self.high.is_finite()) {
            // Newton's step at most doubles the distance covered, so that a flat place does not
            // throw the search to the end of the numbers; one step at least, so that it moves on.
            let step = self.stride;
            self.stride = self.stride * two;
            let distance = (newton - x).abs();
            let length = if distance > E::zero() && distance < step { distance } else { step };
            // A Newton step that falls short again and again is lengthened by what it covered.
            let length = if self.steps > 8 { step } else { length };
            self.steps += 1;
            return if residual > E::zero() { x - length } else { x + length };
        }
        let width = self.high - self.low;
        self.steps += 1;
        if width <= self.width / two {
            (self.width, self.steps) = (width, 0);
        }
        let inside = newton > self.low && newton < self.high;
        if inside && self.steps < 3 { newton } else { self.low + width / two }
    }
}

/// x with tau(x) = y and -log tau'(x), by evaluations of the forward map; returns how many.
///
/// Ends at |x - root| <= 4 epsilon (1 + |x|), as Newton's step or the bracket tells, or where the
/// value equals y.
///
/// # Errors
/// [`Error::NotConverged`] with the lane as row, where y is outside the range of the map or the map
/// is not finite.
pub(super) fn invert<E: Real, T: Transformer<E>>(
    transformer: &T,
    y: &[E],
    theta: &[E],
    x: &mut [E],
    log_slope: &mut [E],
) -> Result<u64> {
    let mut searches: Vec<Search<E>> = (0..LANES).map(|_| Search::new()).collect();
    let tolerance = E::of(4.0) * E::epsilon();
    let (mut value, mut slope) = ([E::zero(); LANES], [E::zero(); LANES]);
    x.copy_from_slice(y);
    for iteration in 1..=MOST {
        slope.fill(E::zero());
        transformer.forward(x, theta, &mut value, &mut slope)?;
        let mut left = 0;
        for (lane, search) in searches.iter_mut().enumerate().filter(|(_, s)| !s.done) {
            let residual = value[lane] - y[lane];
            if !residual.is_finite() {
                return Err(failure(transformer.name(), lane, residual, iteration));
            }
            let here = x[lane];
            let within = tolerance * (E::one() + here.abs());
            let next = search.next(here, residual, slope[lane].exp());
            let narrow = search.high - search.low <= within;
            let newton = residual.abs() <= within * slope[lane].exp();
            search.done = residual == E::zero() || narrow || newton;
            if !search.done {
                x[lane] = next;
                left += 1;
            }
        }
        if left == 0 {
            for (total, &slope) in log_slope.iter_mut().zip(&slope) {
                *total -= slope;
            }
            return Ok(iteration);
        }
    }
    let lane = searches.iter().position(|search| !search.done).unwrap_or(0);
    Err(failure(transformer.name(), lane, value[lane] - y[lane], MOST))
}

fn failure<E: Real>(method: &'static str, row: usize, residual: E, iterations: u64) -> Error {
    let advice = "the value may be outside the range of the map: check the data for outliers, or \
                  put act-norm or bounded tails around the layer";
    Error::NotConverged { method, row, residual: residual.as_f64(), iterations, advice }
}
