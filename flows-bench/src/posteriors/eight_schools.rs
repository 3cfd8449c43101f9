//! `eight_schools_centered` and `eight_schools_noncentered`: effects of coaching in eight schools.
//!
//! ```text
//! y_j ~ N(theta_j, sigma_j^2),   theta_j ~ N(mu, tau^2),   mu ~ N(0, 5^2),   tau ~ Cauchy(0, 5), tau > 0
//! ```
//! Non-centred it is written over z_j = (theta_j - mu) / tau ~ N(0, 1). Both have one normaliser.
//!
//! # Reference
//! Gelman, Carlin, Stern, Dunson, Vehtari, Rubin, *Bayesian Data Analysis*, 3rd edition, section 5.5.

use super::cauchy::cauchy;
use super::data::Data;
use super::model::{Block, Model, identities, indexed};
use super::normal::normal;
use super::transform::Log;
use crate::reference_error::Result;

const MU_SCALE: f64 = 5.0;
const TAU_SCALE: f64 = 5.0;

/// What the density is over, beside mu and tau.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The effects theta_1 .. theta_J.
    Centred,
    /// Their deviations z_1 .. z_J; draws hold theta_j = mu + tau z_j in their place.
    NonCentred,
}

/// Estimated effects and their standard errors.
#[derive(Clone, Debug)]
pub(super) struct Schools {
    form: Form,
    effects: Vec<f64>,
    errors: Vec<f64>,
}

impl Schools {
    pub(super) fn published(form: Form) -> Self {
        Self {
            form,
            effects: vec![28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0],
            errors: vec![15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0],
        }
    }

    pub(super) fn of(form: Form, data: &Data) -> Result<Self> {
        let count = data.count("J", 1)?;
        let (effects, errors) = (data.vector("y", count)?, data.positives("sigma", count)?);
        Ok(Self { form, effects, errors })
    }

    fn data(&self) -> impl Iterator<Item = (f64, f64)> {
        self.effects.iter().copied().zip(self.errors.iter().copied())
    }

    /// log p = sum_j log N(y_j; theta_j, sigma_j^2) + log N(theta_j; mu, tau^2) + priors:
    /// d/dtheta_j = (y_j - theta_j) / sigma_j^2 - (theta_j - mu) / tau^2,
    /// d/dmu = sum_j (theta_j - mu) / tau^2 - mu / 25,
    /// d/dtau = sum_j ((theta_j - mu)^2 / tau^3 - 1 / tau) - 2 tau / (25 + tau^2).
    fn centred(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let count = self.effects.len();
        let [mu, tau] = [parameters[count], parameters[count + 1]];
        let (mut sum, [mut by_mu, mut by_tau]) = hyperpriors(mu, tau);
        for (j, (effect, error)) in self.data().enumerate() {
            let (likelihood, [by_offset, _]) = normal(effect - parameters[j], error);
            let (prior, [by_deviation, by_scale]) = normal(parameters[j] - mu, tau);
            sum += likelihood + prior;
            gradient[j] = by_deviation - by_offset;
            by_mu -= by_deviation;
            by_tau += by_scale;
        }
        (gradient[count], gradient[count + 1]) = (by_mu, by_tau);
        sum
    }

    /// log p = sum_j log N(y_j; mu + tau z_j, sigma_j^2) + log N(z_j; 0, 1) + priors; with
    /// r_j = (y_j - mu - tau z_j) / sigma_j^2,
    /// d/dz_j = tau r_j - z_j,   d/dmu = sum_j r_j - mu / 25,
    /// d/dtau = sum_j z_j r_j - 2 tau / (25 + tau^2).
    fn non_centred(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let count = self.effects.len();
        let [mu, tau] = [parameters[count], parameters[count + 1]];
        let (mut sum, [mut by_mu, mut by_tau]) = hyperpriors(mu, tau);
        for (j, (effect, error)) in self.data().enumerate() {
            let z = parameters[j];
            let (likelihood, [by_offset, _]) = normal(effect - mu - tau * z, error);
            let (prior, [by_z, _]) = normal(z, 1.0);
            sum += likelihood + prior;
            gradient[j] = by_z - tau * by_offset;
            by_mu -= by_offset;
            by_tau -= z * by_offset;
        }
        (gradient[count], gradient[count + 1]) = (by_mu, by_tau);
        sum
    }
}

/// The priors of mu and tau, with their derivatives.
fn hyperpriors(mu: f64, tau: f64) -> (f64, [f64; 2]) {
    let (of_mu, [by_mu, _]) = normal(mu, MU_SCALE);
    let (of_tau, by_tau) = cauchy(tau, TAU_SCALE);
    (of_mu + of_tau, [by_mu, by_tau])
}

impl Model for Schools {
    fn names(&self) -> Vec<String> {
        let effects = indexed("theta", self.effects.len());
        effects.into_iter().chain(["mu".to_owned(), "tau".to_owned()]).collect()
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = identities(self.effects.len() + 1);
        blocks.push(&Log);
        blocks
    }

    fn log_joint(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        match self.form {
            Form::Centred => self.centred(parameters, gradient),
            Form::NonCentred => self.non_centred(parameters, gradient),
        }
    }

    fn drawn(&self, parameters: &mut [f64]) {
        if self.form == Form::Centred {
            return;
        }
        let count = self.effects.len();
        let [mu, tau] = [parameters[count], parameters[count + 1]];
        parameters[..count].iter_mut().for_each(|z| *z = mu + tau * *z);
    }

    fn of_drawn(&self, drawn: &mut [f64]) {
        if self.form == Form::Centred {
            return;
        }
        let count = self.effects.len();
        let [mu, tau] = [drawn[count], drawn[count + 1]];
        drawn[..count].iter_mut().for_each(|theta| *theta = (*theta - mu) / tau);
    }
}
