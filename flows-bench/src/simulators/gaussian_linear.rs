//! `gaussian_linear` and `gaussian_linear_uniform`: a normal around the parameters, in ten dimensions.

use std::f64::consts::TAU;

use flows_core::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::Card;
use super::prior::Prior;

/// Of the normal prior and of x given the parameters.
const VARIANCE: f64 = 0.1;

pub(super) const CARD: Card = Card {
    name: "gaussian_linear",
    description: "a normal around parameters of a normal prior: a normal posterior",
    parameters: 10,
    features: 10,
    prior: Prior::Normal(VARIANCE),
};

pub(super) const UNIFORM: Card = Card {
    name: "gaussian_linear_uniform",
    description: "a normal around parameters of a uniform prior: a posterior cut off by its box",
    prior: Prior::Uniform(1.0),
    ..CARD
};

fn log_normal(x: &[f64], mean: impl Iterator<Item = f64>, variance: f64) -> f64 {
    let form: f64 = x.iter().zip(mean).map(|(x, m)| (x - m) * (x - m)).sum();
    -0.5 * (form / variance + x.len() as f64 * (TAU * variance).ln())
}

/// x ~ N(theta, 0.1 I)
pub(super) fn draw(theta: &[f64], x: &mut Vec<f64>, rng: &mut Stream) {
    let deviation = VARIANCE.sqrt();
    x.extend(theta.iter().map(|t| t + deviation * rng.sample::<f64, _>(StandardNormal)));
}

pub(super) fn log_likelihood(x: &[f64], theta: &[f64]) -> f64 {
    log_normal(x, theta.iter().copied(), VARIANCE)
}

/// theta | x ~ N(x / 2, 0.05 I) with the normal prior, whose variance is that of x.
pub(super) fn posterior_log_density(theta: &[f64], x: &[f64]) -> f64 {
    log_normal(theta, x.iter().map(|x| 0.5 * x), 0.5 * VARIANCE)
}

/// Appends a draw of that posterior.
pub(super) fn draw_posterior(x: &[f64], theta: &mut Vec<f64>, rng: &mut Stream) {
    let deviation = (0.5 * VARIANCE).sqrt();
    theta.extend(x.iter().map(|x| 0.5 * x + deviation * rng.sample::<f64, _>(StandardNormal)));
}
