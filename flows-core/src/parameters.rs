//! Named tensors of a model.

use std::fmt::Debug;

use crate::tensor::{Batch, Values};
use crate::{Real, Result};

/// Whether training changes a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Has a gradient and an optimiser state.
    Learned,
    /// Part of the model's state that is saved with it but not trained.
    Fixed,
}

/// A visitor of tensors.
pub type Visitor<'a, E> = dyn FnMut(&str, Role, &Batch<E>) + 'a;
/// A visitor of tensors that may change them.
pub type VisitorMut<'a, E> = dyn FnMut(&str, Role, &mut Batch<E>) -> Result<()> + 'a;

/// A model's tensors under stable names such as `2.conditioner.weight0`, always in the same order.
pub trait Parameters<E: Real>: Debug + Send + Sync {
    /// Visits every tensor.
    fn visit(&self, f: &mut Visitor<'_, E>);

    /// Visits every tensor mutably.
    ///
    /// # Errors
    /// The first error of `f`.
    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()>;

    /// Number of learned scalars.
    fn count(&self) -> usize {
        let mut count = 0;
        self.visit(&mut |_, role, tensor| {
            if role == Role::Learned {
                count += tensor.values().len();
            }
        });
        count
    }
}

/// Visits `part` with `prefix.` before its names.
pub fn visit_part<E: Real>(
    part: &(impl Parameters<E> + ?Sized),
    prefix: &str,
    f: &mut Visitor<'_, E>,
) {
    part.visit(&mut |name, role, tensor| f(&format!("{prefix}.{name}"), role, tensor));
}

/// Visits `part` mutably with `prefix.` before its names.
///
/// # Errors
/// The first error of `f`.
pub fn visit_part_mut<E: Real>(
    part: &mut (impl Parameters<E> + ?Sized),
    prefix: &str,
    f: &mut VisitorMut<'_, E>,
) -> Result<()> {
    part.visit_mut(&mut |name, role, tensor| f(&format!("{prefix}.{name}"), role, tensor))
}
