//! The log transform, for a positive parameter.

use super::Transform;

/// t = e^u, log |dt/du| = u.
#[derive(Debug)]
pub(in super::super) struct Log;

impl Transform for Log {
    fn constrain(&self, free: &[f64], parameters: &mut [f64]) -> f64 {
        parameters[0] = free[0].exp();
        free[0]
    }

    fn unconstrain(&self, parameters: &[f64], free: &mut [f64]) {
        free[0] = parameters[0].ln();
    }

    /// d/du = t d/dt + 1
    fn pull_back(&self, _: &[f64], parameters: &[f64], gradient: &mut [f64]) {
        gradient[0] = parameters[0] * gradient[0] + 1.0;
    }
}
