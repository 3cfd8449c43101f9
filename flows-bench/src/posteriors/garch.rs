//! `garch11`: generalised autoregressive conditional heteroscedasticity of order (1, 1).
//!
//! ```text
//! y_t ~ N(mu, h_t),   h_1 = sigma_1^2,   h_t = a0 + a1 (y_(t-1) - mu)^2 + b1 h_(t-1)
//! ```
//! with flat priors on a0 > 0, a1 in (0, 1), b1 in (0, 1 - a1) and mu.
//!
//! # Reference
//! Bollerslev, *Generalized Autoregressive Conditional Heteroskedasticity*, J. Econometrics 31, 1986;
//! Stan Development Team, *Stan User's Guide*, section "Modeling temporal heteroscedasticity".

use std::f64::consts::TAU;

use super::data::Data;
use super::model::{Block, Model};
use super::transform::{Identity, Log, StickBreaking};
use crate::reference_error::Result;

/// Over mu, a0, a1, b1.
#[derive(Clone, Debug)]
pub(super) struct Garch {
    series: Vec<f64>,
    /// h_1
    first_variance: f64,
}

impl Garch {
    pub(super) fn of(data: &Data) -> Result<Self> {
        let length = data.count("T", 2)?;
        let first_variance = data.positive("sigma1")?.powi(2);
        Ok(Self { series: data.vector("y", length)?, first_variance })
    }
}

impl Model for Garch {
    fn names(&self) -> Vec<String> {
        ["mu", "alpha0", "alpha1", "beta1"].map(str::to_owned).to_vec()
    }

    fn blocks(&self) -> Vec<Block> {
        vec![&Identity, &Log, &StickBreaking]
    }

    /// With e_t = y_t - mu, log p = -sum_t (e_t^2 / h_t + log h_t + log 2 pi) / 2. By h_t its derivative is
    /// (e_t^2 / h_t - 1) / (2 h_t), and h_t has the derivatives
    /// ```text
    /// dh_t = (-2 a1 e_(t-1), 1, e_(t-1)^2, h_(t-1)) + b1 dh_(t-1)   by (mu, a0, a1, b1)
    /// ```
    /// from dh_1 = 0; by mu there is e_t / h_t as well.
    fn log_joint(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let [mu, a0, a1, b1] = [parameters[0], parameters[1], parameters[2], parameters[3]];
        gradient.fill(0.0);
        let (mut variance, mut slopes) = (self.first_variance, [0.0; 4]);
        let mut sum = -0.5 * self.series.len() as f64 * TAU.ln();
        for y in &self.series {
            let error = y - mu;
            let square = error * error;
            let ratio = square / variance;
            sum -= 0.5 * (ratio + variance.ln());
            let by_variance = 0.5 * (ratio - 1.0) / variance;
            gradient.iter_mut().zip(slopes).for_each(|(by, slope)| *by += by_variance * slope);
            gradient[0] += error / variance;
            let direct = [-2.0 * a1 * error, 1.0, square, variance];
            slopes.iter_mut().zip(direct).for_each(|(slope, own)| *slope = own + b1 * *slope);
            variance = a0 + a1 * square + b1 * variance;
        }
        sum
    }
}
