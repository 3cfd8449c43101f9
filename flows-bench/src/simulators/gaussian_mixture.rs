//! `gaussian_mixture`: a wide and a narrow normal around the parameters, in the plane.

use std::f64::consts::TAU;

use flows_core::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::Card;
use super::prior::Prior;
use crate::targets::log_sum_exp::log_sum_exp;

pub(super) const CARD: Card = Card {
    name: "gaussian_mixture",
    description: "a wide and a narrow normal around the parameters",
    parameters: 2,
    features: 2,
    prior: Prior::Uniform(10.0),
};

const WIDE: f64 = 1.0;
const NARROW: f64 = 0.1;

/// x ~ (N(theta, I) + N(theta, 0.1^2 I)) / 2
pub(super) fn draw(theta: &[f64], x: &mut Vec<f64>, rng: &mut Stream) {
    let deviation = if rng.random::<bool>() { WIDE } else { NARROW };
    x.extend(theta.iter().map(|t| t + deviation * rng.sample::<f64, _>(StandardNormal)));
}

pub(super) fn log_likelihood(x: &[f64], theta: &[f64]) -> f64 {
    let square: f64 = x.iter().zip(theta).map(|(x, t)| (x - t) * (x - t)).sum();
    let [wide, narrow] = [WIDE, NARROW].map(|s| -0.5 * square / (s * s) - (TAU * s * s).ln());
    log_sum_exp(wide, narrow).0 - 2f64.ln()
}
