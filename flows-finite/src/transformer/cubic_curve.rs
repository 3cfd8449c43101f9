//! Monotone cubics on the unit square, and their inverse.

use flows_core::Real;

use super::rational_quadratic::RationalQuadraticCurve;
use super::spline::{Curve, Unit};

/// With r = 1 - xi and slopes a and b at the ends,
/// ```text
/// f = a xi r^2 + (3 - b) xi^2 r + xi^3      f' = a r^2 + 2 (3 - a - b) xi r + b xi^2
/// ```
/// in Bernstein's form: with a, b <= 3 no term of f cancels another, and those of f' hardly do.
pub(super) struct CubicCurve;

/// Steps of [`CubicCurve::solve`]: over a and b from 1e-6 to 3 and all xi, 4 leave 1e-10 in double
/// precision, 5 rounding alone.
const STEPS: usize = 6;

impl Curve for CubicCurve {
    #[inline(always)]
    fn at<E: Real>(Unit { xi, left, right, .. }: Unit<E>) -> (E, E) {
        let (rest, three) = (E::one() - xi, E::of(3.0));
        let value = left * xi * rest * rest + (three - right) * xi * xi * rest + xi * xi * xi;
        let middle = (three - left - right) * xi * rest;
        (value, left * rest * rest + (middle + middle) + right * xi * xi)
    }

    /// Starts at the root of the rational-quadratic curve with the same slopes and takes a fixed
    /// number of steps to the root of the local parabola, kept inside a bracket.
    ///
    /// The formulas of Cardano and Viète lose half of the digits next to multiple roots, which flat
    /// knots cause, and would need such steps as well. The error shrinks with the third power, also
    /// at a double root, where Newton's method only halves it. The number is fixed so that a result
    /// does not depend on other lanes.
    #[inline(always)]
    fn solve<E: Real>(value: E, ends: Unit<E>) -> E {
        let (zero, one, two) = (E::zero(), E::one(), E::of(2.0));
        let (a, b) = (ends.left, ends.right);
        let inflection = two * (E::of(3.0) - a - a - b);
        let bend = E::of(6.0) * (a + b - two);
        let (mut low, mut high) = (zero, one);
        let start = RationalQuadraticCurve::solve(value, ends);
        let mut xi = if start < one { start } else { one };
        for _ in 0..STEPS {
            let (f, slope) = Self::at(Unit { xi, ..ends });
            let above = f - value;
            low = if above <= zero { xi } else { low };
            high = if above >= zero { xi } else { high };
            let curvature = bend.mul_add(xi, inflection);
            let discriminant = slope * slope - two * above * curvature;
            let root = if discriminant > zero { discriminant } else { zero }.sqrt();
            let next = xi - two * above / (slope + root);
            let inside = next >= low && next <= high;
            xi = if inside { next } else { (low + high) / two };
        }
        xi
    }

    #[inline(always)]
    fn gradient<E: Real>(unit: Unit<E>, value: E, log_slope: E) -> Unit<E> {
        let Unit { xi, left, right, .. } = unit;
        let (rest, two) = (E::one() - xi, E::of(2.0));
        let (_, slope) = Self::at(unit);
        let g = log_slope / slope;
        let curvature =
            two * (E::of(3.0) * (left + right - two) * xi + (E::of(3.0) - left - left - right));
        let q = xi * rest;
        Unit {
            xi: value * slope + g * curvature,
            left: value * q * rest + g * (rest * rest - two * q),
            right: -value * q * xi + g * (xi * xi - two * q),
            shape: E::zero(),
        }
    }
}
