//! A flow as a density of the point: its log-density with the gradient in x by the tape.

use std::sync::{Mutex, PoisonError};

use flows_core::target::at_point;
use flows_core::tensor::{batch, cast};
use flows_core::{Context, Flow, LogProb, Real, Result, Tape, Target, Values, Work};

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
        let x = batch(cast(points), points.len() / self.dim(), self.dim())?;
        let mut tape = Tape::recording();
        let LogProb { value, work, .. } = self.flow.log_prob(&x, &Context::none(), &mut tape)?;
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) += work;
        let ones = vec![E::one(); value.rows()];
        let slopes = tape.backward(|gradients| gradients.add(&value, &ones))?.take(&x)?;
        gradients.iter_mut().zip(slopes).for_each(|(gradient, slope)| *gradient = slope.as_f64());
        Ok(value.values().iter().map(|v| v.as_f64()).collect())
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
