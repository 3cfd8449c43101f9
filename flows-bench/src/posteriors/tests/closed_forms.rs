//! Normalisers by closed forms and quadrature.

use std::f64::consts::PI;

use flows_core::testing::close_number;
use flows_core::{Target, normals, stream};

use super::super::normal::normal;
use super::{Posterior, folder_with, log_density};
use crate::toys::gauss_legendre::composite;

const EFFECTS: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const ERRORS: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// log N(x; mean, variance)
fn log_normal(x: f64, mean: f64, variance: f64) -> f64 {
    normal(x - mean, variance.sqrt()).0
}

/// Precision and mean of mu given tau and the effects, whose own variances are sigma_j^2 + tau^2.
fn centre(tau: f64) -> (f64, f64) {
    let weights = ERRORS.map(|error| 1.0 / (error * error + tau * tau));
    let precision = weights.iter().sum::<f64>() + 1.0 / 25.0;
    let sum: f64 = weights.iter().zip(EFFECTS).map(|(weight, effect)| weight * effect).sum();
    (precision, sum / precision)
}

/// log p(tau, y) of the eight schools, the effects and their mean integrated out: at any mu it is
/// log p(y | mu, tau) + log p(mu) + log p(tau) - log p(mu | tau, y).
fn log_marginal(tau: f64) -> f64 {
    let (precision, mean) = centre(tau);
    let terms = EFFECTS.iter().zip(ERRORS);
    let likelihood: f64 =
        terms.map(|(effect, error)| log_normal(*effect, mean, error * error + tau * tau)).sum();
    let prior = log_normal(mean, 0.0, 25.0) - (5.0 * PI * (1.0 + tau * tau / 25.0)).ln();
    likelihood + prior - log_normal(mean, mean, 1.0 / precision)
}

#[test]
fn the_eight_schools_factor_into_their_conditionals() {
    let rng = &mut stream(5, "points");
    let [non_centred, centred] = [0, 1].map(|i| Posterior::embedded(Posterior::NAMES[i]).unwrap());
    for _ in 0..10 {
        let point: Vec<f64> = normals(non_centred.dim(), rng);
        let drawn = non_centred.constrain(&point);
        let [mu, tau] = [drawn[8], drawn[9]];
        let (precision, mean) = centre(tau);
        let mut expected = log_marginal(tau) + log_normal(mu, mean, 1.0 / precision) + tau.ln();
        for (j, theta) in drawn[..8].iter().enumerate() {
            let [own, prior] = [ERRORS[j], tau].map(|scale| 1.0 / (scale * scale));
            let centre = (own * EFFECTS[j] + prior * mu) / (own + prior);
            expected += log_normal(*theta, centre, 1.0 / (own + prior));
        }
        // Some hundred roundings of numbers up to a hundred.
        let tolerance = 1e-12;
        let found = log_density(&centred, &centred.unconstrain(&drawn));
        close_number("centred", found, expected, tolerance);
        // theta = mu + tau z
        let found = log_density(&non_centred, &point);
        close_number("non-centred", found, expected + 8.0 * tau.ln(), tolerance);
    }
}

#[test]
fn the_eight_schools_have_the_published_normaliser() {
    // Over log tau: Gauss rules of 12 nodes on cells of length 1/2; beyond the interval there is e^-30 of
    // the prior.
    let edges: Vec<f64> = (-60..=60).map(|i| 0.5 * f64::from(i)).collect();
    let mass = composite(&edges, 12).into_iter();
    let total: f64 = mass.map(|(u, weight)| weight * (log_marginal(u.exp()) + u).exp()).sum();
    for name in &Posterior::NAMES[..2] {
        let known = Posterior::embedded(name).unwrap().log_normaliser().unwrap();
        assert!((total.ln() - known.nats).abs() < known.error, "{} {known:?}", total.ln());
    }
}

#[test]
fn a_regression_of_one_column_has_the_normaliser_of_its_marginal_likelihood() {
    const X: [f64; 4] = [1.0, -0.4, 1.6, 0.2];
    const Y: [f64; 4] = [1.5, -0.5, 2.0, 0.3];
    let text = r#"{"N": 4, "D": 1, "y": [1.5, -0.5, 2, 0.3], "X": [[1], [-0.4], [1.6], [0.2]]}"#;
    let posterior = Posterior::read("sblrc-blr", folder_with("sblrc", text).path()).unwrap();
    // By the joint over unconstrained parameters, log sigma within [-6, 6] and beta within ten sigma of its
    // estimate, more than nine of its standard deviations: the trapezoidal rule, with five cells or more
    // to the scale of either.
    let [xx, xy, yy] =
        [(X, X), (X, Y), (Y, Y)].map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>());
    let mut joint = 0.0;
    for i in -200..=200 {
        let log_sigma = 0.03 * f64::from(i);
        let step = 0.1 * log_sigma.exp();
        for j in -100..=100 {
            let point = [xy / xx + f64::from(j) * step, log_sigma];
            joint += log_density(&posterior, &point).exp() * step * 0.03;
        }
    }
    // By y ~ N(0, sigma^2 I + 10^2 x x^T), over sigma itself.
    let marginal = |sigma: f64| {
        let (square, prior) = (sigma * sigma, 100.0);
        let form = (yy - prior * xy * xy / (square + prior * xx)) / square;
        let log_det = 3.0 * square.ln() + (square + prior * xx).ln();
        (-0.5 * (form + log_det) - 2.0 * (2.0 * PI).ln()).exp() * normal(sigma, 10.0).0.exp()
    };
    let edges: Vec<f64> = (0..=40).map(|i| 100.0 * (f64::from(i) / 40.0).powi(4)).collect();
    let rule = composite(&edges, 12);
    let exact: f64 = rule.iter().map(|&(sigma, weight)| weight * marginal(sigma)).sum();
    // Both rules converge faster than any power of their step.
    close_number("log Z", joint.ln(), exact.ln(), 1e-9);
}
