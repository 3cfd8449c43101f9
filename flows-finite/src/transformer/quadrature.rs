//! Quadrature rules on [0, 1], computed once in double precision.

use std::f64::consts::PI;
use std::sync::Arc;

/// Nodes in [0, 1] and weights, which sum to 1: the integral of f over [0, x] is about
/// x sum_j w_j f(x t_j).
pub(super) type Rule = Arc<[(f64, f64)]>;

/// Newton steps from the usual start: each doubles the digits, and three or four do.
const NEWTON_STEPS: usize = 8;

/// Gauss-Legendre with `count` nodes, exact for polynomials of degree 2 `count` - 1.
///
/// # Reference
/// Davis, Rabinowitz, *Methods of Numerical Integration*, 2nd ed., 1984, Section 2.7.
pub(super) fn gauss_legendre(count: usize) -> Rule {
    (0..count)
        .map(|index| {
            let mut z = (PI * (index as f64 + 0.75) / (count as f64 + 0.5)).cos();
            for _ in 0..NEWTON_STEPS {
                let (value, slope) = legendre(count, z);
                z -= value / slope;
            }
            let (_, slope) = legendre(count, z);
            // On [-1, 1] the weight is 2 / ((1 - z^2) P'(z)^2).
            ((1.0 - z) / 2.0, 1.0 / ((1.0 - z * z) * slope * slope))
        })
        .collect()
}

/// Legendre polynomial and its derivative at |z| < 1, for a degree of 1 or more.
fn legendre(degree: usize, z: f64) -> (f64, f64) {
    let (mut before, mut here) = (1.0, z);
    for n in 1..degree {
        let n = n as f64;
        (before, here) = (here, ((2.0 * n + 1.0) * z * here - n * before) / (n + 1.0));
    }
    (here, degree as f64 * (before - z * here) / (1.0 - z * z))
}

/// Clenshaw-Curtis with `steps` + 1 nodes in increasing order, both ends among them exactly.
///
/// # Reference
/// Clenshaw, Curtis, *A method for numerical integration on an automatic computer*, Numerische
/// Mathematik 2, 1960; the weights as in Waldvogel, *Fast construction of the Fejer and
/// Clenshaw-Curtis quadrature rules*, BIT 46, 2006.
pub(super) fn clenshaw_curtis(steps: usize) -> Rule {
    let angle = |j: usize| PI * j as f64 / steps as f64;
    (0..=steps)
        .map(|j| {
            let terms = (1..=steps / 2).map(|k| {
                let factor = if 2 * k == steps { 1.0 } else { 2.0 };
                // The angle taken modulo 2 pi as an integer, so that large k lose nothing.
                let cosine = angle(2 * j * k % (2 * steps)).cos();
                factor * cosine / (4.0 * (k * k) as f64 - 1.0)
            });
            let end = if j == 0 || j == steps { 0.5 } else { 1.0 };
            ((1.0 - angle(j).cos()) / 2.0, end / steps as f64 * (1.0 - terms.sum::<f64>()))
        })
        .collect()
}
