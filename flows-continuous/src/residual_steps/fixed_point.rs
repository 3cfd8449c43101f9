//! The inverse of z + g(z) by Banach's fixed-point iteration, if g may fail to be a contraction.

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

/// Relative step at which the iteration of a row ends, in units of epsilon.
const TOLERANCE: f64 = 8.0;

/// Largest relative step, in units of epsilon, that counts as rounding once steps no longer shrink.
const ROUNDING: f64 = 256.0;

/// Most iterations: enough for a Lipschitz constant of g of 0.96 in f64 and 0.98 in f32.
const MOST_ITERATIONS: u64 = 1000;

/// Length of a lane's last step and size of its values, in the maximum norm.
struct Moves<E> {
    step: [E; LANES],
    size: [E; LANES],
}

/// Solves z + g(z) = z' by z <- z' - g(z) and replaces z' by z; `g` writes g(z), `(dim, LANES)`. A
/// lane stops once its step is within the tolerance, so that no row depends on another. Returns the
/// number of iterations.
///
/// # Errors
/// With the lane as row: [`Error::NonFinite`] if g(z') is not finite, [`Error::NotConverged`] if
/// the iteration overflows or takes too long.
pub(crate) fn solve<E: Real>(z: &mut [E], mut g: impl FnMut(&[E], &mut [E])) -> Result<u64> {
    let target = z.to_vec();
    let mut shift = vec![E::zero(); z.len()];
    let mut last = [E::infinity(); LANES];
    let mut resting = [false; LANES];
    let mut iteration = 0;
    loop {
        iteration += 1;
        g(z, &mut shift);
        let moves = advance(&target, &shift, &resting, z);
        for (lane, resting) in resting.iter_mut().enumerate() {
            let relative = moves.step[lane].as_f64() / (1.0 + moves.size[lane].as_f64());
            let units = relative / E::epsilon().as_f64();
            let stalled = units <= ROUNDING && moves.step[lane] >= last[lane];
            *resting |= units <= TOLERANCE || stalled;
        }
        let Some(row) = resting.iter().position(|resting| !resting) else {
            return Ok(iteration);
        };
        if let Some(row) = moves.step.iter().position(|step| !step.is_finite()) {
            return Err(overflow(row, last[row], iteration));
        }
        if iteration == MOST_ITERATIONS {
            return Err(not_converged(row, moves.step[row], iteration));
        }
        last = moves.step;
    }
}

/// z <- z' - g in the active lanes.
fn advance<E: Real>(target: &[E], g: &[E], resting: &[bool; LANES], z: &mut [E]) -> Moves<E> {
    let mut moves = Moves { step: [E::zero(); LANES], size: [E::zero(); LANES] };
    vectorised(
        #[inline(always)]
        || {
            let fixed = target.chunks_exact(LANES).zip(g.chunks_exact(LANES));
            for ((target, g), z) in fixed.zip(z.chunks_exact_mut(LANES)) {
                for lane in 0..LANES {
                    let next = if resting[lane] { z[lane] } else { target[lane] - g[lane] };
                    moves.step[lane] = larger(moves.step[lane], (next - z[lane]).abs());
                    let size = larger(next.abs(), target[lane].abs());
                    moves.size[lane] = larger(moves.size[lane], size);
                    z[lane] = next;
                }
            }
        },
    );
    moves
}

/// The larger of two values; NaN is kept.
#[inline(always)]
fn larger<E: Real>(a: E, b: E) -> E {
    if a >= b || a.is_nan() { a } else { b }
}

/// The error for steps that are not finite: from the first, or after steps that grew.
fn overflow<E: Real>(row: usize, last: E, iteration: u64) -> Error {
    if iteration > 1 {
        return not_converged(row, last, iteration);
    }
    let quantity = "first iterate of the inverse of a residual step";
    let advice = "check the input and the weights for values that are not finite";
    Error::NonFinite { quantity, row, advice }
}

fn not_converged<E: Real>(row: usize, residual: E, iterations: u64) -> Error {
    Error::NotConverged {
        method: "inverse of a residual step",
        row,
        residual: residual.as_f64(),
        iterations,
        advice: "take more steps, so that step length times Lipschitz constant is below 1",
    }
}
