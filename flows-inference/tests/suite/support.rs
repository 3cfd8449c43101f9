//! What the tests share.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

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
