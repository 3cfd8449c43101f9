//! Inverse bijectors.

use std::sync::Arc;

use crate::bijector::{Bijector, Costs, Mapped};
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::pass::{Direction, Pass};
use crate::tape::Tape;
use crate::tensor::Batch;
use crate::{Context, Real, Result, Space};

/// The inverse of a bijector: its `forward` is the other's `inverse`.
///
/// [`Bijector::initialise`] leaves the parameters as they are and only maps the batch, because the
/// inner bijector sees its base side.
#[derive(Debug)]
pub struct Inverse<E: Real>(Box<dyn Bijector<E>>);

impl<E: Real> Inverse<E> {
    /// The inverse of `bijector`.
    pub fn new(bijector: Box<dyn Bijector<E>>) -> Self {
        Self(bijector)
    }
}

impl<E: Real> Parameters<E> for Inverse<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.0.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.0.visit_mut(f)
    }
}

impl<E: Real> Bijector<E> for Inverse<E> {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn costs(&self) -> Costs {
        self.0.costs().flipped()
    }

    /// A map of a circle has an inverse on the same circle; any other is taken for one of the line.
    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let of_circle = |image| if let Space::Circle(_) = image { image } else { Space::Line };
        Ok(self.0.image_space(from)?.into_iter().map(of_circle).collect())
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.0.inverse(z, context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.0.forward(x, context, tape)
    }

    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        vec![&*self.0]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        vec![&mut *self.0]
    }

    fn pass(&self, direction: Direction, rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        self.0.pass(direction.flipped(), rows)
    }
}
