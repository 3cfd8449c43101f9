//! The inverse of z + g(z) by Banach's fixed-point iteration.

use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::tangents::{At, Pass, Residual};

/// Stopping rule of the iteration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    /// Largest error of z, relative to 1 + max(|z|, |x|) in the maximum norm.
    pub(super) tolerance: f64,
    /// Lipschitz constant L of g in the Euclidean norm.
    pub(super) lipschitz: f64,
}

/// Largest step that may be rounding, in units of epsilon / (1 - L).
const ROUNDING: f64 = 16.0;

impl Stopping {
    /// The relative step, in the maximum norm, at which the error is within the tolerance:
    /// |z_k+1 - z*| <= L / (1 - L) |z_k+1 - z_k|, with sqrt(D) between the two norms.
    fn step(self, dim: usize) -> f64 {
        self.tolerance * (1.0 - self.lipschitz) / (self.lipschitz * (dim as f64).sqrt())
    }

    /// The relative step below which steps that do not shrink are rounding: if the slope of g is
    /// near L, rounding errors of epsilon add up to epsilon / (1 - L).
    fn rounding<E: Real>(self) -> f64 {
        ROUNDING * E::epsilon().as_f64() / (1.0 - self.lipschitz)
    }

    /// Iterations after which a step of `excess` times the required one has shrunk to it, by L
    /// each; doubled, because power iteration bounds L from below only.
    fn most(self, dim: usize, excess: f64) -> u64 {
        let needed = (excess * (dim as f64).sqrt()).ln() / -self.lipschitz.ln();
        16 + (2.0 * needed).ceil() as u64
    }
}

/// Length of a lane's last step and size of its values, in the maximum norm.
struct Moves<E> {
    step: [E; LANES],
    size: [E; LANES],
}

/// Solves z + g(z) = x by z <- x - g(z) from z = x. A lane stops once its step is small enough, or
/// at the level of rounding and no longer shrinking, so that no row depends on another. Returns the
/// number of iterations.
///
/// # Errors
/// [`Error::NotConverged`], with the lane as row, if steps do not shrink as expected.
pub(super) fn solve<E: Real>(
    residual: &Residual,
    x: &[E],
    (context, parameters): (&[E], &[&[E]]),
    stopping: Stopping,
    (z, pass): (&mut [E], &mut Pass<E>),
) -> Result<u64> {
    let (aim, rounding) = (stopping.step(residual.dim), stopping.rounding::<E>());
    let mut last = [E::zero(); LANES];
    let mut resting = [false; LANES];
    let (mut iteration, mut most) = (0, 0);
    z.copy_from_slice(x);
    loop {
        iteration += 1;
        residual.run(At { z, context, parameters }, &[], pass);
        let moves = advance(x, pass.values(residual.dim), &resting, z);
        let relative = |lane: usize| moves.step[lane].as_f64() / (1.0 + moves.size[lane].as_f64());
        let excess = |lane: usize| relative(lane) / aim;
        if iteration == 1 {
            most = stopping.most(residual.dim, (0..LANES).map(excess).fold(1.0, f64::max));
        }
        for (lane, resting) in resting.iter_mut().enumerate() {
            let stalled = relative(lane) <= rounding && moves.step[lane] >= last[lane];
            *resting |= excess(lane) <= 1.0 || (stalled && iteration > 1);
        }
        let Some(row) = resting.iter().position(|resting| !resting) else {
            return Ok(iteration);
        };
        let broken = (0..LANES).find(|&lane| !excess(lane).is_finite());
        if broken.is_some() || iteration >= most {
            let row = broken.unwrap_or(row);
            return Err(failure(row, moves.step[row].as_f64(), iteration));
        }
        last = moves.step;
    }
}

/// z <- x - g in the active lanes.
fn advance<'a, E: Real>(
    x: &[E],
    g: impl Iterator<Item = &'a [E]>,
    resting: &[bool; LANES],
    z: &mut [E],
) -> Moves<E> {
    let mut moves = Moves { step: [E::zero(); LANES], size: [E::zero(); LANES] };
    let rows = x.chunks_exact(LANES).zip(g).zip(z.chunks_exact_mut(LANES));
    for ((x, g), z) in rows {
        for lane in 0..LANES {
            let next = if resting[lane] { z[lane] } else { x[lane] - g[lane] };
            moves.step[lane] = larger(moves.step[lane], (next - z[lane]).abs());
            moves.size[lane] = larger(moves.size[lane], larger(next.abs(), x[lane].abs()));
            z[lane] = next;
        }
    }
    moves
}

/// The larger of two values; NaN is kept.
#[inline(always)]
fn larger<E: Real>(a: E, b: E) -> E {
    if a >= b || a.is_nan() { a } else { b }
}

fn failure(row: usize, residual: f64, iterations: u64) -> Error {
    Error::NotConverged {
        method: "inverse of a contractive layer",
        row,
        residual,
        iterations,
        advice: "check the input for values that are not finite; set the flow for reporting after \
                 its weights have changed, or lower the Lipschitz coefficient",
    }
}
