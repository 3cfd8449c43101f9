//! Linear regressions with normal errors: `arK`, `sblrc-blr` and `kidiq-kidscore_interaction`.
//!
//! ```text
//! y ~ N(X beta, sigma^2 I),   beta ~ N(0, s^2 I) or flat,   sigma > 0 of a Cauchy or normal prior
//! ```
//!
//! # Reference
//! Gelman, Hill, *Data Analysis Using Regression and Multilevel/Hierarchical Models*, 2007, chapter 3
//! (`kidscore_interaction`); Stan Development Team, *Stan User's Guide*, section "Autoregressive models"
//! (`arK`).

use std::f64::consts::TAU;

use super::cauchy::cauchy;
use super::data::Data;
use super::model::{Block, Model, identities, indexed};
use super::normal::normal;
use super::transform::Log;
use crate::reference_error::Result;

/// The prior of the error's scale, not doubled on the half line.
#[derive(Clone, Copy, Debug)]
enum ScalePrior {
    Cauchy(f64),
    Normal(f64),
}

impl ScalePrior {
    fn log_density(self, sigma: f64) -> (f64, f64) {
        match self {
            Self::Cauchy(scale) => cauchy(sigma, scale),
            Self::Normal(scale) => {
                let (value, [slope, _]) = normal(sigma, scale);
                (value, slope)
            }
        }
    }
}

/// Over the coefficients and sigma.
#[derive(Clone, Debug)]
pub(super) struct Regression {
    /// Names of the coefficients, one a column of the design.
    coefficients: Vec<String>,
    /// X, row-major.
    design: Vec<f64>,
    outcome: Vec<f64>,
    /// Standard deviation of the coefficients' prior; flat without one.
    prior: Option<f64>,
    scale_prior: ScalePrior,
}

impl Regression {
    /// An autoregression of order K: y_t ~ N(alpha + sum_k beta_k y_(t-k), sigma^2), t > K;
    /// alpha, beta ~ N(0, 10^2), sigma ~ Cauchy(0, 2.5).
    pub(super) fn autoregressive(data: &Data) -> Result<Self> {
        let order = data.count("K", 1)?;
        let length = data.count("T", order.saturating_add(1))?;
        let series = data.vector("y", length)?;
        let design = series.windows(order + 1).flat_map(|window| {
            let lags = window[..order].iter().rev().copied();
            std::iter::once(1.0).chain(lags)
        });
        let names = std::iter::once("alpha".to_owned()).chain(indexed("beta", order));
        Ok(Self {
            coefficients: names.collect(),
            design: design.collect(),
            outcome: series[order..].to_vec(),
            prior: Some(10.0),
            scale_prior: ScalePrior::Cauchy(2.5),
        })
    }

    /// y ~ N(X beta, sigma^2), beta ~ N(0, 10^2), sigma ~ N(0, 10^2).
    pub(super) fn bayesian(data: &Data) -> Result<Self> {
        let (rows, columns) = (data.count("N", 1)?, data.count("D", 1)?);
        Ok(Self {
            coefficients: indexed("beta", columns),
            design: data.matrix("X", rows, columns)?,
            outcome: data.vector("y", rows)?,
            prior: Some(10.0),
            scale_prior: ScalePrior::Normal(10.0),
        })
    }

    /// Scores of children on whether the mother finished high school, her IQ, and their product;
    /// flat beta, sigma ~ Cauchy(0, 2.5).
    pub(super) fn kid_score(data: &Data) -> Result<Self> {
        // With fewer rows than coefficients and a scale a flat prior has no posterior.
        let rows = data.count("N", 5)?;
        let schools = data.vector("mom_hs", rows)?;
        let tests = data.vector("mom_iq", rows)?;
        let row = |(school, test): (&f64, &f64)| [1.0, *school, *test, school * test];
        Ok(Self {
            coefficients: indexed("beta", 4),
            design: schools.iter().zip(&tests).flat_map(row).collect(),
            outcome: data.vector("kid_score", rows)?,
            prior: None,
            scale_prior: ScalePrior::Cauchy(2.5),
        })
    }
}

impl Model for Regression {
    fn names(&self) -> Vec<String> {
        self.coefficients.iter().cloned().chain(["sigma".to_owned()]).collect()
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = identities(self.coefficients.len());
        blocks.push(&Log);
        blocks
    }

    /// With e = y - X beta and n rows,
    /// log p = -|e|^2 / (2 sigma^2) - n log sigma - n log(2 pi) / 2 + priors;
    /// d/dbeta = X^T e / sigma^2 - beta / s^2,   d/dsigma = |e|^2 / sigma^3 - n / sigma + prior'.
    fn log_joint(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let columns = self.coefficients.len();
        let (beta, sigma) = (&parameters[..columns], parameters[columns]);
        gradient.fill(0.0);
        let mut square = 0.0;
        for (row, y) in self.design.chunks_exact(columns).zip(&self.outcome) {
            let error = y - row.iter().zip(beta).map(|(x, b)| x * b).sum::<f64>();
            square += error * error;
            gradient.iter_mut().zip(row).for_each(|(slope, x)| *slope += error * x);
        }
        let (precision, count) = (1.0 / (sigma * sigma), self.outcome.len() as f64);
        let (mut sum, by_sigma) = self.scale_prior.log_density(sigma);
        for (slope, b) in gradient.iter_mut().zip(beta) {
            *slope *= precision;
            if let Some(scale) = self.prior {
                let (value, [by_beta, _]) = normal(*b, scale);
                sum += value;
                *slope += by_beta;
            }
        }
        gradient[columns] = (precision * square - count) / sigma + by_sigma;
        sum - 0.5 * precision * square - count * (sigma.ln() + 0.5 * TAU.ln())
    }
}
