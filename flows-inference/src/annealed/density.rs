//! Log-densities with gradients in the point: of flows, bases and targets.

use std::cell::Cell;

use flows_core::tensor::{batch, cast};
use flows_core::{Base, Batch, Context, Flow, PerRow, Real, Result, Tape, Target, Values, Work};

/// A log-density with its gradient. Other than a [`Target`] it need not be shared between threads, which
/// a flow cannot be.
pub(crate) trait LogDensity {
    fn dim(&self) -> usize;

    /// As [`Target::evaluate`].
    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>>;
}

impl LogDensity for &dyn Target {
    fn dim(&self) -> usize {
        Target::dim(*self)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        Target::evaluate(*self, points, gradients)
    }
}

/// The density of a flow, with the work that its evaluations took.
pub(crate) struct FlowDensity<'a, E: Real> {
    flow: &'a Flow<E>,
    work: Cell<Work>,
}

impl<'a, E: Real> FlowDensity<'a, E> {
    pub(crate) fn new(flow: &'a Flow<E>) -> Self {
        Self { flow, work: Cell::default() }
    }

    pub(crate) fn work(&self) -> Work {
        self.work.get()
    }
}

impl<E: Real> LogDensity for FlowDensity<'_, E> {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        differentiated(points, gradients, self.dim(), |x, tape| {
            let result = self.flow.log_prob(x, &Context::none(), tape)?;
            self.work.set(self.work.get() + result.work);
            Ok(result.value)
        })
    }
}

impl<E: Real> LogDensity for Base<E> {
    fn dim(&self) -> usize {
        Base::dim(self)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        differentiated(points, gradients, Base::dim(self), |z, tape| self.log_prob(z, tape))
    }
}

/// A per-row function of points and its gradient by the tape.
fn differentiated<E: Real>(
    points: &[f64],
    gradients: &mut [f64],
    dim: usize,
    log_density: impl FnOnce(&Batch<E>, &mut Tape<E>) -> Result<PerRow<E>>,
) -> Result<Vec<f64>> {
    let x = batch(cast(points), points.len() / dim, dim)?;
    let mut tape = Tape::recording();
    let value = log_density(&x, &mut tape)?;
    let ones = vec![E::one(); value.rows()];
    let slopes = tape.backward(|gradients| gradients.add(&value, &ones))?.take(&x)?;
    gradients.iter_mut().zip(slopes).for_each(|(gradient, slope)| *gradient = slope.as_f64());
    Ok(value.values().iter().map(|v| v.as_f64()).collect())
}
