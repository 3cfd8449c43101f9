//! The log-density of a normal and its derivatives.

use std::f64::consts::TAU;

/// log N(x; 0, s^2) of an `offset` x = y - mean and a scale s > 0, and its derivatives by both.
///
/// ```text
/// -(x/s)^2 / 2 - log s - log(2 pi) / 2,   d/dx = -x / s^2,   d/ds = x^2 / s^3 - 1 / s
/// ```
pub(super) fn normal(offset: f64, scale: f64) -> (f64, [f64; 2]) {
    let z = offset / scale;
    let value = -0.5 * z * z - scale.ln() - 0.5 * TAU.ln();
    (value, [-z / scale, (z * z - 1.0) / scale])
}
