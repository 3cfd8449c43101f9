//! Likelihoods and the posterior in closed form, by quadrature and importance weights.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use flows_core::stream;
use flows_core::testing::close_number;

use super::Simulator;
use crate::toys::gauss_legendre::composite;

/// The integral over the plane, of panels between `edges` along each axis.
fn integral(edges: [&[f64]; 2], log_density: impl Fn([f64; 2]) -> f64) -> f64 {
    let [first, second] = edges.map(|edges| composite(edges, 12));
    let row = |&(x, weight): &(f64, f64)| {
        let terms = second.iter().map(|&(y, weight)| weight * log_density([x, y]).exp());
        weight * terms.sum::<f64>()
    };
    first.iter().map(row).sum()
}

/// `count` panels from `start` to `end`.
fn panels(start: f64, end: f64, count: u32) -> Vec<f64> {
    let step = (end - start) / f64::from(count);
    (0..=count).map(|i| start + step * f64::from(i)).collect()
}

#[test]
fn the_likelihood_of_the_crescent_integrates_to_one() {
    for theta in [[0.3_f64, 0.4], [-0.5, -0.9]] {
        let first = 0.25 - (theta[0] + theta[1]).abs() * FRAC_1_SQRT_2;
        let second = (theta[1] - theta[0]) * FRAC_1_SQRT_2;
        // From the edge of the half plane to ten widths beyond the radius.
        let edges = [panels(first, first + 0.2, 40), panels(second - 0.2, second + 0.2, 80)];
        let mass =
            integral([&edges[0], &edges[1]], |x| Simulator::TwoMoons.log_likelihood(&x, &theta));
        // Panels of half a width.
        close_number("mass", mass, 1.0, 1e-9);
    }
}

#[test]
fn the_likelihood_of_the_mixture_integrates_to_one() {
    let theta: [f64; 2] = [3.0, -7.5];
    // The narrow normal within panels of its width, the wide one around it.
    let edges = theta.map(|t| {
        let sides = [
            panels(t - 9.0, t - 1.0, 16),
            panels(t - 1.0, t + 1.0, 20),
            panels(t + 1.0, t + 9.0, 16),
        ];
        let mut edges = sides.concat();
        edges.dedup();
        edges
    });
    let mass =
        integral([&edges[0], &edges[1]], |x| Simulator::GaussianMixture.log_likelihood(&x, &theta));
    // Beyond nine standard deviations there is 1e-18.
    close_number("mass", mass, 1.0, 1e-12);
}

#[test]
fn the_likelihood_of_slcp_is_a_product_of_four_that_integrate_to_one() {
    let theta: [f64; 5] = [0.7, -2.9, -1.2, 0.9, -0.8];
    let fixed = [0.2, -2.0];
    let of = |first: [f64; 2]| {
        let x: Vec<f64> = first.into_iter().chain(fixed.repeat(3)).collect();
        Simulator::Slcp.log_likelihood(&x, &theta)
    };
    let single = 0.25 * of(fixed);
    let edges =
        [(0.7, 1.44), (-2.9, 0.81)].map(|(t, s): (f64, f64)| panels(t - 9.0 * s, t + 9.0 * s, 60));
    let mass = integral([&edges[0], &edges[1]], |x| of(x) - 3.0 * single);
    close_number("mass", mass, 1.0, 1e-12);
    // By the covariance matrix.
    let (s1, s2, rho) = (1.44_f64, 0.81_f64, theta[4].tanh());
    let [u, v] = [(fixed[0] - theta[0]) / s1, (fixed[1] - theta[1]) / s2];
    let form = (u * u - 2.0 * rho * u * v + v * v) / (1.0 - rho * rho);
    let expected = -0.5 * form - (TAU * s1 * s2 * (1.0 - rho * rho).sqrt()).ln();
    close_number("one draw", single, expected, 1e-13);
}

/// An observation within two standard deviations of its prior predictive.
fn observation() -> Vec<f64> {
    (0..10).map(|j| 0.12 * f64::from(j) - 0.5).collect()
}

#[test]
fn prior_times_likelihood_is_evidence_times_posterior() {
    let simulator = Simulator::GaussianLinear;
    let x = observation();
    // x ~ N(0, 0.2 I)
    let form: f64 = x.iter().map(|x| x * x / 0.2 + (TAU * 0.2).ln()).sum();
    for theta in simulator.sample_prior(20, &mut stream(5, "theta")).chunks_exact(10) {
        let joint = simulator.prior_log_density(theta) + simulator.log_likelihood(&x, theta);
        let posterior = simulator.posterior_log_density(theta, &x).unwrap();
        close_number("evidence", joint - posterior, -0.5 * form, 1e-12);
    }
}

#[test]
fn draws_of_the_posterior_agree_with_weighted_draws_of_the_prior() {
    const ROWS: usize = 100_000;
    let (simulator, rng) = (Simulator::GaussianLinear, &mut stream(6, "posterior"));
    let x = observation();
    let prior = simulator.sample_prior(ROWS, rng);
    let weights: Vec<f64> =
        prior.chunks_exact(10).map(|theta| simulator.log_likelihood(&x, theta).exp()).collect();
    let total: f64 = weights.iter().sum();
    let posterior = simulator.sample_posterior(&x, ROWS, rng).unwrap();
    for (j, x) in x.iter().enumerate() {
        let feature = |draws: &[f64], power: i32| -> Vec<f64> {
            draws.iter().skip(j).step_by(10).map(|t| t.powi(power)).collect()
        };
        for power in [1, 2] {
            let (values, draws) = (feature(&prior, power), feature(&posterior, power));
            let weighted = values.iter().zip(&weights).map(|(t, w)| t * w).sum::<f64>() / total;
            let mean = draws.iter().sum::<f64>() / ROWS as f64;
            // Of the ratio by the delta method, and of the mean.
            let of_weights: f64 = values
                .iter()
                .zip(&weights)
                .map(|(t, w)| (w * (t - weighted) / total).powi(2))
                .sum();
            let of_draws: f64 = draws.iter().map(|t| ((t - mean) / ROWS as f64).powi(2)).sum();
            let error = (of_weights + of_draws).sqrt();
            assert!(
                (weighted - mean).abs() < 4.0 * error,
                "{j} {power}: {weighted} {mean} {error}"
            );
            // x / 2, and the variance 0.05 beside its square.
            let centre = 0.5 * x;
            let exact = if power == 1 { centre } else { centre * centre + 0.05 };
            assert!((mean - exact).abs() < 4.0 * of_draws.sqrt(), "{j} {power}: {mean} {exact}");
        }
    }
}
