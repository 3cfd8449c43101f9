//! Simulators with known posteriors.

use std::f64::consts::TAU;

use flows_core::{Result, Stream, normals};
use flows_inference::simulation::{Marginal, Prior, ProductPrior, Simulator};

/// x | theta ~ N(theta, deviation^2 I) in two dimensions.
#[derive(Debug)]
pub(crate) struct Noisy {
    pub(crate) prior: ProductPrior,
    pub(crate) deviation: f64,
}

impl Noisy {
    /// theta ~ N(0, I), so that theta | x ~ N(x / (1 + s^2), s^2 / (1 + s^2) I).
    pub(crate) fn conjugate(deviation: f64) -> Result<Self> {
        let normal = Marginal::Normal { mean: 0.0, deviation: 1.0 };
        Self::with_prior(normal, deviation)
    }

    pub(crate) fn with_prior(marginal: Marginal, deviation: f64) -> Result<Self> {
        let prior = ProductPrior::new(vec![("a".into(), marginal), ("b".into(), marginal)])?;
        Ok(Self { prior, deviation })
    }

    /// log p(theta | x) of the conjugate model, in nats.
    pub(crate) fn log_posterior(&self, theta: &[f64], x: &[f64]) -> f64 {
        let square = self.deviation * self.deviation;
        let variance = square / (1.0 + square);
        let distance: f64 =
            theta.iter().zip(x).map(|(t, x)| (t - x / (1.0 + square)).powi(2)).sum();
        -0.5 * distance / variance - (TAU * variance).ln()
    }

    /// `rows` draws of theta from that posterior.
    pub(crate) fn posterior_draws(&self, x: &[f64], rows: usize, rng: &mut Stream) -> Vec<f64> {
        let square = self.deviation * self.deviation;
        let spread = (square / (1.0 + square)).sqrt();
        let means = x.iter().cycle().map(|x| x / (1.0 + square));
        normals::<f64>(2 * rows, rng).iter().zip(means).map(|(n, m)| m + spread * n).collect()
    }
}

impl Simulator for Noisy {
    fn prior(&self) -> &dyn Prior {
        &self.prior
    }

    fn data_columns(&self) -> usize {
        2
    }

    fn simulate(&self, parameters: &[f64], rng: &mut Stream) -> Result<Vec<f64>> {
        let noise = normals::<f64>(parameters.len(), rng);
        Ok(parameters.iter().zip(&noise).map(|(t, n)| t + self.deviation * n).collect())
    }
}

/// Mean and its standard error.
pub(crate) fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, (square / (count - 1.0) / count).sqrt())
}
