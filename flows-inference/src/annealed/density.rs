//! Flows and bases as densities of the point: log-density with its gradient in x by the tape.

use std::sync::{Mutex, PoisonError};

use flows_core::target::at_point;
use flows_core::tensor::{batch, cast};
use flows_core::{Base, Batch, Context, Flow, PerRow, Real, Result, Tape, Target, Values, Work};

/// The density of a flow, with the work that its evaluations took.
#[derive(Debug)]
pub(crate) struct FlowDensity<'a, E: Real> {
    flow: &'a Flow<E>,
    work: Mutex<Work>,
}

impl<'a, E: Real> FlowDensity<'a, E> {
    pub(crate) fn new(flow: &'a Flow<E>) -> Self {
        Self { flow, work: Mutex::default() }
    }

    pub(crate) fn work(&self) -> Work {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Real> Target for FlowDensity<'_, E> {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        differentiated(points, gradients, self.dim(), |x, tape| {
            let result = self.flow.log_prob(x, &Context::none(), tape)?;
            *self.work.lock().unwrap_or_else(PoisonError::into_inner) += result.work;
            Ok(result.value)
        })
    }

    fn is_cheaper_together(&self) -> bool {
        true
    }

    fn log_densities(&self, points: &[f64]) -> Result<Vec<f64>> {
        let (values, work) = self.flow.evaluate(&cast(points), &Context::none())?;
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) += work;
        Ok(values)
    }
}

/// The density of a base.
#[derive(Debug)]
pub(crate) struct BaseDensity<'a, E: Real>(pub(crate) &'a Base<E>);

impl<E: Real> Target for BaseDensity<'_, E> {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn is_cheaper_together(&self) -> bool {
        true
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        differentiated(points, gradients, self.dim(), |z, tape| self.0.log_prob(z, tape))
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
