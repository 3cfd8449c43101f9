//! Tensors computed from parameters once for all rows, such as an orthogonal matrix from its
//! generator.

use crate::tensor::{Batch, Mode, batch};
use crate::{Real, Result};

/// Records `values`, `(rows, columns)`, as computed from `parameters`: `backward` turns the gradient
/// of the result into the gradients of the parameters, one for each, in their order.
///
/// The result is a parameter of whatever operation uses it; it has to be derived on the same tape,
/// before that operation.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) unless there are `rows * columns` values.
pub fn derive<E: Real, T: Mode<E>>(
    parameters: &[&Batch<E>],
    (values, rows, columns): (Vec<E>, usize, usize),
    backward: impl FnOnce(&[E]) -> Vec<Vec<E>> + 'static,
    tape: &mut T,
) -> Result<Batch<E>> {
    let derived = batch(values, rows, columns)?;
    if T::OWNS_TAPE {
        let result = derived.clone();
        let parameters: Vec<Batch<E>> = parameters.iter().map(|&p| p.clone()).collect();
        tape.add_backward_op(move |gradients| {
            let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&result)?);
            for (parameter, terms) in parameters.iter().zip(backward(&incoming)) {
                let total = gradients.get_or_alloc_mut(parameter)?;
                for (total, term) in total.iter_mut().zip(terms) {
                    *total += term;
                }
            }
            Ok(())
        });
    }
    Ok(derived)
}
