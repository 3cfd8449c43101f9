//! The linear-Gaussian conditional density against its mean and covariance by their formulas.

use std::f64::consts::{PI, TAU};

use flows_bench::conditional::ConditionalToy;
use flows_core::stream;

const ROWS: usize = 50_000;

/// Σ and A of `linear-gaussian-8` by their formulas, features counted from 1.
fn covariance(i: usize, j: usize) -> f64 {
    let [a, b] = [i, j].map(|i| i as f64);
    let own = if i == j { 1.0 } else { 0.0 };
    0.01 * (a + 4.0) * (b + 4.0) * (own + a.cos() * b.cos())
}

fn mean(c: &[f64], i: usize) -> f64 {
    let odd = |i: usize| (2 * i - 1) as f64;
    let term = |(j, c): (usize, &f64)| 0.5 * (odd(i) * odd(j + 1) * PI / 32.0).sin() * c;
    c.iter().enumerate().map(term).sum::<f64>() + (i as f64 - 4.5) / 2.0
}

#[test]
fn the_linear_gaussian_is_the_normal_of_its_mean_and_covariance() {
    // Against the density by a Cholesky factor of the covariance, whose integral is one.
    let toy = ConditionalToy::LinearGaussian;
    let mut factor = [[0.0; 8]; 8];
    for i in 0..8 {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest: f64 = covariance(i + 1, j + 1) - dot;
            factor[i][j] = if i == j { rest.sqrt() } else { rest / factor[j][j] };
        }
    }
    let (values, contexts) = toy.sample(200, &mut stream(1, "rows"));
    for (x, c) in values.chunks(8).zip(contexts.chunks(8)) {
        let mut log_p = -4.0 * TAU.ln();
        let mut z = [0.0; 8];
        for i in 0..8 {
            let dot: f64 = (0..i).map(|k| factor[i][k] * z[k]).sum();
            z[i] = (x[i] - mean(c, i + 1) - dot) / factor[i][i];
            log_p -= 0.5 * z[i] * z[i] + factor[i][i].ln();
        }
        // Some hundred roundings of numbers below 30, times the condition of the covariance, 14.
        let difference = toy.log_density(x, c) - log_p;
        assert!(difference.abs() < 100.0 * 30.0 * 14.0 * f64::EPSILON, "{difference}");
    }
}

#[test]
fn draws_of_the_linear_gaussian_have_its_moments() {
    let toy = ConditionalToy::LinearGaussian;
    let (values, contexts) = toy.sample(ROWS, &mut stream(5, "rows"));
    let residuals: Vec<[f64; 8]> = values
        .chunks(8)
        .zip(contexts.chunks(8))
        .map(|(x, c)| std::array::from_fn(|i| x[i] - mean(c, i + 1)))
        .collect();
    let average = |f: &dyn Fn(&[f64; 8]) -> f64| residuals.iter().map(f).sum::<f64>() / ROWS as f64;
    let variance = |i| covariance(i + 1, i + 1);
    // 44 moments of the residuals and 36 of the contexts, each within five standard errors; by
    // Isserlis' theorem the variance of a product is Σᵢᵢ Σⱼⱼ + Σᵢⱼ².
    for i in 0..8 {
        let found = average(&|r| r[i]);
        assert!(found.abs() < 5.0 * (variance(i) / ROWS as f64).sqrt(), "mean {i}: {found}");
        for j in 0..=i {
            let exact = covariance(i + 1, j + 1);
            let bound = 5.0 * ((variance(i) * variance(j) + exact * exact) / ROWS as f64).sqrt();
            let found = average(&|r| r[i] * r[j]);
            assert!((found - exact).abs() < bound, "covariance {i} {j}: {found} {exact}");
            let own = f64::from(u8::from(i == j));
            let products = contexts.chunks(8).map(|c| c[i] * c[j]).sum::<f64>() / ROWS as f64;
            let bound = 5.0 * ((1.0 + own) / ROWS as f64).sqrt();
            assert!((products - own).abs() < bound, "contexts {i} {j}: {products}");
        }
    }
}
