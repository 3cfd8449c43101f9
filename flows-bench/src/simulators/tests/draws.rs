//! Draws against the margins of their definitions.

use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

use flows_core::stream;

use super::Simulator;

const ROWS: usize = 40_000;

fn normal(x: f64, scale: f64) -> f64 {
    (-0.5 * (x / scale).powi(2)).exp() / (scale * TAU.sqrt())
}

/// The statistic of Kolmogorov and Smirnov times the root of the number of values exceeds 2.3 with
/// probability 2 exp(-2 * 2.3^2) = 5e-5, that of four standard errors.
///
/// The distribution function is the integral of `density` from `low`, by Simpson's rule between
/// neighbours.
fn follows(what: &str, mut values: Vec<f64>, low: f64, density: impl Fn(f64) -> f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let (mut mass, mut at, mut distance) = (0.0, low, 0.0_f64);
    for (index, x) in values.into_iter().enumerate() {
        // Far from the first neighbours the gaps are wide.
        let pieces = if index < 100 { 200 } else { 2 };
        let width = (x - at) / f64::from(pieces);
        for piece in 0..pieces {
            let start = at + width * f64::from(piece);
            let inner = 4.0 * density(start + 0.5 * width);
            mass += width / 6.0 * (density(start) + inner + density(start + width));
        }
        at = x;
        let steps = [index as f64, index as f64 + 1.0].map(|rank| (rank / count - mass).abs());
        distance = distance.max(steps[0]).max(steps[1]);
    }
    let statistic = distance * count.sqrt();
    assert!(statistic < 2.3, "{what}: {statistic}");
}

fn column(values: &[f64], columns: usize, column: usize) -> Vec<f64> {
    values.iter().skip(column).step_by(columns).copied().collect()
}

#[test]
fn priors_follow_their_densities() {
    for simulator in Simulator::ALL {
        let columns = simulator.parameters();
        let theta = simulator.sample_prior(ROWS, &mut stream(2, "prior"));
        for j in [0, columns - 1] {
            let values = column(&theta, columns, j);
            match simulator.support()[j] {
                Some([low, high]) => {
                    assert!(values.iter().all(|t| (low..=high).contains(t)), "{simulator}");
                    follows(simulator.name(), values, low, |_| 1.0 / (high - low));
                }
                None => follows(simulator.name(), values, -4.0, |t| normal(t, 0.1_f64.sqrt())),
            }
        }
        let density = simulator.prior_log_density(&theta[..columns]);
        let expected: f64 = theta[..columns]
            .iter()
            .map(|t| match simulator.support()[0] {
                Some([low, high]) => -(high - low).ln(),
                None => normal(*t, 0.1_f64.sqrt()).ln(),
            })
            .sum();
        // Ten terms of a few roundings each.
        assert!((density - expected).abs() < 1e-13, "{simulator}: {density}");
    }
}

/// Draws at one theta.
fn simulated(simulator: Simulator, theta: &[f64]) -> Vec<f64> {
    simulator.simulate(&theta.repeat(ROWS), &mut stream(3, "draws"))
}

#[test]
fn the_crescent_has_a_normal_radius_and_a_uniform_angle() {
    for theta in [[0.3_f64, 0.4], [-0.7, 0.1], [-0.5, -0.9]] {
        let x = simulated(Simulator::TwoMoons, &theta);
        let first = 0.25 - (theta[0] + theta[1]).abs() * FRAC_1_SQRT_2;
        let second = (theta[1] - theta[0]) * FRAC_1_SQRT_2;
        let polar = || x.chunks_exact(2).map(|x| [x[0] - first, x[1] - second]);
        let radius = polar().map(|[a, b]| a.hypot(b)).collect();
        follows("radius", radius, 0.0, |r| normal(r - 0.1, 0.01));
        let angle = polar().map(|[a, b]| b.atan2(a)).collect();
        follows("angle", angle, -PI / 2.0, |_| 1.0 / PI);
    }
}

#[test]
fn draws_of_slcp_are_standard_normal_once_whitened() {
    let theta: [f64; 5] = [0.7, -2.9, -1.0, -0.9, 0.6];
    let x = simulated(Simulator::Slcp, &theta);
    let (s1, s2, rho) = (theta[2].powi(2), theta[3].powi(2), theta[4].tanh());
    for k in 0..4 {
        let [u, v] = [(0, 0, s1), (1, 1, s2)].map(|(offset, mean, scale)| {
            let values = column(&x, 8, 2 * k + offset);
            values.into_iter().map(|x| (x - theta[mean]) / scale).collect::<Vec<f64>>()
        });
        let whitened = u.iter().zip(&v).map(|(u, v)| (v - rho * u) / (1.0 - rho * rho).sqrt());
        let product = u.iter().zip(&v).map(|(u, v)| u * v).sum::<f64>() / ROWS as f64;
        // The product of two normals of correlation rho has variance 1 + rho^2.
        let error = ((1.0 + rho * rho) / ROWS as f64).sqrt();
        assert!((product - rho).abs() < 4.0 * error, "{product} {rho}");
        follows("across", whitened.collect(), -10.0, |z| normal(z, 1.0));
        follows("along", u, -10.0, |z| normal(z, 1.0));
    }
}

#[test]
fn draws_of_the_normals_and_the_mixture_follow_their_margins() {
    let theta: Vec<f64> = (0..10).map(|j| 0.1 * f64::from(j) - 0.4).collect();
    for simulator in [Simulator::GaussianLinear, Simulator::GaussianLinearUniform] {
        let x = simulated(simulator, &theta);
        for (j, t) in theta.iter().enumerate() {
            let off = column(&x, 10, j).into_iter().map(|x| x - t).collect();
            follows(simulator.name(), off, -4.0, |x| normal(x, 0.1_f64.sqrt()));
        }
    }
    let x = simulated(Simulator::GaussianMixture, &theta[..2]);
    let both = |x| 0.5 * (normal(x, 1.0) + normal(x, 0.1));
    for (j, t) in theta[..2].iter().enumerate() {
        follows("mixture", column(&x, 2, j).into_iter().map(|x| x - t).collect(), -8.0, both);
    }
    // Both features are of one component: the product of their squares has the mean (1 + 0.01^2) / 2.
    let square = |x: &[f64]| ((x[0] - theta[0]) * (x[1] - theta[1])).powi(2);
    let moment = x.chunks_exact(2).map(square).sum::<f64>() / ROWS as f64;
    let expected = 0.5 * (1.0 + 1e-4);
    // Its own square has the mean 9 / 2, that of the fourth powers of two normals, and next to nothing.
    let error = ((4.5 - expected * expected) / ROWS as f64).sqrt();
    assert!((moment - expected).abs() < 4.0 * error, "{moment}");
}

#[test]
fn the_prior_predictive_of_the_linear_normal_is_normal() {
    let rng = &mut stream(4, "predictive");
    let theta = Simulator::GaussianLinear.sample_prior(ROWS, rng);
    let x = Simulator::GaussianLinear.simulate(&theta, rng);
    follows("predictive", column(&x, 10, 4), -5.0, |x| normal(x, 0.2_f64.sqrt()));
}
