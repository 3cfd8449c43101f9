//! `low_dim_gauss_mix`: a mixture of two normals on the line, with ordered means.
//!
//! ```text
//! y_i ~ theta N(mu1, s1^2) + (1 - theta) N(mu2, s2^2),
//! mu1 < mu2 ~ N(0, 2^2),   s1, s2 ~ N(0, 2^2), positive,   theta ~ Beta(5, 5)
//! ```
//!
//! # Reference
//! Betancourt, *Identifying Bayesian Mixture Models*, Stan case studies, 2017.

use super::data::Data;
use super::model::{Block, Model, indexed};
use super::normal::normal;
use super::transform::{Log, Logit, Ordered};
use crate::reference_error::Result;
use crate::targets::log_sum_exp::log_sum_exp;

/// Standard deviation of the priors of means and scales.
const PRIOR: f64 = 2.0;
/// Both shapes of the prior of theta, and the inverse of its normaliser, 9! / (4! 4!).
const SHAPE: f64 = 5.0;
const BETA: f64 = 630.0;

/// Over mu1, mu2, s1, s2, theta.
#[derive(Clone, Debug)]
pub(super) struct GaussMix {
    values: Vec<f64>,
}

impl GaussMix {
    pub(super) fn of(data: &Data) -> Result<Self> {
        let count = data.count("N", 1)?;
        Ok(Self { values: data.vector("y", count)? })
    }
}

impl Model for GaussMix {
    fn names(&self) -> Vec<String> {
        let scales = indexed("sigma", 2).into_iter().chain(["theta".to_owned()]);
        indexed("mu", 2).into_iter().chain(scales).collect()
    }

    fn blocks(&self) -> Vec<Block> {
        vec![&Ordered, &Log, &Log, &Logit]
    }

    /// With n_ik = log N(y_i; mu_k, s_k^2) and w_i the posterior weight of the first component,
    /// ```text
    /// log p = sum_i log(theta e^n_i1 + (1 - theta) e^n_i2) + priors
    /// d/dmu1 = sum_i w_i (y_i - mu1) / s1^2 - mu1 / 4,
    /// d/ds1 = sum_i w_i ((y_i - mu1)^2 / s1^3 - 1 / s1) - s1 / 4,
    /// d/dtheta = sum_i (w_i / theta - (1 - w_i) / (1 - theta)) + 4 / theta - 4 / (1 - theta)
    /// ```
    /// and for the second component the same with 1 - w_i.
    fn log_joint(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let (means, scales) = ([parameters[0], parameters[1]], [parameters[2], parameters[3]]);
        let weights = [parameters[4], 1.0 - parameters[4]];
        let logs = weights.map(f64::ln);
        let mut sum = BETA.ln() + (SHAPE - 1.0) * (logs[0] + logs[1]);
        for (slope, parameter) in gradient.iter_mut().zip(means.into_iter().chain(scales)) {
            let (value, [by, _]) = normal(parameter, PRIOR);
            sum += value;
            *slope = by;
        }
        // Expected numbers of values of each component, with those that the prior adds.
        let mut counts = [SHAPE - 1.0; 2];
        for y in &self.values {
            let parts = [0, 1].map(|k| normal(y - means[k], scales[k]));
            let (value, share) = log_sum_exp(logs[0] + parts[0].0, logs[1] + parts[1].0);
            sum += value;
            for (k, share) in [share, 1.0 - share].into_iter().enumerate() {
                let [by_offset, by_scale] = parts[k].1;
                gradient[k] -= share * by_offset;
                gradient[2 + k] += share * by_scale;
                counts[k] += share;
            }
        }
        gradient[4] = counts[0] / weights[0] - counts[1] / weights[1];
        sum
    }
}
