//! Exponential, logarithm and their kin as branch-free kernels that the compiler vectorises.
//!
//! Each function is one polynomial after an argument reduction, with selects instead of branches,
//! so that a loop over a slice becomes vector code; [`vectorised`] compiles such a loop for the
//! widest vectors of the machine it runs on. The result of an element does not depend on its place
//! in the slice.
//!
//! # Accuracy
//! Units in the last place against correctly rounded values, largest seen over the range in which
//! the result is a normal number (tested): `exp` 2, `ln` 2, `tanh` 4, `sigmoid` 3, `softplus` 3.

use crate::Real;

/// Runs `kernel` compiled for the widest vector instructions that this machine has.
///
/// The machine is asked at run time, so one portable build is fast everywhere; what `kernel` calls
/// has to be inlined into it, or it is compiled for the oldest machine instead, where a fused
/// multiply-add is a library call.
#[inline(always)]
pub fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest error in units in the last place of `E` over a grid, against f64 or an exact rule.
    fn worst<E: Real>(kernel: fn(E) -> E, exact: fn(f64) -> f64, low: f64, high: f64) -> f64 {
        let count = 200_001;
        let points: Vec<E> = (0..count)
            .map(|i| E::of(low + (high - low) * f64::from(i) / f64::from(count - 1)))
            .collect();
        let mut images = points.clone();
        map(&mut images, kernel);
        points
            .iter()
            .zip(&images)
            .map(|(&x, &y)| {
                let truth = exact(x.as_f64());
                let unit = truth.abs() * E::epsilon().as_f64();
                (y.as_f64() - truth).abs() / unit.max(E::min_positive_value().as_f64() * 1e-3)
            })
            .fold(0.0, f64::max)
    }

    fn softplus_f64(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    fn sigmoid_f64(x: f64) -> f64 {
        let small = (-x.abs()).exp();
        (if x < 0.0 { small } else { 1.0 }) / (1.0 + small)
    }

    #[test]
    fn kernels_are_accurate_in_single_precision() {
        // Units of epsilon times the value: up to two units in the last place each.
        assert!(worst::<f32>(exp, f64::exp, -86.98, 88.7) <= 1.5);
        assert!(worst::<f32>(ln, f64::ln, 1e-30, 10.0) <= 1.5);
        assert!(worst::<f32>(ln, f64::ln, 1e-3, 1e30) <= 1.5);
        assert!(worst::<f32>(tanh, f64::tanh, -10.0, 10.0) <= 3.0);
        assert!(worst::<f32>(tanh, f64::tanh, -0.01, 0.01) <= 3.0);
        assert!(worst::<f32>(sigmoid, sigmoid_f64, -80.0, 80.0) <= 2.0);
        assert!(worst::<f32>(softplus, softplus_f64, -80.0, 80.0) <= 2.0);
    }

    #[test]
    fn kernels_are_accurate_in_double_precision() {
        // The standard library is the yardstick here; it is good to about one unit itself.
        assert!(worst::<f64>(exp, f64::exp, -708.0, 709.0) <= 2.5);
        assert!(worst::<f64>(ln, f64::ln, 1e-300, 10.0) <= 2.5);
        assert!(worst::<f64>(tanh, f64::tanh, -10.0, 10.0) <= 4.0);
        assert!(worst::<f64>(sigmoid, sigmoid_f64, -700.0, 700.0) <= 3.0);
        assert!(worst::<f64>(softplus, softplus_f64, -700.0, 700.0) <= 3.0);
    }

    #[test]
    fn limits_are_right_and_nan_stays_nan() {
        fn check<E: Real>() {
            let big = E::max_value();
            assert_eq!(exp(E::neg_infinity()), E::zero());
            assert_eq!(exp(E::infinity()), E::infinity());
            assert_eq!(exp(E::zero()), E::one());
            assert_eq!(ln(E::one()), E::zero());
            assert_eq!(ln(E::zero()), E::neg_infinity());
            assert_eq!(ln(E::infinity()), E::infinity());
            assert!(ln(-E::one()).is_nan());
            assert_eq!(tanh(big), E::one());
            assert_eq!(tanh(-big), -E::one());
            assert_eq!(sigmoid(-big), E::zero());
            assert_eq!(sigmoid(big), E::one());
            assert_eq!(softplus(big), big);
            assert_eq!(softplus(-big), E::zero());
            for kernel in [exp::<E>, ln, tanh, sigmoid, softplus] {
                assert!(kernel(E::nan()).is_nan());
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn an_element_does_not_depend_on_its_place() {
        let value = 0.731_f32;
        for length in [1, 3, 17, 64, 100] {
            let mut values = vec![value; length];
            map(&mut values, tanh);
            assert!(values.iter().all(|v| v.to_bits() == values[0].to_bits()));
            let mut alone = [value];
            map(&mut alone, tanh);
            assert_eq!(alone[0].to_bits(), values[length - 1].to_bits());
        }
    }
}
