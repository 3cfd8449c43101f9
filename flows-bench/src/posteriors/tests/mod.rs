//! Posteriors against differences, closed forms, another implementation and published files.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

mod closed_forms;
mod files;
mod published;

use std::fs;

use flows_core::testing::{STEP, close, close_number};
use flows_core::{Target, normals, stream};
use tempfile::TempDir;

use super::Posterior;

/// Data of the five posteriors that are read, and the log-density at 0.1 in every coordinate by SciPy.
const SMALL: [(&str, &str, &str, f64); 5] = [
    (
        "arK",
        "arK",
        r#"{"K": 2, "T": 9, "y": [0.5, -0.3, 0.8, 0.2, -0.6, 0.4, 0.1, -0.2, 0.9]}"#,
        -19.755_338_602_472_655,
    ),
    (
        "sblrc-blr",
        "sblrc",
        r#"{"N": 4, "D": 2, "y": [1.5, -0.5, 2, 0.3],
            "X": [[1, 0.9], [-0.4, -0.5], [1.6, 1.5], [0.2, 0.3]]}"#,
        -15.612_632_055_647_113,
    ),
    (
        "kidiq-kidscore_interaction",
        "kidiq",
        r#"{"N": 6, "kid_score": [1, 2, 0.5, 1.5, 0.7, 2.2], "mom_hs": [1, 0, 1, 1, 0, 0],
            "mom_iq": [0.5, 1.5, -0.5, 1, 0.3, -0.8]}"#,
        -12.346_725_012_596_718,
    ),
    (
        "garch11",
        "garch",
        r#"{"T": 5, "y": [0.2, -0.9, 1.4, 0.6, -0.1], "sigma1": 0.5}"#,
        -9.438_105_204_712_407,
    ),
    (
        "low_dim_gauss_mix",
        "low_dim_gauss_mix",
        r#"{"N": 5, "y": [-1.2, 0.8, 2.1, -0.7, 1.9]}"#,
        -15.662_282_185_779_418,
    ),
];

/// A folder in which one file of data is this.
fn folder_with(data: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data").join(format!("{data}.json")), text).unwrap();
    folder
}

fn all() -> Vec<Posterior> {
    let read = SMALL.iter().map(|(name, data, text, _)| {
        Posterior::read(name, folder_with(data, text).path()).unwrap()
    });
    let embedded = Posterior::NAMES[..2].iter().map(|name| Posterior::embedded(name).unwrap());
    embedded.chain(read).collect()
}

fn log_density(posterior: &Posterior, point: &[f64]) -> f64 {
    posterior.log_density(point, &mut vec![0.0; point.len()])
}

#[test]
fn every_posterior_has_its_name_and_parameters() {
    let posteriors = all();
    let names: Vec<&str> = posteriors.iter().map(Posterior::name).collect();
    assert_eq!(names, Posterior::NAMES);
    for posterior in &posteriors {
        assert_eq!(posterior.parameters().len(), posterior.dim(), "{}", posterior.name());
    }
    assert_eq!(posteriors[2].parameters(), ["alpha", "beta[1]", "beta[2]", "sigma"]);
    assert_eq!(posteriors[6].parameters(), ["mu[1]", "mu[2]", "sigma[1]", "sigma[2]", "theta"]);
}

#[test]
fn gradients_agree_with_differences() {
    let rng = &mut stream(3, "points");
    for posterior in all() {
        for _ in 0..10 {
            let point: Vec<f64> = normals(posterior.dim(), rng);
            let mut gradient = vec![f64::NAN; point.len()];
            let value = posterior.log_density(&point, &mut gradient);
            for (j, exact) in gradient.iter().enumerate() {
                let slope = |step: f64| {
                    let at = |by: f64| {
                        let mut moved = point.clone();
                        moved[j] += by;
                        log_density(&posterior, &moved)
                    };
                    (at(step) - at(-step)) / (2.0 * step)
                };
                let [fine, coarse] = [slope(STEP), slope(2.0 * STEP)];
                // The error of the finer one is a third of their difference; a hundred roundings of the
                // value over the step.
                let rounding = 100.0 * f64::EPSILON * (1.0 + value.abs()) / STEP;
                let error = (fine - coarse).abs() + rounding;
                let name = posterior.name();
                assert!((exact - fine).abs() < error, "{name} {j}: {exact} {fine} {error}");
            }
        }
    }
}

#[test]
fn log_densities_are_those_of_another_implementation() {
    for (posterior, (name, _, _, expected)) in all()[2..].iter().zip(SMALL) {
        let found = log_density(posterior, &vec![0.1; posterior.dim()]);
        // Some hundred roundings.
        close_number(name, found, expected, 100.0 * f64::EPSILON);
    }
}

#[test]
fn points_come_back_from_what_draws_hold() {
    let rng = &mut stream(4, "points");
    for posterior in all() {
        let point: Vec<f64> = normals(posterior.dim(), rng);
        let back = posterior.unconstrain(&posterior.constrain(&point));
        close(posterior.name(), &back, &point, 1e-12);
        for wrong in [vec![], vec![0.0; posterior.dim() + 1]] {
            assert!(posterior.constrain(&wrong).iter().all(|value| value.is_nan()));
            assert!(posterior.unconstrain(&wrong).iter().all(|value| value.is_nan()));
            assert!(log_density(&posterior, &wrong).is_nan());
        }
    }
}

#[test]
fn beyond_the_range_of_numbers_the_density_is_zero() {
    for posterior in all() {
        for far in [1e3, -1e3, f64::MAX, f64::INFINITY] {
            let mut gradient = vec![1.0; posterior.dim()];
            let value = posterior.log_density(&vec![far; posterior.dim()], &mut gradient);
            assert!(value < 0.0, "{} {far}: {value}", posterior.name());
            assert!(gradient.iter().all(|slope| slope.is_finite()), "{}", posterior.name());
        }
        assert!(log_density(&posterior, &vec![f64::NAN; posterior.dim()]).is_nan());
    }
}

#[test]
fn other_data_have_no_published_normaliser() {
    for posterior in all() {
        let known = posterior.log_normaliser().map(|known| known.nats);
        let expected =
            posterior.name().starts_with("eight_schools").then_some(-32.004_494_532_852_73);
        assert_eq!(known, expected, "{}", posterior.name());
    }
}
