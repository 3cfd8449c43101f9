//! Exponential, logarithm and related functions as branch-free kernels that the compiler
//! vectorises.
//!
//! Each function is one polynomial after an argument reduction, with selects instead of branches,
//! so that a loop over a slice becomes vector code; [`vectorised`] compiles such a loop for the
//! widest vectors of the machine it runs on. The result of an element does not depend on its place
//! in the slice.
//!
//! # Accuracy
//! Units in the last place against correctly rounded values, largest seen over the range in which
//! the result is a normal number (tested): `exp` 2, `ln` 2, `tanh` 4, `sigmoid` 3, `softplus` 3.

use std::sync::LazyLock;

use crate::Real;

/// Runs `kernel` compiled for the widest vector instructions that this machine has.
///
/// The instruction set is detected at run time, so one portable build is fast everywhere. What
/// `kernel` calls has to be inlined into it; otherwise it is compiled for the oldest machine, where
/// a fused multiply-add is a library call.
#[inline(always)]
pub fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    MACHINE.dispatch(kernel)
}

/// The instruction set, detected once: detection in every kernel would test a dozen features.
static MACHINE: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// e^x: 0 below [`Real::EXP_MIN`], infinite above [`Real::EXP_MAX`].
#[inline(always)]
pub fn exp<E: Real>(x: E) -> E {
    let clamped = clamp(x, E::EXP_MIN, E::EXP_MAX);
    let (tail, half_scale) = reduce(clamped);
    // exp(r) = 1 + (exp(r) - 1): the sum rounds once.
    let value = (tail + E::one()) * half_scale * E::of(2.0);
    let low = if x < E::EXP_MIN { E::zero() } else { value };
    if x > E::EXP_MAX { E::infinity() } else { low }
}

/// exp(r) - 1 and 2^(n-1) for x = n ln 2 + r, |r| <= ln(2)/2.
#[inline(always)]
fn reduce<E: Real>(x: E) -> (E, E) {
    let shifted = x.mul_add(E::of(std::f64::consts::LOG2_E), E::ROUND);
    let n = shifted - E::ROUND;
    let r = n.mul_add(-E::LN_2_LOW, n.mul_add(-E::LN_2_HIGH, x));
    let terms = E::EXP_SERIES;
    let mut series = terms[terms.len() - 1];
    for &term in terms[1..terms.len() - 1].iter().rev() {
        series = series.mul_add(r, term);
    }
    (series * r, shifted.half_power_of_two())
}

/// Natural logarithm: negative infinity at 0, NaN below; subnormal arguments count as the smallest
/// normal number.
#[inline(always)]
pub fn ln<E: Real>(x: E) -> E {
    let normal = clamp(x, E::min_positive_value(), E::max_value());
    let (exponent, mantissa) = normal.exponent_and_mantissa();
    // ln m = 2 atanh((m-1)/(m+1)); m - 1 is exact.
    let fraction = mantissa - E::one();
    let tail = twice_atanh(fraction / (fraction + E::of(2.0)));
    let value = exponent.mul_add(E::LN_2_HIGH, exponent.mul_add(E::LN_2_LOW, tail));
    let at_zero = if x == E::zero() { E::neg_infinity() } else { value };
    let below = if x < E::zero() { E::nan() } else { at_zero };
    // Infinity and NaN, whose bits mean nothing, are their own logarithms.
    if x <= E::max_value() { below } else { x }
}

/// 2 atanh(s) for |s| <= 1/3.
#[inline(always)]
fn twice_atanh<E: Real>(s: E) -> E {
    let square = s * s;
    let terms = E::ATANH_SERIES;
    let mut series = terms[terms.len() - 1];
    for &term in terms[1..terms.len() - 1].iter().rev() {
        series = series.mul_add(square, term);
    }
    let twice = s + s;
    twice.mul_add(series * square, twice)
}

/// Hyperbolic tangent, with full relative accuracy at 0.
#[inline(always)]
pub fn tanh<E: Real>(x: E) -> E {
    // tanh |x| = q / (q + 2) with q = exp(2|x|) - 1; beyond 20 the result is 1 to rounding.
    let size = clamp(x.abs(), E::zero(), E::of(20.0));
    let (tail, half_scale) = reduce(size + size);
    let scale = half_scale + half_scale;
    let q = scale.mul_add(tail, scale - E::one());
    (q / (q + E::of(2.0))).copysign(x)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid<E: Real>(x: E) -> E {
    // e^-|x| cannot overflow; for negative x, sigmoid(x) = e^x / (1 + e^x).
    let small = exp(-x.abs());
    let numerator = if x < E::zero() { small } else { E::one() };
    numerator / (small + E::one())
}

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus<E: Real>(x: E) -> E {
    // max(x, 0) + ln(1 + u), u = e^-|x| in [0, 1]; ln(1 + u) = 2 atanh(u / (2 + u)).
    let u = exp(-x.abs());
    let positive = if x > E::zero() { x } else { E::zero() };
    // NaN must not become 0 by the comparison above; it is carried by u.
    positive + twice_atanh(u / (u + E::of(2.0)))
}

/// `x` limited to [low, high]; NaN stays NaN.
#[inline(always)]
pub fn clamp<E: Real>(x: E, low: E, high: E) -> E {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

/// Replaces every element by its image under `function`.
#[inline(always)]
pub fn map<E: Real>(values: &mut [E], function: impl Fn(E) -> E) {
    vectorised(
        #[inline(always)]
        || {
            for value in values.iter_mut() {
                *value = function(*value);
            }
        },
    );
}
