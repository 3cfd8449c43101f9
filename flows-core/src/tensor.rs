//! Tensors with run-time shapes: aliases of dfdx types.

use std::sync::OnceLock;

use dfdx::shapes::HasShape;
use dfdx::tensor::{CopySlice, Cpu, Tensor, TensorFromVec};

use crate::{Error, Real, Result};

/// `(rows, dim)`
pub type Batch<E> = Tensor<(usize, usize), E, Cpu>;
/// `(rows,)`
pub type PerRow<E> = Tensor<(usize,), E, Cpu>;

/// The device of every tensor, created once: `Cpu::default()` seeds a generator that is not used
/// here.
pub(crate) fn device() -> &'static Cpu {
    static DEVICE: OnceLock<Cpu> = OnceLock::new();
    DEVICE.get_or_init(Cpu::default)
}

/// Values in a flow's precision.
pub fn cast<E: Real>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&value| E::of(value)).collect()
}

/// A batch from values stored row by row.
///
/// # Errors
/// [`Error::Tensor`] unless there are `rows * dim` values.
pub fn batch<E: Real>(values: Vec<E>, rows: usize, dim: usize) -> Result<Batch<E>> {
    Ok(device().try_tensor_from_vec(values, (rows, dim))?)
}

/// One value a row.
///
/// # Errors
/// [`Error::Tensor`] if memory runs out.
pub fn per_row<E: Real>(values: Vec<E>) -> Result<PerRow<E>> {
    let rows = values.len();
    Ok(device().try_tensor_from_vec(values, (rows,))?)
}

/// Shape and values of a tensor.
pub trait Values<E> {
    /// The values, row by row.
    fn values(&self) -> Vec<E>;
    /// Writes the values to the front of `buffer`, which grows if it has to, and returns that front.
    fn read_into<'a>(&self, buffer: &'a mut Vec<E>) -> &'a mut [E];
    /// Number of rows.
    fn rows(&self) -> usize;
}

impl<E: Real> Values<E> for Batch<E> {
    fn values(&self) -> Vec<E> {
        let (rows, dim) = *self.shape();
        let mut values = vec![E::zero(); rows * dim];
        Cpu::copy_into(self, &mut values);
        values
    }

    fn read_into<'a>(&self, buffer: &'a mut Vec<E>) -> &'a mut [E] {
        let (rows, dim) = *self.shape();
        front(buffer, rows * dim, |values| Cpu::copy_into(self, values))
    }

    fn rows(&self) -> usize {
        self.shape().0
    }
}

impl<E: Real> Values<E> for PerRow<E> {
    fn values(&self) -> Vec<E> {
        let mut values = vec![E::zero(); self.shape().0];
        Cpu::copy_into(self, &mut values);
        values
    }

    fn read_into<'a>(&self, buffer: &'a mut Vec<E>) -> &'a mut [E] {
        front(buffer, self.shape().0, |values| Cpu::copy_into(self, values))
    }

    fn rows(&self) -> usize {
        self.shape().0
    }
}

/// Writes the first `count` values of a buffer, which grows if it has to, and returns them.
fn front<E: Real>(buffer: &mut Vec<E>, count: usize, write: impl FnOnce(&mut [E])) -> &mut [E] {
    buffer.resize(buffer.len().max(count), E::zero());
    let values = &mut buffer[..count];
    write(values);
    values
}

/// Number of columns.
pub fn columns<E: Real>(tensor: &Batch<E>) -> usize {
    tensor.shape().1
}

/// Replaces the values of a tensor in place; it stays the same tensor, with the same gradient.
///
/// # Errors
/// [`Error::Tensors`] when the number of values differs.
pub fn set_values<E: Real>(tensor: &mut Batch<E>, values: &[E]) -> Result<()> {
    let (rows, dim) = *tensor.shape();
    if values.len() != rows * dim {
        return Err(Error::Tensors {
            name: "tensor".into(),
            expected: format!("{} values", rows * dim),
            got: format!("{}", values.len()),
        });
    }
    Cpu::copy_from(tensor, values);
    Ok(())
}

/// # Errors
/// [`Error::Dimension`] unless `input` has `expected` columns.
pub fn check_columns<E: Real>(op: &'static str, input: &Batch<E>, expected: usize) -> Result<()> {
    let got = columns(input);
    if got == expected { Ok(()) } else { Err(Error::Dimension { op, expected, got }) }
}
