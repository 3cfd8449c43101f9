//! Comparisons of numbers up to a tolerance.

use crate::Real;

/// Asserts that every value is within `tolerance` of the expected one, relative to 1 + |expected|.
///
/// # Panics
/// With `what`, the place and both values, when one is further away or not a number.
#[track_caller]
pub fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}: number of values");
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(
            difference <= tolerance * (1.0 + expected.abs()),
            "{what} (value {index}): got {got}, expected {expected}, \
             difference {difference:e} above {tolerance:e}"
        );
    }
}

/// [`close`] for one number.
///
/// # Panics
/// As [`close`].
#[track_caller]
pub fn close_number(what: &str, got: f64, expected: f64, tolerance: f64) {
    close(what, &[got], &[expected], tolerance);
}

/// The values in double precision.
#[must_use]
pub fn wide<E: Real>(values: &[E]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64()).collect()
}

/// Largest difference; NaN when one is not a number.
///
/// # Panics
/// When there are not as many values as expected ones.
#[track_caller]
#[must_use]
pub fn largest_difference(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len(), "number of values");
    largest(got.iter().zip(expected).map(|(g, e)| (g - e).abs()))
}

/// Largest difference, each relative to 1 + |expected|; NaN when one is not a number.
///
/// # Panics
/// When there are not as many values as expected ones.
#[track_caller]
#[must_use]
pub fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len(), "number of values");
    largest(got.iter().zip(expected).map(|(g, e)| (g - e).abs() / (1.0 + e.abs())))
}

/// Largest difference relative to the largest expected entry, or to 1 where that is larger: small
/// entries of a gradient carry the rounding of large ones. NaN when one is not a number.
///
/// # Panics
/// When there are not as many values as expected ones.
#[track_caller]
#[must_use]
pub fn distance_to_scale(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len(), "number of values");
    let scale = expected.iter().fold(1.0_f64, |scale, v| scale.max(v.abs()));
    largest(got.iter().zip(expected).map(|(g, e)| (g - e).abs() / scale))
}

/// The maximum, or NaN: `f64::max` would lose it.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, v| if v > most || v.is_nan() { v } else { most })
}
