//! Tensors with custom gradients.

use crate::tape::Tape;
use crate::tensor::{Batch, batch};
use crate::{Real, Result};

/// Records `values`, `(rows, columns)`, as a function of `parameters` with a custom gradient:
/// `backward` turns the gradient of the result into one gradient for each of the parameters, in
/// their order.
///
/// An operation may take the result as a parameter, if both are recorded on the same tape.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) unless there are `rows * columns` values.
pub fn custom_gradient<E: Real>(
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
