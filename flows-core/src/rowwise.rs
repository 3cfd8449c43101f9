//! Sums and means of per-row values, recorded on the tape.

use crate::lanes::add;
use crate::tape::{Gradients, Tape};
use crate::tensor::{PerRow, Values, per_row};
use crate::{Error, Real, Result};

/// The sum of several per-row tensors.
///
/// # Errors
/// [`Error::Rows`] if they differ in length.
pub fn sum<E: Real>(terms: Vec<PerRow<E>>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
    let rows = terms.first().map_or(0, Values::rows);
    let mut total = vec![E::zero(); rows];
    for term in &terms {
        if term.rows() != rows {
            return Err(Error::Rows { op: "sum", expected: rows, got: term.rows() });
        }
        add(&mut total, &term.values());
    }
    let total = per_row(total)?;
    let result = total.clone();
    tape.record(move |gradients| {
        let incoming = gradients.take(&result)?;
        terms.iter().try_for_each(|term| gradients.add(term, &incoming))
    });
    Ok(total)
}

/// Minus a per-row tensor.
///
/// # Errors
/// [`Error::Tensor`] if memory runs out.
pub fn negated<E: Real>(term: PerRow<E>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
    scaled(term, -1.0, tape)
}

/// A per-row tensor times a number.
///
/// # Errors
/// [`Error::Tensor`] if memory runs out.
pub fn scaled<E: Real>(term: PerRow<E>, factor: f64, tape: &mut Tape<E>) -> Result<PerRow<E>> {
    let factors = vec![E::of(factor); term.rows()];
    weighted(term, factors, tape)
}

/// A per-row tensor times one number for each row.
///
/// # Errors
/// [`Error::Tensor`] if memory runs out.
pub fn weighted<E: Real>(
    term: PerRow<E>,
    factors: Vec<E>,
    tape: &mut Tape<E>,
) -> Result<PerRow<E>> {
    let result = per_row(term.values().iter().zip(&factors).map(|(&v, &f)| f * v).collect())?;
    let output = result.clone();
    tape.record(move |gradients| {
        let mut incoming = gradients.take(&output)?;
        incoming.iter_mut().zip(&factors).for_each(|(value, &factor)| *value *= factor);
        gradients.add(&term, &incoming)
    });
    Ok(result)
}

/// The mean over rows, in double precision whatever the tensors hold.
pub fn mean<E: Real>(values: &PerRow<E>) -> f64 {
    values.values().iter().map(|v| v.as_f64()).sum::<f64>() / values.rows() as f64
}

/// The gradient of `factor` times the mean over rows, for all recorded tensors.
///
/// # Errors
/// Errors of the recorded operations.
pub fn gradient_of_mean<E: Real>(
    factor: f64,
    values: &PerRow<E>,
    tape: Tape<E>,
) -> Result<Gradients<E>> {
    let share = E::of(factor / values.rows() as f64);
    tape.backward(|gradients| gradients.add(values, &vec![share; values.rows()]))
}
