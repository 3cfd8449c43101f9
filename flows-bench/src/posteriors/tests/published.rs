//! The published files, where `FLOWS_POSTERIORDB` names the folder that holds them.
#![allow(clippy::print_stdout, reason = "what was found is shown with --nocapture")]

use std::path::PathBuf;

use flows_core::testing::close_number;
use flows_core::{Stream, Target, normals, stream};
use nalgebra::{Cholesky, DMatrix, DVector};
use rand_distr::{ChiSquared, Distribution};

use super::{Posterior, log_density};
use crate::toys::log_sum::LogSum;

/// Log-densities at 0.1 in every coordinate by SciPy.
const AT_ONE_TENTH: [f64; 7] = [
    -43.981_218_759_279_73,
    -44.791_412_179_238_85,
    -229.199_007_043_699_42,
    -433_348.744_943_189_7,
    -900_106.427_194_618_4,
    -744.758_753_436_495_5,
    -4_505.041_687_772_232,
];

/// Proposals, and their degrees of freedom: tails heavier than any exponential one.
const PROPOSALS: usize = 200_000;
const FREEDOM: f64 = 5.0;

fn folder() -> Option<PathBuf> {
    std::env::var_os("FLOWS_POSTERIORDB").map(PathBuf::from)
}

/// log Z and its standard error, by importance sampling from a multivariate t distribution with the mean
/// and covariance of `draws`, one a row.
///
/// ```text
/// log q(x) = c - log det L - (nu + d) / 2 log(1 + |L^-1 (x - m)|^2 / nu),  x = m + L z sqrt(nu / chi^2)
/// ```
fn log_evidence(posterior: &Posterior, draws: &[Vec<f64>], rng: &mut Stream) -> (f64, f64) {
    let dim = posterior.dim();
    let rows = DMatrix::from_fn(draws.len(), dim, |i, j| draws[i][j]);
    let mean = rows.row_mean().transpose();
    let off = DMatrix::from_fn(draws.len(), dim, |i, j| draws[i][j] - mean[j]);
    let factor = Cholesky::new(off.transpose() * &off / draws.len() as f64).unwrap().unpack();
    let log_det: f64 = factor.diagonal().iter().map(|entry| entry.ln()).sum();
    let half = 0.5 * (FREEDOM + dim as f64);
    let constant = ln_gamma(half)
        - ln_gamma(0.5 * FREEDOM)
        - 0.5 * dim as f64 * (FREEDOM * std::f64::consts::PI).ln();
    let chi_squared = ChiSquared::new(FREEDOM).unwrap();
    let log_weights: Vec<f64> = (0..PROPOSALS)
        .map(|_| {
            let stretch = (FREEDOM / chi_squared.sample(rng)).sqrt();
            let z = DVector::from_vec(normals::<f64>(dim, rng)) * stretch;
            let point = &mean + &factor * &z;
            let proposal = constant - log_det - half * (z.norm_squared() / FREEDOM).ln_1p();
            log_density(posterior, point.as_slice()) - proposal
        })
        .collect();
    let count = PROPOSALS as f64;
    let log_z = log_weights.iter().copied().collect::<LogSum>().value() - count.ln();
    let square: f64 = log_weights.iter().map(|w| ((w - log_z).exp() - 1.0).powi(2)).sum();
    (log_z, square.sqrt() / count)
}

/// log Gamma at a multiple of one half, by its recursion from Gamma(1/2) = sqrt(pi) or Gamma(1) = 1.
fn ln_gamma(x: f64) -> f64 {
    match x {
        0.5 => 0.5 * std::f64::consts::PI.ln(),
        1.0 => 0.0,
        _ => (x - 1.0).ln() + ln_gamma(x - 1.0),
    }
}

#[test]
fn densities_of_the_published_data_are_those_of_another_implementation() {
    let Some(folder) = folder() else { return };
    for (name, expected) in Posterior::NAMES.into_iter().zip(AT_ONE_TENTH) {
        let posterior = Posterior::read(name, &folder).unwrap();
        let found = log_density(&posterior, &vec![0.1; posterior.dim()]);
        close_number(name, found, expected, 1e-12);
        let known = !["garch11", "low_dim_gauss_mix"].contains(&name);
        assert_eq!(posterior.log_normaliser().is_some(), known, "{name}");
    }
}

#[test]
fn importance_sampling_from_reference_draws_finds_the_published_normalisers() {
    let Some(folder) = folder() else { return };
    let rng = &mut stream(7, "proposals");
    for name in Posterior::NAMES {
        let posterior = Posterior::read(name, &folder).unwrap();
        let draws = posterior.reference_draws(&folder).unwrap();
        assert_eq!(draws.rows(), 10_000, "{name}");
        let points: Vec<Vec<f64>> =
            (0..draws.rows()).map(|row| posterior.unconstrain(draws.row(row))).collect();
        let sum: f64 = points.iter().map(|point| log_density(&posterior, point)).sum();
        assert!(sum.is_finite(), "{name}");
        // No t distribution covers the neck of a funnel.
        if name == "eight_schools_centered" {
            continue;
        }
        let (found, error) = log_evidence(&posterior, &points, rng);
        println!("{name}: log Z {found:.4}, standard error {error:.4}");
        assert!(error < 0.005, "{name}: {error}");
        if let Some(known) = posterior.log_normaliser() {
            assert!((found - known.nats).abs() < 4.0 * error + known.error, "{name}: {found}");
        }
    }
}
