//! The named tensors of a layout.

use crate::parameters::{Role, Visitor, VisitorMut};
use crate::tensor::{Batch, Values, batch, set_values};
use crate::{Error, Layout, Real, Result};

/// The tensors of a layout, visited in its order.
#[derive(Clone, Debug)]
pub struct Tensors<E: Real> {
    names: Vec<(String, Role)>,
    tensors: Vec<Batch<E>>,
}

impl<E: Real> Default for Tensors<E> {
    /// No tensors.
    fn default() -> Self {
        Self { names: Vec::new(), tensors: Vec::new() }
    }
}

impl<E: Real> Tensors<E> {
    /// With the given values, a vector for each tensor.
    ///
    /// # Errors
    /// [`Error::Tensors`] unless there are as many tensors, and as many values in each, as the
    /// layout says.
    pub fn new(layout: Vec<Layout>, values: Vec<Vec<E>>) -> Result<Self> {
        check_count(layout.len(), values.len())?;
        let mut all = Self {
            names: Vec::with_capacity(layout.len()),
            tensors: Vec::with_capacity(layout.len()),
        };
        for (Layout { name, rows, columns, role, .. }, values) in layout.into_iter().zip(values) {
            if values.len() != rows * columns {
                let (expected, got) =
                    (format!("{} values", rows * columns), values.len().to_string());
                return Err(Error::Tensors { name, expected, got });
            }
            all.tensors.push(batch(values, rows, columns)?);
            all.names.push((name, role));
        }
        Ok(all)
    }

    /// All of them, in the order of the layout.
    #[must_use]
    pub fn all(&self) -> &[Batch<E>] {
        &self.tensors
    }

    /// Their values.
    #[must_use]
    pub fn values(&self) -> Vec<Vec<E>> {
        self.tensors.iter().map(Values::values).collect()
    }

    /// Whether each of them is learned.
    pub fn learned(&self) -> impl Iterator<Item = bool> + '_ {
        self.names.iter().map(|(_, role)| *role == Role::Learned)
    }

    /// Replaces all values.
    ///
    /// # Errors
    /// [`Error::Tensors`] where the number of tensors or of values differs.
    pub fn set(&mut self, values: &[Vec<E>]) -> Result<()> {
        check_count(self.tensors.len(), values.len())?;
        self.tensors.iter_mut().zip(values).try_for_each(|(tensor, v)| set_values(tensor, v))
    }

    /// Visits every tensor.
    pub fn visit(&self, f: &mut Visitor<'_, E>) {
        for ((name, role), tensor) in self.names.iter().zip(&self.tensors) {
            f(name, *role, tensor);
        }
    }

    /// Visits every tensor mutably.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        let mut pairs = self.names.iter().zip(&mut self.tensors);
        pairs.try_for_each(|((name, role), tensor)| f(name, *role, tensor))
    }
}

fn check_count(expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let [expected, got] = [expected, got].map(|count| format!("{count} tensors"));
    Err(Error::Tensors { name: "values of a layout".into(), expected, got })
}
