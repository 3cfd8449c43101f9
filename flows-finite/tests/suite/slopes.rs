//! Gradients of one scalar of value and log-det, from the tape and by differences.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::{Batch, Mapped, Real, Tape, Values};

/// No symmetry makes the weighted sum insensitive to anything.
fn weight(index: usize) -> f64 {
    1.0 + (index as f64 * 0.7).sin()
}

pub(crate) fn objective(value: &[f64], log_det: &[f64]) -> f64 {
    let terms = value.iter().enumerate().map(|(i, v)| weight(i) * v);
    terms.chain(log_det.iter().enumerate().map(|(i, l)| weight(i + 7) * l)).sum()
}

/// Gradients of [`objective`] for the given tensors.
pub(crate) fn from_tape<E: Real>(
    mapped: &Mapped<E>,
    tape: Tape<E>,
    tensors: &[Batch<E>],
) -> Vec<Vec<E>> {
    let weights = |count: usize, first| (0..count).map(move |i| E::of(weight(i + first)));
    let Mapped { value, log_det, .. } = mapped;
    let gradients = tape.backward(|gradients| {
        gradients.add(value, &weights(value.values().len(), 0).collect::<Vec<_>>())?;
        gradients.add(log_det, &weights(log_det.rows(), 7).collect::<Vec<_>>())
    });
    let mut gradients = gradients.unwrap();
    tensors.iter().map(|tensor| gradients.take(tensor).unwrap()).collect()
}

/// Central differences, their error of order 1e-10 and rounding / 1e-5.
pub(crate) fn differences(values: &[f64], mut function: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut at = |index: usize, step: f64| {
        let mut moved = values.to_vec();
        moved[index] += step;
        function(&moved)
    };
    (0..values.len()).map(|i| (at(i, 1e-5) - at(i, -1e-5)) / 2e-5).collect()
}

/// Largest difference, relative to the largest entry.
pub(crate) fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let size = expected.iter().fold(1.0_f64, |size, v| size.max(v.abs()));
    let differences = got.iter().zip(expected).map(|(g, e)| (g - e).abs() / size);
    differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}
