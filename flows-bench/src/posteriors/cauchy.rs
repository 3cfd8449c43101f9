//! The log-density of a Cauchy distribution and its derivative.

use std::f64::consts::PI;

/// log Cauchy(x; 0, s) and its derivative by x; on the half line it is not doubled, as in posteriordb.
///
/// ```text
/// -log(pi s (1 + (x/s)^2)),   d/dx = -2 x / (s^2 + x^2)
/// ```
pub(super) fn cauchy(x: f64, scale: f64) -> (f64, f64) {
    let z = x / scale;
    (-(PI * scale).ln() - (z * z).ln_1p(), -2.0 * z / (1.0 + z * z) / scale)
}
