//! The exponentially scaled modified Bessel function e⁻ˣ I₀(x).

use std::f64::consts::TAU;

/// Argument at which the asymptotic series replaces the power series.
const SWITCH: f64 = 30.0;

/// e⁻ˣ I₀(x) for x ≥ 0.
///
/// # Accuracy
/// Relative error below 1e-14: all terms of both series are positive, and at x = 30 the
/// asymptotic one has shrunk to rounding level long before it starts to diverge (k ≈ 60).
///
/// # Reference
/// Abramowitz and Stegun, *Handbook of Mathematical Functions*, 9.6.10 and 9.7.1.
pub(super) fn scaled_bessel_i0(x: f64) -> f64 {
    if x < SWITCH {
        // 9.6.10: I₀(x) = Σ (x²/4)ᵏ / (k!)²
        let quarter = 0.25 * x * x;
        (-x).exp() * sum_while_it_grows(|k| quarter / (k * k))
    } else {
        // 9.7.1: e⁻ˣ I₀(x) ~ (2πx)^(−1/2) Σ 1²·3²⋯(2k−1)² / (k! (8x)ᵏ)
        let odd_square = |k: f64| (2.0 * k - 1.0) * (2.0 * k - 1.0);
        sum_while_it_grows(|k| odd_square(k) / (8.0 * k * x)) / (TAU * x).sqrt()
    }
}

/// 1 + r(1) + r(1) r(2) + …, up to the first term that no longer changes the sum.
fn sum_while_it_grows(ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    loop {
        term *= ratio(k);
        let next = sum + term;
        // Asked this way round, a NaN ends the loop too.
        if next > sum {
            (sum, k) = (next, k + 1.0);
        } else {
            return next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::scaled_bessel_i0;

    /// The integral (1/π) ∫₀^π exp(x (cos θ − 1)) dθ by the trapezoidal rule, whose error for this
    /// periodic integrand is I_2n(x), far below rounding for n = 2000 and x ≤ 2000.
    fn integral(x: f64) -> f64 {
        let n = 2000;
        let at = |i: i32| (x * ((PI * f64::from(i) / f64::from(n)).cos() - 1.0)).exp();
        (0.5 * (at(0) + at(n)) + (1..n).map(at).sum::<f64>()) / f64::from(n)
    }

    #[test]
    fn both_series_agree_with_the_integral() {
        for x in [0.0, 0.1, 1.0, 5.0, 20.0, 29.999, 30.0, 30.001, 100.0, 1500.0] {
            let (series, integral) = (scaled_bessel_i0(x), integral(x));
            // The exponent x (cos θ − 1) of the integral carries an absolute error of x ε.
            let tolerance = (1e-14 + 2.0 * x * f64::EPSILON) * integral;
            assert!((series - integral).abs() < tolerance, "x = {x}: {series} {integral}");
        }
    }

    #[test]
    fn an_infinite_argument_gives_zero() {
        assert_eq!(scaled_bessel_i0(f64::INFINITY), 0.0);
    }
}
