//! The ordered transform, for two parameters of which the first is smaller.

use super::Transform;

/// t1 = u1, t2 = u1 + e^u2, log |det dt/du| = u2.
#[derive(Debug)]
pub(in super::super) struct Ordered;

impl Transform for Ordered {
    fn width(&self) -> usize {
        2
    }

    fn constrain(&self, free: &[f64], parameters: &mut [f64]) -> f64 {
        parameters[0] = free[0];
        parameters[1] = free[0] + free[1].exp();
        free[1]
    }

    fn unconstrain(&self, parameters: &[f64], free: &mut [f64]) {
        free[0] = parameters[0];
        free[1] = (parameters[1] - parameters[0]).ln();
    }

    /// d/du1 = d/dt1 + d/dt2, d/du2 = e^u2 d/dt2 + 1
    fn pull_back(&self, free: &[f64], _: &[f64], gradient: &mut [f64]) {
        gradient[0] += gradient[1];
        gradient[1] = free[1].exp() * gradient[1] + 1.0;
    }
}
