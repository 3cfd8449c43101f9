//! Laplace's approximation against normals, whose it is.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::posteriors::Posterior;
use flows_bench::targets::{Funnel, KnownTarget};
use flows_core::Target;
use flows_core::testing::{close, close_number, names};
use flows_inference::Laplace;

/// 5 N(m, L L^T) far from the origin, on scales from 1e-3 to 1e2 and strongly correlated.
#[derive(Debug)]
struct Normal;

const MODE: [f64; 3] = [300.0, -0.02, 7.0];
const FACTOR: [[f64; 3]; 3] = [[100.0, 0.0, 0.0], [-3e-3, 1e-3, 0.0], [0.9, -0.3, 0.1]];

impl Target for Normal {
    fn dim(&self) -> usize {
        3
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        // L z = x - m by substitution, and grad = -L^-T z.
        let mut z = [0.0; 3];
        for i in 0..3 {
            let known: f64 = (0..i).map(|j| FACTOR[i][j] * z[j]).sum();
            z[i] = (point[i] - MODE[i] - known) / FACTOR[i][i];
        }
        for i in (0..3).rev() {
            let known: f64 = (i + 1..3).map(|j| FACTOR[j][i] * gradient[j]).sum();
            gradient[i] = (-z[i] - known) / FACTOR[i][i];
        }
        let log_det: f64 = (0..3).map(|i| FACTOR[i][i].ln()).sum();
        let square: f64 = z.iter().map(|z| z * z).sum();
        5.0_f64.ln() - 0.5 * square - log_det - 1.5 * std::f64::consts::TAU.ln()
    }
}

#[test]
fn a_normal_is_its_own_approximation() {
    let found = Laplace::at_mode(&Normal, &[0.0; 3]).unwrap();
    // The search stops where a step would gain 1e-9 nats, at most sqrt(2e-9) = 4.5e-5 deviations away.
    for (i, (found, expected)) in found.mode.iter().zip(MODE).enumerate() {
        let deviation = FACTOR[i].iter().map(|l| l * l).sum::<f64>().sqrt();
        assert!((found - expected).abs() < 4.5e-5 * deviation, "{i}: {found}, not {expected}");
    }
    // Central differences of a linear gradient are exact but for the rounding of a place, 6e-14 of 300 over
    // a step of 2e-3: 3e-11, times the condition of the correlations, below 1e4.
    for (i, row) in FACTOR.iter().enumerate() {
        let deviation = row.iter().map(|l| l * l).sum::<f64>().sqrt();
        let relative = |l: &f64| l / deviation;
        let found: Vec<f64> = found.factor[3 * i..3 * i + 3].iter().map(relative).collect();
        let expected: Vec<f64> = row.iter().map(relative).collect();
        close("factor", &found, &expected, 3e-7);
    }
    close_number("log Z", found.log_normaliser, 5.0_f64.ln(), 1e-6);
}

/// A Newton step from the mode would gain |L^T g|^2 / 2 nats, less than the search stops at.
#[test]
fn at_the_mode_of_a_posterior_nothing_is_gained() {
    let schools = Posterior::embedded("eight_schools_noncentered").unwrap();
    let found = Laplace::at_mode(&schools, &[0.0; 10]).unwrap();
    let mut gradient = [0.0; 10];
    schools.log_density(&found.mode, &mut gradient);
    let column = |j: usize| (j..10).map(|i| found.factor[10 * i + j] * gradient[i]).sum::<f64>();
    let gain: f64 = (0..10).map(|j| 0.5 * column(j) * column(j)).sum();
    // The Hessian of the last step is that of the mode to some parts in a million.
    assert!(gain < 1.001e-9, "{gain}");
    // The curvature alone, far from the normaliser where the posterior is no normal.
    assert!(found.log_normaliser.is_finite() && found.evaluations > 20);
}

#[test]
fn a_density_without_a_mode_is_named() {
    let centred = Posterior::embedded("eight_schools_centered").unwrap();
    let error = Laplace::at_mode(&centred, &[0.0; 10]).unwrap_err();
    names(&error, &["mode"]);
    let outside = Laplace::at_mode(&KnownTarget::U3, &[9.0, 0.0]).unwrap_err();
    names(&outside, &["the density is zero there"]);
    let funnel = KnownTarget::Funnel(Funnel::DEFAULT);
    let error = Laplace::at_mode(&funnel, &[0.0; 3]).unwrap_err();
    names(&error, &["10", "3"]);
}
