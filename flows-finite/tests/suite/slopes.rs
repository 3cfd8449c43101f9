//! Gradients of one scalar of value and log-det, from the tape and by differences.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::rowwise::{backward, negative_mean};
use flows_core::tensor::{gradient_of, per_row};
use flows_core::{Batch, Mapped, Real, Traced, Values};

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
    mapped: Mapped<E, Traced<E>>,
    tensors: &[Batch<E>],
) -> Vec<Vec<E>> {
    let Mapped { value, log_det, mut tape, .. } = mapped;
    let weights = |count: usize, first| (0..count).map(move |i| E::of(weight(i + first)));
    let (inner, outer) = (weights(value.values().len(), 0), weights(log_det.rows(), 7));
    seed(&mut tape, (value, log_det), (inner.collect(), outer.collect()));
    let (_, scalar) = negative_mean(per_row(vec![E::zero()]).unwrap(), tape).unwrap();
    let mut gradients = backward(scalar).unwrap();
    tensors.iter().map(|tensor| gradient_of(&mut gradients, tensor).unwrap()).collect()
}

fn seed<E: Real, T: flows_core::Mode<E>>(
    tape: &mut T,
    (value, log_det): (Batch<E>, flows_core::PerRow<E>),
    weights: (Vec<E>, Vec<E>),
) {
    tape.add_backward_op(move |gradients| {
        gradients.get_or_alloc_mut(&value)?.copy_from_slice(&weights.0);
        gradients.get_or_alloc_mut(&log_det)?.copy_from_slice(&weights.1);
        Ok(())
    });
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
