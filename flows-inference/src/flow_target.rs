//! The density of a trained flow as a target: probability density distillation.

use flows_core::target::at_point;
use flows_core::{Error, Flow, Real, Result, Target};

use crate::annealed::density::FlowDensity;

/// The density of a flow, the teacher, for another flow to be fitted to, the student; log Z is 0.
///
/// An autoregressive flow that evaluates densities in one pass draws in as many as there are features. Its
/// inverse draws in one, and is hard to train on rows; fitted to the first by reverse KL, it needs densities of
/// its own draws alone, which cost one pass in either flow.
///
/// # Cost
/// A pass of the teacher in the direction of its density, with a gradient.
///
/// # Reference
/// van den Oord et al., *Parallel WaveNet: Fast High-Fidelity Speech Synthesis*, ICML 2018, Section 4.
/// <https://arxiv.org/abs/1711.10433>; review, Section 6.1.
#[derive(Debug)]
pub struct FlowTarget<E: Real> {
    flow: Flow<E>,
}

impl<E: Real> FlowTarget<E> {
    /// The density of `flow`, which is used as it is: for reports,
    /// [`set_purpose`](flows_core::Bijector::set_purpose) comes first.
    ///
    /// # Errors
    /// [`Error::Dimension`] for a flow that takes a context.
    pub fn new(flow: Flow<E>) -> Result<Self> {
        let (expected, got) = (0, flow.bijector().context_dim());
        if expected != got {
            return Err(Error::Dimension { op: "context of a target's flow", expected, got });
        }
        Ok(Self { flow })
    }

    /// The flow.
    pub fn flow(&self) -> &Flow<E> {
        &self.flow
    }
}

impl<E: Real> Target for FlowTarget<E> {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        FlowDensity::new(&self.flow).evaluate(points, gradients)
    }

    fn log_densities(&self, points: &[f64]) -> Result<Vec<f64>> {
        FlowDensity::new(&self.flow).log_densities(points)
    }
}
