//! Quantiles of the standard normal distribution from the logarithm of its tail.

use flows_core::Real;
use flows_core::elementwise::{clamp, ln, vectorised};
use flows_core::operation::LANES;

use super::lanes::{Lanes, exps, lanes, softpluses};

/// Coefficients of s^0, s^1, .. of (1 + t) M(t), where s = (t - 5) / (t + 5) runs over [-1, 1] and
/// M(t) = (1 - Phi(t)) / phi(t) is Mills' ratio. They are those of the Chebyshev series of degree
/// 23, computed with 40 digits; what is left out is below 1e-16. The substitution is that of
/// Shepherd and Laframboise, *Chebyshev approximation of (1+2x)exp(x^2)erfc(x) in 0 <= x <
/// infinity*, Mathematics of Computation 36, 1981.
const MILLS: [f64; 24] = [
    1.1568486282918946,
    -0.22948753825211315,
    0.07778159886873769,
    0.0250721793016388,
    -0.0661776007790963,
    0.0615050458401865,
    -0.03802659218584139,
    0.01634823128102938,
    -0.004201290329187307,
    1.9530638370790786e-05,
    0.00045704392357953655,
    -0.0001343742785571135,
    -2.480583845192319e-05,
    2.270961270923768e-05,
    -1.7633239265736746e-07,
    -3.277287633208865e-06,
    3.2054316652589574e-07,
    4.91996233147834e-07,
    -6.588974491108954e-08,
    -7.758520236786343e-08,
    9.092476134019147e-09,
    1.1032071151574336e-08,
    -7.073898575561589e-10,
    -9.564832934712551e-10,
];

/// log(2 pi) / 2
const LOG_ROOT_TAU: f64 = 0.918_938_533_204_672_8;

/// M(t) = (1 - Phi(t)) / phi(t) for t >= 0, to 4 units in the last place.
#[inline(always)]
fn mills<E: Real>(t: E) -> E {
    let s = (t - E::of(5.0)) / (t + E::of(5.0));
    let mut sum = E::zero();
    for &coefficient in MILLS.iter().rev() {
        sum = sum.mul_add(s, E::of(coefficient));
    }
    sum / (t + E::one())
}

/// logit Phi(3): where the quantile of the standard normal distribution becomes a straight line.
const STRAIGHT_FROM: f64 = 6.606_375_411_545_6;

/// Whether the map of v is the quantile there, and not its straight continuation.
#[inline(always)]
pub(super) fn is_curved<E: Real>(v: E) -> bool {
    v.abs() < E::of(STRAIGHT_FROM)
}

/// y = Phi^-1(sigmoid(v)) for |y| <= 3, its tangents at +-3 beyond, and log dy/dv of each lane.
pub(super) fn straightened_normal_of_logit<E: Real>(v: &Lanes<E>) -> (Lanes<E>, Lanes<E>) {
    let end = E::of(STRAIGHT_FROM);
    let nearest = lanes(|i| clamp(v[i], -end, end));
    let (y, log_rate) = normal_of_logit(&nearest);
    let rate = exps(log_rate);
    (lanes(|i| rate[i].mul_add(v[i] - nearest[i], y[i])), log_rate)
}

/// y = Phi^-1(sigmoid(v)) and log dy/dv of each lane.
///
/// With t = |y| and the smaller tail 1 - Phi(t) = sigmoid(-|v|) = e^-tail,
/// ```text
/// log(1 - Phi(t)) = -t^2/2 - log(2 pi)/2 + log M(t)
/// dy/dv = sigmoid(v) sigmoid(-v) / phi(y) = sigmoid(|v|) M(t)
/// ```
/// The first equation is solved for t; nothing is ever the exponential of -tail.
#[inline(never)]
fn normal_of_logit<E: Real>(v: &Lanes<E>) -> (Lanes<E>, Lanes<E>) {
    let tail = softpluses(lanes(|i| v[i].abs()));
    let mut y = tail;
    let mut log_rate = softpluses(lanes(|i| -v[i].abs()));
    vectorised(
        #[inline(always)]
        || {
            for i in 0..LANES {
                // The start is within 4.5e-4; each step cubes the error, times at most 1/2.
                let t = halley(halley(first_guess(tail[i]), tail[i]), tail[i]);
                y[i] = t.copysign(v[i]);
                log_rate[i] = ln(mills(t)) - log_rate[i];
            }
        },
    );
    (y, log_rate)
}

/// Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.2.23.
#[inline(always)]
fn first_guess<E: Real>(tail: E) -> E {
    let r = (tail + tail).sqrt();
    let above = E::of(0.010328).mul_add(r, E::of(0.802853)).mul_add(r, E::of(2.515517));
    let below = E::of(0.001308).mul_add(r, E::of(0.189269)).mul_add(r, E::of(1.432788));
    r - above / below.mul_add(r, E::one())
}

/// One step of Halley's method on f(t) = log(1 - Phi(t)) + tail: f' = -1/M, M' = t M - 1.
#[inline(always)]
fn halley<E: Real>(t: E, tail: E) -> E {
    let m = mills(t);
    let half = E::of(0.5);
    let f = tail - t * (half * t) - E::of(LOG_ROOT_TAU) + ln(m);
    // Less than 3e-4 after the first guess; the rounding of a huge tail must not make it more.
    let bend = clamp(half * f * (E::one() - t * m), E::of(-1e-3), E::of(1e-3));
    t + m * f / (E::one() + bend)
}
