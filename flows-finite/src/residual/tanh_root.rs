//! The inverse of one hyperbolic unit of a residual flow, over the lanes of a block.

use flows_core::elementwise::{tanh, vectorised};
use flows_core::{Error, Real, Result};

/// Most evaluations. Newton's method squares the error, except towards a root a near zero with c
/// near -1: there the map is about a^3 / 3 and a step leaves two thirds of the distance, until a^2
/// is 1 + c; from 1 to the square root of epsilon that takes 45 steps.
const MOST: u64 = 100;

/// a with a + c tanh(a) = t for c > -1, in place of `t`; returns the number of evaluations.
///
/// The map is odd, and for positive a concave (c > 0) or convex (c < 0). Newton's method therefore
/// goes monotonically to the root from its left or from its right, with
/// ```text
/// a_0 = max(t - c, t / (1 + c)) for c > 0,   min(t - c, t / (1 + c)) for c < 0   (t > 0)
/// ```
/// and needs no bracket: tanh is below 1 and below its argument. A lane stops where the residual is
/// within rounding of its terms, and does not depend on the others.
///
/// # Errors
/// [`Error::NotConverged`] with the lane as row, where t is not finite or c not above -1.
pub(crate) fn solve<E: Real>(method: &'static str, c: E, t: &mut [E]) -> Result<u64> {
    let targets = t.to_vec();
    vectorised(
        #[inline(always)]
        || t.iter_mut().for_each(|a| *a = start(c, *a)),
    );
    for evaluation in 1..=MOST {
        let mut left = 0;
        vectorised(
            #[inline(always)]
            || {
                for (a, &target) in t.iter_mut().zip(&targets) {
                    let (next, done) = step(c, *a, target);
                    *a = next;
                    left += u32::from(!done);
                }
            },
        );
        if left == 0 {
            return Ok(evaluation);
        }
    }
    let left = t.iter().zip(&targets).position(|(&a, &target)| !step(c, a, target).1);
    let row = left.unwrap_or(0);
    let residual = (t[row] + c * t[row].tanh() - targets[row]).as_f64();
    let advice = "the value or a parameter is not finite, or an earlier layer has blown up";
    Err(Error::NotConverged { method, row, residual, iterations: MOST, advice })
}

#[inline(always)]
fn start<E: Real>(c: E, t: E) -> E {
    let size = t.abs();
    let (far, near) = (size - c, size / (E::one() + c));
    let further = (far > near) == (c > E::zero());
    (if further { far } else { near }).copysign(t)
}

/// Newton's next point and whether `a` is the root already, in which case it stays.
#[inline(always)]
fn step<E: Real>(c: E, a: E, t: E) -> (E, bool) {
    let h = tanh(a);
    let residual = c.mul_add(h, a - t);
    let slope = c.mul_add(E::one() - h * h, E::one());
    // The kernel of tanh is good to four roundings.
    let rounding = E::of(4.0) * E::epsilon() * (a.abs() + (c * h).abs());
    let done = residual.abs() <= rounding;
    (if done { a } else { a - residual / slope }, done)
}
