//! A weighted sum of values and log-dets, and its gradients from the tape.

use crate::bijector::Mapped;
use crate::tape::Tape;
use crate::tensor::{Batch, Values};
use crate::{Real, Result};

/// Weight of an entry: no symmetry makes a sum with these weights insensitive to anything.
#[must_use]
pub fn weight(index: usize) -> f64 {
    1.0 + (index as f64 * 0.7).sin()
}

/// Index of the weight of the first log-det, so that it is not that of the first value.
const LOG_DETS: usize = 7;

/// Sum of all values and log-dets, each times its [`weight`].
#[must_use]
pub fn objective(value: &[f64], log_det: &[f64]) -> f64 {
    let values = value.iter().enumerate().map(|(i, v)| weight(i) * v);
    values.chain(log_det.iter().enumerate().map(|(i, l)| weight(i + LOG_DETS) * l)).sum()
}

/// Gradients of [`objective`] for the given tensors, from the tape.
///
/// # Errors
/// Those of the backward pass.
pub fn objective_gradients<E: Real>(
    mapped: &Mapped<E>,
    tape: Tape<E>,
    tensors: &[Batch<E>],
) -> Result<Vec<Vec<E>>> {
    let weights = |count: usize, first: usize| -> Vec<E> {
        (first..first + count).map(|i| E::of(weight(i))).collect()
    };
    let Mapped { value, log_det, .. } = mapped;
    let mut gradients = tape.backward(|gradients| {
        gradients.add(value, &weights(value.values().len(), 0))?;
        gradients.add(log_det, &weights(log_det.rows(), LOG_DETS))
    })?;
    tensors.iter().map(|tensor| gradients.take(tensor)).collect()
}
