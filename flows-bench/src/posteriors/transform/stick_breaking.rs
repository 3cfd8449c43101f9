//! The stick-breaking transform, for two positive parameters whose sum is below 1.

use flows_core::elementwise::{sigmoid, softplus};

use super::Transform;

/// The logit for a in (0, 1), then the scaled logit for b in (0, 1 - a).
///
/// With s = sigmoid(v),
/// ```text
/// a = sigmoid(u),   b = (1 - a) s,
/// log |det d(a, b)/d(u, v)| = log a (1 - a) + log (1 - a) + log s (1 - s)
/// ```
#[derive(Debug)]
pub(in super::super) struct StickBreaking;

impl Transform for StickBreaking {
    fn width(&self) -> usize {
        2
    }

    fn constrain(&self, free: &[f64], parameters: &mut [f64]) -> f64 {
        let [u, v] = [free[0], free[1]];
        parameters[0] = sigmoid(u);
        parameters[1] = sigmoid(-u) * sigmoid(v);
        -softplus(-u) - 2.0 * softplus(u) - softplus(-v) - softplus(v)
    }

    /// u = log a / (1 - a), v = log b / (1 - a - b).
    fn unconstrain(&self, parameters: &[f64], free: &mut [f64]) {
        let [a, b] = [parameters[0], parameters[1]];
        free[0] = a.ln() - (-a).ln_1p();
        free[1] = b.ln() - (1.0 - a - b).ln();
    }

    /// da/du = a (1 - a), db/du = -a b, db/dv = b (1 - s);
    /// the log-Jacobian adds 1 - 3 a by u and 1 - 2 s by v.
    fn pull_back(&self, free: &[f64], parameters: &[f64], gradient: &mut [f64]) {
        let [a, b] = [parameters[0], parameters[1]];
        let [by_a, by_b] = [gradient[0], gradient[1]];
        let (share, rest) = (sigmoid(free[1]), sigmoid(-free[1]));
        gradient[0] = a * (sigmoid(-free[0]) * by_a - b * by_b) + 1.0 - 3.0 * a;
        gradient[1] = b * rest * by_b + rest - share;
    }
}
