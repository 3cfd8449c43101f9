//! Reparametrised tensors: tensors computed from parameters once for all rows, such as an
//! orthogonal matrix from its generator.

use crate::tape::Tape;
use crate::tensor::{Batch, batch};
use crate::{Real, Result};

/// Records `values`, `(rows, columns)`, as computed from `parameters`; `backward` turns the
/// gradient of the result into one gradient for each of the parameters, in their order.
///
/// An operation may take the result as a parameter. It must be computed on the same tape, before
/// that operation.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) unless there are `rows * columns` values.
pub fn derive<E: Real>(
    parameters: &[&Batch<E>],
    (values, rows, columns): (Vec<E>, usize, usize),
    backward: impl FnOnce(&[E]) -> Vec<Vec<E>> + 'static,
    tape: &mut Tape<E>,
) -> Result<Batch<E>> {
    let derived = batch(values, rows, columns)?;
    if tape.is_recording() {
        let result = derived.clone();
        let parameters: Vec<Batch<E>> = parameters.iter().map(|&p| p.clone()).collect();
        tape.record(move |gradients| {
            let terms = backward(&gradients.take(&result)?);
            parameters.iter().zip(terms).try_for_each(|(p, terms)| gradients.add(p, &terms))
        });
    }
    Ok(derived)
}
