//! Constraining transforms: bijections from the real line onto the support of parameters.
//!
//! # Reference
//! Stan Development Team, *Stan Reference Manual*, chapter "Constraint Transforms".

mod identity;
mod log;
mod logit;
mod ordered;
mod stick_breaking;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

pub(super) use identity::Identity;
pub(super) use log::Log;
pub(super) use logit::Logit;
pub(super) use ordered::Ordered;
pub(super) use stick_breaking::StickBreaking;

/// A bijection from [`width`](Self::width) unconstrained coordinates u to as many parameters t.
///
/// All slices are of that length.
pub(super) trait Transform: Debug + Send + Sync {
    /// Parameters that it maps together.
    fn width(&self) -> usize {
        1
    }

    /// Writes t(u); returns log |det dt/du|.
    fn constrain(&self, free: &[f64], parameters: &mut [f64]) -> f64;

    /// Writes u(t), not finite where t is outside of the support.
    fn unconstrain(&self, parameters: &[f64], free: &mut [f64]);

    /// From the gradient of a function f by t to that of f(t(u)) + log |det dt/du| by u, in place.
    fn pull_back(&self, free: &[f64], parameters: &[f64], gradient: &mut [f64]);
}
