//! Densities between a flow and a target.

use flows_core::target::at_point;
use flows_core::{Result, Target};

use crate::annealed::density::FlowDensity;

/// The geometric path (1 - beta) log q + beta log p~ between a flow q and a target p~, with beta in
/// (0, 1].
#[derive(Debug)]
pub(super) struct Tempered<'a> {
    pub(super) from: &'a FlowDensity<'a, f64>,
    pub(super) target: &'a dyn Target,
    pub(super) beta: f64,
}

impl Tempered<'_> {
    fn mix(&self, log_from: f64, log_target: f64) -> f64 {
        // At beta 1 the flow does not matter, not even where its density is zero.
        let own = if self.beta < 1.0 { (1.0 - self.beta) * log_from } else { 0.0 };
        own + self.beta * log_target
    }
}

impl Target for Tempered<'_> {
    fn dim(&self) -> usize {
        self.target.dim()
    }

    /// Not a number, with its gradient, where [`evaluate`](Self::evaluate) fails.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        let log_target = self.target.evaluate(points, gradients)?;
        let mut slopes = vec![0.0; points.len()];
        let log_from = self.from.evaluate(points, &mut slopes)?;
        let values = log_from.into_iter().zip(log_target);
        let values: Vec<f64> = values.map(|(q, p)| self.mix(q, p)).collect();
        let dim = self.dim();
        let rows = gradients.chunks_mut(dim).zip(slopes.chunks(dim));
        for ((gradient, slope), value) in rows.zip(&values) {
            for (g, s) in gradient.iter_mut().zip(slope) {
                let inside = *value > f64::NEG_INFINITY;
                *g = if inside { self.mix(*s, *g) } else { 0.0 };
            }
        }
        Ok(values)
    }

    fn is_cheaper_together(&self) -> bool {
        self.target.is_cheaper_together() || self.from.is_cheaper_together()
    }

    fn log_densities(&self, points: &[f64]) -> Result<Vec<f64>> {
        let log_target = self.target.log_densities(points)?;
        let log_from = self.from.log_densities(points)?;
        Ok(log_from.into_iter().zip(log_target).map(|(q, p)| self.mix(q, p)).collect())
    }
}
