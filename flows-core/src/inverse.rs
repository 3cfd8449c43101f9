//! A bijector with its directions exchanged.

use crate::bijector::{Bijector, Costs, LogDet, Mapped, Purpose};
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::tensor::{Batch, Mode};
use crate::{Context, Real, Result, Stream};

/// The inverse of a bijector: its `forward` is the other's `inverse`.
#[derive(Debug)]
pub struct Inverse<B>(pub B);

impl<E: Real, B: Bijector<E>> Parameters<E> for Inverse<B> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.0.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.0.visit_mut(f)
    }
}

impl<E: Real, B: Bijector<E>> Bijector<E> for Inverse<B> {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn costs(&self) -> Costs {
        self.0.costs().flipped()
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.0.inverse(z, context)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.0.forward(x, context)
    }

    fn log_det(&self) -> LogDet {
        self.0.log_det()
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.0.set_purpose(purpose);
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        self.0.resample_probes(rng);
    }

    // The default `initialise` would initialise nothing: the inner bijector sees its own base side
    // here, so it keeps its parameters and only passes the batch on.
}
