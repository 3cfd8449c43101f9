//! Sums and means over values a row, recorded on the tape.

use dfdx::shapes::Rank0;
use dfdx::tensor::{Cpu, PutTape, Tensor, TensorFromVec};
use dfdx::tensor_ops::Backward;

use crate::tensor::{Gradient, Mode, PerRow, Traced, Values, device, per_row};
use crate::{Error, Real, Result};

/// A scalar with the tape that leads back from it.
pub type Scalar<E, T> = Tensor<Rank0, E, Cpu, T>;

/// The sum of several values a row.
///
/// # Errors
/// [`Error::Rows`] if they differ in length.
pub fn sum<E: Real, T: Mode<E>>(terms: Vec<PerRow<E>>, tape: &mut T) -> Result<PerRow<E>> {
    let rows = terms.first().map_or(0, Values::rows);
    let mut total = vec![E::zero(); rows];
    for term in &terms {
        if term.rows() != rows {
            return Err(Error::Rows { op: "sum", expected: rows, got: term.rows() });
        }
        add(&mut total, &term.values());
    }
    let total = per_row(total)?;
    if T::OWNS_TAPE {
        let result = total.clone();
        tape.add_backward_op(move |gradients| {
            let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&result)?);
            for term in &terms {
                add(gradients.get_or_alloc_mut(term)?, &incoming);
            }
            Ok(())
        });
    }
    Ok(total)
}

/// Minus a value a row.
///
/// # Errors
/// Never in practice; [`Error::Tensor`] is the tensor library's.
pub fn negated<E: Real, T: Mode<E>>(term: PerRow<E>, tape: &mut T) -> Result<PerRow<E>> {
    scaled(term, -1.0, tape)
}

/// A value a row times a number.
///
/// # Errors
/// Never in practice; [`Error::Tensor`] is the tensor library's.
pub fn scaled<E: Real, T: Mode<E>>(
    term: PerRow<E>,
    factor: f64,
    tape: &mut T,
) -> Result<PerRow<E>> {
    let factors = vec![E::of(factor); term.rows()];
    weighted(term, factors, tape)
}

/// A value a row times a number of its own.
///
/// # Errors
/// Never in practice; [`Error::Tensor`] is the tensor library's.
pub fn weighted<E: Real, T: Mode<E>>(
    term: PerRow<E>,
    factors: Vec<E>,
    tape: &mut T,
) -> Result<PerRow<E>> {
    let result = per_row(term.values().iter().zip(&factors).map(|(&v, &f)| f * v).collect())?;
    if T::OWNS_TAPE {
        let output = result.clone();
        tape.add_backward_op(move |gradients| {
            let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&output)?);
            let sums = gradients.get_or_alloc_mut(&term)?.iter_mut();
            for ((sum, value), factor) in sums.zip(incoming).zip(factors) {
                *sum += factor * value;
            }
            Ok(())
        });
    }
    Ok(result)
}

/// Minus the mean over rows, in double precision whatever the tensors hold.
///
/// # Errors
/// Never in practice; [`Error::Tensor`] is the tensor library's.
pub fn negative_mean<E: Real>(
    values: PerRow<E>,
    mut tape: Traced<E>,
) -> Result<(f64, Scalar<E, Traced<E>>)> {
    let rows = values.rows();
    let mean = values.values().iter().map(|v| v.as_f64()).sum::<f64>() / rows as f64;
    let scalar: Scalar<E, _> = device().try_tensor_from_vec(vec![E::of(-mean)], ())?;
    let source = scalar.clone();
    tape_weights(&mut tape, values, source, E::of(-1.0 / rows as f64));
    Ok((-mean, scalar.put_tape(tape)))
}

fn tape_weights<E: Real>(
    tape: &mut Traced<E>,
    values: PerRow<E>,
    scalar: Scalar<E, dfdx::tensor::NoneTape>,
    weight: E,
) {
    use dfdx::tensor::Tape;
    tape.add_backward_op(move |gradients| {
        let incoming = gradients.get_or_alloc_mut(&scalar)?[0];
        for gradient in gradients.get_or_alloc_mut(&values)?.iter_mut() {
            *gradient += incoming * weight;
        }
        Ok(())
    });
}

/// Runs the tape backwards from a scalar.
///
/// # Errors
/// Never in practice; [`Error::Tensor`] is the tensor library's.
pub fn backward<E: Real>(scalar: Scalar<E, Traced<E>>) -> Result<Gradient<E>> {
    Ok(scalar.try_backward()?)
}

fn add<E: Real>(total: &mut [E], term: &[E]) {
    for (sum, &value) in total.iter_mut().zip(term) {
        *sum += value;
    }
}
