//! The tape of reverse-mode differentiation, and gradients.

use std::fmt;

use dfdx::shapes::Shape;
use dfdx::tensor::{Cpu, Gradients as Store, Tensor};

use crate::{Error, Real, Result};

/// A tape entry: from the gradients of its results to those of its arguments.
type Backward<E> = Box<dyn FnOnce(&mut Gradients<E>) -> Result<()>>;

/// A gradient tape, or none.
///
/// One tape goes through every call as a value, so that nothing is recorded on a tape that is later
/// dropped. The entries are not dfdx's, which cannot return our errors: a backward pass that fails
/// (an adjoint that cannot be integrated) reports it.
pub struct Tape<E: Real>(Option<Vec<Backward<E>>>);

impl<E: Real> Tape<E> {
    /// A tape that records nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// A tape that records.
    #[must_use]
    pub fn recording() -> Self {
        Self(Some(Vec::new()))
    }

    /// Whether the tape records.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Adds an entry, if the tape records.
    pub fn record(&mut self, backward: impl FnOnce(&mut Gradients<E>) -> Result<()> + 'static) {
        if let Some(entries) = &mut self.0 {
            entries.push(Box::new(backward));
        }
    }

    /// Runs the tape backwards; `start` writes the gradients of its results.
    ///
    /// # Errors
    /// The first error of `start` or of an entry.
    pub fn backward(
        self,
        start: impl FnOnce(&mut Gradients<E>) -> Result<()>,
    ) -> Result<Gradients<E>> {
        let mut gradients = Gradients::new();
        start(&mut gradients)?;
        for entry in self.0.into_iter().flatten().rev() {
            entry(&mut gradients)?;
        }
        Ok(gradients)
    }
}

impl<E: Real> fmt::Debug for Tape<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tape").field(&self.0.as_ref().map(Vec::len)).finish()
    }
}

/// Gradients by tensor, each zero until something is added to it.
#[derive(Debug)]
pub struct Gradients<E: Real>(Store<E, Cpu>);

impl<E: Real> Default for Gradients<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Real> Gradients<E> {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self(Store::leaky())
    }

    /// The gradient of a tensor, row by row.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn of<S: Shape>(&mut self, tensor: &Tensor<S, E, Cpu>) -> Result<&mut [E]> {
        Ok(&mut **self.0.get_or_alloc_mut(tensor)?)
    }

    /// Adds `terms` to the gradient of a tensor.
    ///
    /// # Errors
    /// As [`of`](Self::of); [`Error::Tensors`] if the number of terms differs or the gradient has
    /// been taken.
    pub fn add<S: Shape>(&mut self, tensor: &Tensor<S, E, Cpu>, terms: &[E]) -> Result<()> {
        let sum = self.of(tensor)?;
        check_length(sum.len(), terms.len())?;
        crate::lanes::add(sum, terms);
        Ok(())
    }

    /// Moves `terms` into the gradient of a tensor and leaves zeros; a zero gradient takes over the
    /// vector.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn move_in<S: Shape>(
        &mut self,
        tensor: &Tensor<S, E, Cpu>,
        terms: &mut Vec<E>,
    ) -> Result<()> {
        let sum: &mut Vec<E> = &mut *self.0.get_or_alloc_mut(tensor)?;
        check_length(sum.len(), terms.len())?;
        if sum.iter().all(|value| value.is_zero()) {
            std::mem::swap(sum, terms);
        } else {
            crate::lanes::add(sum, terms);
            terms.fill(E::zero());
        }
        Ok(())
    }

    /// Takes the gradient of a result that nothing else reads.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn take<S: Shape>(&mut self, tensor: &Tensor<S, E, Cpu>) -> Result<Vec<E>> {
        Ok(std::mem::take(&mut **self.0.get_or_alloc_mut(tensor)?))
    }
}

fn check_length(expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let name = "gradient of a tensor".into();
    Err(Error::Tensors { name, expected: format!("{expected} values"), got: got.to_string() })
}
