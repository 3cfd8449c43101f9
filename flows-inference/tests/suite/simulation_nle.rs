//! Neural likelihood estimation against exact likelihoods and posteriors.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::f64::consts::TAU;

use flows_core::testing::{close_number, names};
use flows_core::{Error, Target, normals, stream};
use flows_inference::LogWeights;
use flows_inference::simulation::{
    Estimation, Invalid, Likelihood, Marginal, Prior, Simulations, flow_of, nle, unreported,
};

use crate::simulation_models::{Noisy, mean};
use crate::simulation_npe::{affine, settings};

fn estimate(simulator: &Noisy, settings: &Estimation) -> Likelihood<f64> {
    let (rng, config) = (&mut stream(1, "estimation"), affine());
    nle(simulator, &flow_of(&config), settings, &mut unreported, rng).unwrap()
}

/// The likelihood within 3 % of the 1.61 nats that data and parameters tell of each other, and from it
/// the posterior, normalised by importance sampling from a wide normal; twice as much is allowed at
/// one observation as on average.
#[test]
fn likelihood_and_posterior_of_a_conjugate_normal_are_found() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let likelihood = estimate(&simulator, &settings(10_000, 600));
    let rng = &mut stream(2, "test");
    let pairs =
        Simulations::of_prior(&simulator, 4_000, Invalid::Refuse, &mut unreported, rng).unwrap();
    let nats = likelihood.log_density(&pairs.data, &pairs.parameters).unwrap();
    let rows = pairs.parameters.chunks(2).zip(pairs.data.chunks(2)).zip(nats);
    let differences = rows.map(|((theta, x), q)| {
        let square: f64 = x.iter().zip(theta).map(|(x, t)| (x - t).powi(2)).sum();
        -0.5 * square / 0.25 - (TAU * 0.25).ln() - q
    });
    let (kl, error) = mean(&differences.collect::<Vec<_>>());
    assert!(kl < 0.05 + 4.0 * error && kl > -4.0 * error, "{kl} +- {error}");

    let x = [1.0, -0.5];
    let posterior = likelihood.posterior(&simulator.prior, &x).unwrap();
    let count = 20_000;
    let proposals: Vec<f64> = normals::<f64>(2 * count, rng).iter().map(|z| 1.5 * z).collect();
    let log_p = posterior.log_densities(&proposals).unwrap();
    let log_q = |u: &[f64]| -0.5 * (u[0] * u[0] + u[1] * u[1]) / 2.25 - (TAU * 2.25).ln();
    let weights = log_p.iter().zip(proposals.chunks(2)).map(|(p, u)| p - log_q(u));
    let log_z = LogWeights::new(weights.collect()).unwrap().log_normaliser();
    let draws = simulator.posterior_draws(&x, 4_000, rng);
    let (points, log_det) = posterior.points(&draws);
    let nats = posterior.log_densities(&points).unwrap();
    let differences = draws
        .chunks(2)
        .zip(nats.iter().zip(log_det))
        .map(|(theta, (q, det))| simulator.log_posterior(theta, &x) - (q - log_z.nats + det));
    let (kl, error) = mean(&differences.collect::<Vec<_>>());
    let error = error.hypot(log_z.standard_error.unwrap());
    assert!(kl < 0.1 + 4.0 * error && kl > -4.0 * error, "{kl} +- {error}");
}

/// With prior and units mapped from boxes, and several observations: through the map, the prior, and
/// the flow's conditioning features.
#[test]
fn the_gradient_of_the_posterior_is_that_of_differences() {
    let marginal = Marginal::LogUniform { low: 0.5, high: 4.0 };
    let simulator = Noisy::with_prior(marginal, 0.5).unwrap();
    let likelihood = estimate(&simulator, &settings(500, 30));
    let posterior =
        likelihood.posterior(&simulator.prior, &[1.0, 2.0, 1.5, 0.7, 3.0, 1.0]).unwrap();
    let points = [0.3, -0.8, 1.4, 0.2];
    let mut gradients = [0.0; 4];
    posterior.evaluate(&points, &mut gradients).unwrap();
    let step = 1e-5;
    for k in 0..4 {
        let at = |by: f64| {
            let mut moved = points;
            moved[k] += by;
            posterior.log_densities(&moved).unwrap()[k / 2]
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        // Truncation of step^2 and rounding of 1e-14 / step, relative to slopes of order 10; the
        // network's kinks are not within a step of these points.
        assert!(gradients[k].abs() > 1e-3);
        close_number("gradient", gradients[k], difference, 1e-6);
    }
}

/// The posterior of three observations is the product of three likelihoods, one prior and one map.
#[test]
fn independent_observations_multiply() {
    let marginal = Marginal::Uniform { low: -2.0, high: 2.0 };
    let simulator = Noisy::with_prior(marginal, 0.5).unwrap();
    let likelihood = estimate(&simulator, &settings(500, 30));
    let observations = [0.1, 0.2, -0.4, 1.0, 0.8, -1.2];
    let posterior = likelihood.posterior(&simulator.prior, &observations).unwrap();
    let theta = [0.5, -0.25];
    let (point, log_det) = posterior.points(&theta);
    let nats = likelihood.log_density(&observations, &theta.repeat(3)).unwrap();
    // The units of data change the density by a constant for each observation.
    let other = [-0.9, 1.1];
    let (there, other_log_det) = posterior.points(&other);
    let other_nats = likelihood.log_density(&observations, &other.repeat(3)).unwrap();
    let expected = (nats.iter().sum::<f64>() - log_det[0])
        - (other_nats.iter().sum::<f64>() - other_log_det[0]);
    let values = posterior.log_densities(&[point, there].concat()).unwrap();
    close_number("difference", values[0] - values[1], expected, 1e-10);
    close_number("parameters", posterior.parameters(&posterior.points(&theta).0)[0], 0.5, 1e-12);
}

#[test]
fn wrong_input_is_named() {
    let side = Marginal::Uniform { low: -2.0, high: 2.0 };
    let simulator = Noisy::with_prior(side, 0.5).unwrap();
    let likelihood = estimate(&simulator, &settings(100, 2));
    let prior: &dyn Prior = &simulator.prior;
    let error = likelihood.posterior(prior, &[1.0]).unwrap_err();
    names(&error, &["observations", "expected 2", "got 1"]);
    let error = likelihood.posterior(prior, &[1.0, f64::INFINITY]).unwrap_err();
    assert!(matches!(error, Error::NonFinite { quantity: "observation", row: 0, .. }), "{error}");
    let error = likelihood.log_density(&[0.0; 4], &[0.0, 0.0, 0.0, 2.5]).unwrap_err();
    names(&error, &["row 1", "inside of the prior's support"]);
    let error = likelihood.log_density(&[0.0; 4], &[0.0; 2]).unwrap_err();
    assert!(matches!(error, Error::Rows { expected: 2, got: 1, .. }), "{error}");
}
