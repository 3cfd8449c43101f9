//! What the tests share.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::set_values;
use flows_core::{Base, Parameters, Real};
use flows_inference::chain::Diagnostics;

/// Asserts that a mean is within four standard errors of what is expected.
///
/// # Panics
/// With `what` where it is not, or where there is no standard error.
#[track_caller]
pub(crate) fn agrees(what: &str, found: Diagnostics, expected: f64) {
    let error = found.standard_error.unwrap();
    assert!((found.mean - expected).abs() < 4.0 * error, "{what}: {found:?}, not {expected}");
}

/// N(0, scale^2) in each feature, with a location and a scale that are learned.
pub(crate) fn normal_base<E: Real>(dim: usize, scale: f64) -> Base<E> {
    let mut base = Base::diagonal_normal(dim).unwrap();
    let set = base.visit_mut(&mut |name, _, tensor| {
        let value = if name == "location" { 0.0 } else { scale.ln() };
        set_values(tensor, &vec![E::of(value); dim])
    });
    set.unwrap();
    base
}
