//! The scalar map s + (c - 1) tanh s, c > 0: a planar flow along its projection, and a unit of a
//! Sylvester flow.

use flows_core::elementwise::{clamp, exp, tanh, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

/// Largest number of Newton steps; tens are enough for every c of either precision (see [`solve`]).
const MOST: u64 = 500;

/// tanh at one point, and the slope of s + (c - 1) tanh(s) there.
pub(super) struct Unit<E> {
    pub(super) value: E,
    /// q = 1 - tanh^2
    pub(super) steepness: E,
    /// 1 + (c - 1) q as a sum of positive terms
    pub(super) slope: E,
    stretch: E,
}

impl<E: Real> Unit<E> {
    #[inline(always)]
    pub(super) fn new(s: E, stretch: E) -> Self {
        let value = tanh(s);
        // 4 / (e^s + e^-s)^2: 1 - value^2 would keep no digit in the tails.
        let small = exp(-E::of(2.0) * s.abs());
        let half = E::of(2.0) / (E::one() + small);
        let steepness = small * half * half;
        let slope = value * value + stretch * steepness;
        Self { value, steepness, slope, stretch }
    }

    /// Gradients d of s and dc of c, from g.v and the gradient l of the log-det.
    #[inline(always)]
    pub(super) fn gradient(&self, along: E, d_log_det: E) -> (E, E) {
        let (q, share) = (self.steepness, d_log_det / self.slope);
        let bend = E::of(2.0) * share * (self.stretch - E::one()) * self.value * q;
        (q * along - bend, share * q)
    }
}

/// Solves s + (c - 1) tanh s = aim and replaces each aim by s; returns the number of Newton steps.
///
/// The function is odd. For s > 0 it lies between the lines c s and s + c - 1, above both and
/// concave if c > 1, below both and convex if c < 1: Newton's method from the nearer line
/// approaches the root from one side. At worst it moves by half a unit a step where tanh is flat,
/// for some (log c)/2 units, or by a third of s where the cubic term leads, down to sqrt(c).
/// Converged lanes stay, so that no lane depends on another.
///
/// # Errors
/// [`Error::NotConverged`] with the lane as row if an aim or c is not finite.
pub(super) fn solve<E: Real>(method: &'static str, s: &mut [E], stretch: E) -> Result<u64> {
    let goal: [E; LANES] = std::array::from_fn(|lane| s[lane].abs());
    let mut search = Search::new(&goal, stretch);
    for iteration in 1..=MOST {
        if search.step(&goal, stretch) == E::zero() {
            for (s, point) in s.iter_mut().zip(search.point) {
                *s = point.copysign(*s);
            }
            return Ok(iteration);
        }
    }
    let row = search.open.iter().position(|&open| open > E::zero()).unwrap_or(0);
    let residual = search.residual[row].as_f64();
    let advice = "check that the data and the parameters are finite";
    Err(Error::NotConverged { method, row, residual, iterations: MOST, advice })
}

/// A bracket of each root, the point reached, its residual, and 1 for active lanes.
struct Search<E> {
    low: [E; LANES],
    high: [E; LANES],
    point: [E; LANES],
    residual: [E; LANES],
    open: [E; LANES],
}

impl<E: Real> Search<E> {
    fn new(goal: &[E; LANES], stretch: E) -> Self {
        let expands = stretch > E::one();
        let start = goal.map(|goal| {
            let (flat, steep) = (goal - (stretch - E::one()), goal / stretch);
            if (flat > steep) == expands { flat } else { steep }
        });
        let (low, high) = if expands { (start, *goal) } else { (*goal, start) };
        let (residual, open) = ([E::zero(); LANES], [E::one(); LANES]);
        Self { low, high, point: start, residual, open }
    }

    /// One Newton step of the active lanes; returns how many remain.
    fn step(&mut self, goal: &[E; LANES], stretch: E) -> E {
        let unit = E::of(4.0) * E::epsilon();
        let mut left = E::zero();
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let (here, goal) = (self.point[lane], goal[lane]);
                    let Unit { value, slope, .. } = Unit::new(here, stretch);
                    let reached = stretch * value;
                    let residual = (here - value) + reached - goal;
                    let step = residual / slope;
                    let next = clamp(here - step, self.low[lane], self.high[lane]);
                    let rounding = residual.abs() <= unit * (here + reached + goal);
                    let arrived = rounding || step.abs() <= unit * here;
                    let open = self.open[lane] > E::zero();
                    // The last step is taken as well; it squares the error.
                    self.point[lane] = if open { next } else { here };
                    self.residual[lane] = if open { residual } else { self.residual[lane] };
                    self.open[lane] = if open && !arrived { E::one() } else { E::zero() };
                    left += self.open[lane];
                }
            },
        );
        left
    }
}
