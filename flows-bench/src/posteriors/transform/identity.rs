//! The identity, for a parameter on the whole line.

use super::Transform;

/// t = u.
#[derive(Debug)]
pub(in super::super) struct Identity;

impl Transform for Identity {
    fn constrain(&self, free: &[f64], parameters: &mut [f64]) -> f64 {
        parameters[0] = free[0];
        0.0
    }

    fn unconstrain(&self, parameters: &[f64], free: &mut [f64]) {
        free[0] = parameters[0];
    }

    fn pull_back(&self, _: &[f64], _: &[f64], _: &mut [f64]) {}
}
