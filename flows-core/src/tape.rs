//! The tape of reverse-mode differentiation, and the gradients that it leaves.

use std::fmt;

use dfdx::shapes::Shape;
use dfdx::tensor::{Cpu, Gradients as Store, Tensor};

use crate::{Error, Real, Result};

/// One entry of a tape: from the gradients of its results to those of what it was computed from.
type Backward<E> = Box<dyn FnOnce(&mut Gradients<E>) -> Result<()>>;

/// What has been recorded, or nothing.
///
/// One tape goes through every call as a value, so that nothing can be recorded on a tape that is
/// later dropped. Entries are a list of their own and not one of dfdx, whose entries can return no
/// error of ours: a backward pass that fails (an adjoint that cannot be integrated) says so.
pub struct Tape<E: Real>(Option<Vec<Backward<E>>>);

impl<E: Real> Tape<E> {
    /// Records nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Records from now on.
    #[must_use]
    pub fn recording() -> Self {
        Self(Some(Vec::new()))
    }

    /// Whether anything that is computed now has to be recorded.
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

    /// Runs the tape backwards; `start` writes the gradients of what it ends in.
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
    /// [`Error::Tensor`] where there is no memory for it.
    pub fn of<S: Shape>(&mut self, tensor: &Tensor<S, E, Cpu>) -> Result<&mut [E]> {
        Ok(&mut **self.0.get_or_alloc_mut(tensor)?)
    }

    /// Adds to the gradient of a tensor.
    ///
    /// # Errors
    /// As [`of`](Self::of); [`Error::Tensors`] where the number of terms differs, or the gradient has been
    /// taken already.
    pub fn add<S: Shape>(&mut self, tensor: &Tensor<S, E, Cpu>, terms: &[E]) -> Result<()> {
        let sum = self.of(tensor)?;
        check_length(sum.len(), terms.len())?;
        crate::lanes::add(sum, terms);
        Ok(())
    }

    /// Moves `terms` into the gradient of a tensor and leaves zeros in their place: a gradient that is
    /// zero still takes them over as they are.
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

    /// Takes the gradient of a result that nothing else reads, once its entry has its turn.
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
