//! Calibration of estimated posteriors: of a good one, and of one that is too sure.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::metrics::{Calibration, ConditionalDraws};
use flows_core::stream;
use flows_core::testing::names;
use flows_inference::simulation::{
    CalibrationDraws, Invalid, RankHistogram, Simulations, unreported,
};

use crate::simulation_models::Noisy;
use crate::simulation_npe::{affine, estimate, settings};

const DRAWS: usize = 99;
const PAIRS: usize = 500;

/// Ranks of the truths of a simulator among draws of a posterior that was estimated from another.
fn calibration(trained_on: f64, tested_on: f64) -> (Calibration, CalibrationDraws) {
    let posterior =
        estimate(&Noisy::conjugate(trained_on).unwrap(), &affine(), &settings(10_000, 600))
            .unwrap();
    let rng = &mut stream(5, "pairs");
    let simulator = Noisy::conjugate(tested_on).unwrap();
    let pairs =
        Simulations::of_prior(&simulator, PAIRS, Invalid::Refuse, &mut unreported, rng).unwrap();
    let draws = CalibrationDraws::new(&posterior, &pairs, DRAWS, rng).unwrap();
    let CalibrationDraws { dim, draws: count, rows, log_density } = &draws;
    let of = ConditionalDraws { dim: *dim, draws: *count, rows, log_density };
    (Calibration::new(&of, 1), draws)
}

fn histograms(calibration: &Calibration) -> Vec<RankHistogram> {
    let ranks = calibration.ranks();
    // By both parameters, by density, by distance.
    let of = |score: usize| ranks.iter().skip(score).step_by(4).copied().collect::<Vec<u32>>();
    (0..4).map(|score| RankHistogram::new(&of(score), DRAWS, 10).unwrap()).collect()
}

#[test]
fn a_good_posterior_is_calibrated() {
    let (calibration, draws) = calibration(0.5, 0.5);
    assert_eq!(draws.rows.len(), PAIRS * (DRAWS + 1) * 2);
    assert_eq!(draws.log_density.len(), PAIRS * (DRAWS + 1));
    for distance in calibration.distances(3) {
        // Uniform ranks pass twice the 95 % point of a Kolmogorov-Smirnov distance with probability
        // 2 exp(-2 (2 x 1.36)^2) = 1e-6; the rest of the room is for the error of the estimate.
        assert!(distance.value < 2.0 * distance.null_95, "{distance:?}");
    }
    for histogram in histograms(&calibration) {
        // Of ten counts, three outside of a 99 % band have probability 1e-4.
        assert!(histogram.outside() < 3, "{histogram:?}");
    }
}

/// Trained for noise of 0.25 where there is 0.5: the posterior is about half as wide as it should be.
#[test]
fn a_posterior_that_is_too_sure_is_found_out() {
    let (calibration, _) = calibration(0.25, 0.5);
    for distance in calibration.distances(3) {
        assert!(distance.value > 2.0 * distance.null_95, "{distance:?}");
    }
    let histograms = histograms(&calibration);
    // Truths lie at the ends of their draws, and at the rim of the draws' density.
    for histogram in &histograms[..2] {
        assert!(histogram.counts[0] > histogram.band[1] && histogram.counts[9] > histogram.band[1]);
    }
    assert!(histograms[2].counts[9] > histograms[2].band[1]);
}

#[test]
fn no_draws_are_refused() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let posterior = estimate(&simulator, &affine(), &settings(100, 2)).unwrap();
    let rng = &mut stream(5, "pairs");
    let pairs =
        Simulations::of_prior(&simulator, 5, Invalid::Refuse, &mut unreported, rng).unwrap();
    let error = CalibrationDraws::new(&posterior, &pairs, 0, rng).unwrap_err();
    names(&error, &["draws for each pair", "at least 1"]);
}
