//! The published files, where `FLOWS_SBIBM` names the folder that holds them.
#![allow(clippy::print_stdout, reason = "what was found is shown with --nocapture")]

use std::path::PathBuf;

use flows_core::{Stream, normals, stream};
use rand::RngExt;

use super::Simulator;

/// Steps of the chain from each reference draw.
const STEPS: usize = 30;

fn folder() -> Option<PathBuf> {
    std::env::var_os("FLOWS_SBIBM").map(PathBuf::from)
}

/// Random-walk Metropolis steps in place, of sizes from a thousandth of `scales` to three of them.
fn walk(
    theta: &mut [f64],
    scales: &[f64],
    log_density: impl Fn(&[f64]) -> f64,
    rng: &mut Stream,
) -> usize {
    let (mut now, mut accepted) = (log_density(theta), 0);
    assert!(now.is_finite(), "{theta:?}");
    for _ in 0..STEPS {
        let size = 3.0 * 10f64.powf(-3.5 * rng.random::<f64>());
        let noise: Vec<f64> = normals(theta.len(), rng);
        let moved: Vec<f64> =
            theta.iter().zip(scales).zip(noise).map(|((t, s), z)| t + size * s * z).collect();
        let next = log_density(&moved);
        if rng.random::<f64>().ln() < next - now {
            theta.copy_from_slice(&moved);
            (now, accepted) = (next, accepted + 1);
        }
    }
    accepted
}

/// Draws of a posterior still have its moments after steps of a chain whose invariant density it is, so
/// that their changes have mean 0.
#[test]
fn reference_draws_are_of_the_posteriors_of_these_densities() {
    let Some(folder) = folder() else { return };
    let mut worst = 0.0_f64;
    for simulator in Simulator::ALL {
        let columns = simulator.parameters();
        for number in 1..=3 {
            let rng = &mut stream(number as u64, simulator.name());
            let x = simulator.observation(&folder, number).unwrap();
            let draws = simulator.reference_draws(&folder, number).unwrap();
            let count = draws.rows() as f64;
            let log_joint = |theta: &[f64]| {
                simulator.prior_log_density(theta) + simulator.log_likelihood(&x, theta)
            };
            let before = draws.values();
            let scales: Vec<f64> = (0..columns)
                .map(|j| {
                    let column = || before.iter().skip(j).step_by(columns);
                    let mean = column().sum::<f64>() / count;
                    (column().map(|t| (t - mean).powi(2)).sum::<f64>() / count).sqrt()
                })
                .collect();
            let mut after = before.to_vec();
            let rows = after.chunks_exact_mut(columns);
            let accepted: usize = rows.map(|theta| walk(theta, &scales, log_joint, rng)).sum();
            let rate = accepted as f64 / (count * STEPS as f64);
            assert!(rate > 0.05, "{simulator} {number}: {rate}");
            let pairs = || before.chunks_exact(columns).zip(after.chunks_exact(columns));
            let means = (0..columns).map(|i| pairs().map(|(a, b)| b[i] - a[i]).collect());
            let products = (0..columns)
                .flat_map(|i| (0..=i).map(move |j| (i, j)))
                .map(|(i, j)| pairs().map(|(a, b)| b[i] * b[j] - a[i] * a[j]).collect());
            let level =
                std::iter::once(pairs().map(|(a, b)| log_joint(b) - log_joint(a)).collect());
            let mut own = 0.0_f64;
            for change in means.chain(products).chain(level) {
                let change: Vec<f64> = change;
                let mean = change.iter().sum::<f64>() / count;
                let square = change.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / count;
                own = own.max((mean / (square / count).sqrt()).abs());
            }
            println!("{simulator} {number}: {rate:.3} accepted, {own:.2} standard errors");
            worst = worst.max(own);
        }
    }
    // Of five hundred statistics one exceeds this with probability 0.003.
    assert!(worst < 4.5, "{worst}");
}

#[test]
fn reference_draws_of_the_linear_normal_have_the_moments_of_its_posterior() {
    let Some(folder) = folder() else { return };
    for number in 1..=3 {
        let x = Simulator::GaussianLinear.observation(&folder, number).unwrap();
        let draws = Simulator::GaussianLinear.reference_draws(&folder, number).unwrap();
        let count = draws.rows() as f64;
        for (j, x) in x.iter().enumerate() {
            let off = || draws.values().iter().skip(j).step_by(10).map(|t| t - 0.5 * x);
            let mean = off().sum::<f64>() / count;
            assert!(mean.abs() < 4.0 * (0.05 / count).sqrt(), "{number} {j}: {mean}");
            let square = off().map(|t| t * t / 0.05).sum::<f64>() / count;
            assert!((square - 1.0).abs() < 4.0 * (2.0 / count).sqrt(), "{number} {j}: {square}");
        }
    }
}
