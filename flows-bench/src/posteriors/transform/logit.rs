//! The logit transform, for a parameter in (0, 1).

use flows_core::elementwise::{sigmoid, softplus};

use super::Transform;

/// t = 1 / (1 + e^-u), log |dt/du| = log t (1 - t) = -softplus(u) - softplus(-u).
#[derive(Debug)]
pub(in super::super) struct Logit;

impl Transform for Logit {
    fn constrain(&self, free: &[f64], parameters: &mut [f64]) -> f64 {
        parameters[0] = sigmoid(free[0]);
        -softplus(free[0]) - softplus(-free[0])
    }

    fn unconstrain(&self, parameters: &[f64], free: &mut [f64]) {
        free[0] = parameters[0].ln() - (-parameters[0]).ln_1p();
    }

    /// d/du = t (1 - t) d/dt + 1 - 2 t
    fn pull_back(&self, free: &[f64], parameters: &[f64], gradient: &mut [f64]) {
        let (t, rest) = (parameters[0], sigmoid(-free[0]));
        gradient[0] = t * rest * gradient[0] + rest - t;
    }
}
