//! `slcp`: simple likelihood, complex posterior.

use std::f64::consts::TAU;

use flows_core::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::Card;
use super::prior::Prior;

pub(super) const CARD: Card = Card {
    name: "slcp",
    description: "four draws of a normal in the plane: four modes of parameters with sharp edges",
    parameters: 5,
    features: 8,
    prior: Prior::Uniform(3.0),
};

/// x1 = t1 + s1 e1, x2 = t2 + s2 (rho e1 + sqrt(1 - rho^2) e2) with normal e, four times;
/// s1 = t3^2, s2 = t4^2, rho = tanh t5, so that sqrt(1 - rho^2) = 1 / cosh t5.
pub(super) fn draw(theta: &[f64], x: &mut Vec<f64>, rng: &mut Stream) {
    let [s1, s2] = [theta[2] * theta[2], theta[3] * theta[3]];
    let (rho, rest) = (theta[4].tanh(), 1.0 / theta[4].cosh());
    for _ in 0..4 {
        let [e1, e2]: [f64; 2] = [(); 2].map(|()| rng.sample(StandardNormal));
        x.extend([theta[0] + s1 * e1, theta[1] + s2 * (rho * e1 + rest * e2)]);
    }
}

/// With u = (x1 - t1) / s1, v = (x2 - t2) / s2, and (v - rho u) / sqrt(1 - rho^2) = v cosh t5 - u sinh t5,
/// ```text
/// log p = sum of -(u^2 + (v cosh t5 - u sinh t5)^2) / 2 - log(2 pi s1 s2) + log cosh t5
/// ```
pub(super) fn log_likelihood(x: &[f64], theta: &[f64]) -> f64 {
    let [s1, s2] = [theta[2] * theta[2], theta[3] * theta[3]];
    if s1 == 0.0 || s2 == 0.0 {
        // All mass is on a line.
        return f64::NEG_INFINITY;
    }
    let (sinh, cosh) = (theta[4].sinh(), theta[4].cosh());
    let term = |pair: &[f64]| {
        let [u, v] = [(pair[0] - theta[0]) / s1, (pair[1] - theta[1]) / s2];
        let across = v * cosh - u * sinh;
        -0.5 * (u * u + across * across)
    };
    let forms: f64 = x.chunks_exact(2).map(term).sum();
    forms - 4.0 * (TAU.ln() + s1.ln() + s2.ln() - cosh.ln())
}
