//! Likelihoods of decoders.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::batch;
use flows_core::testing::names;
use flows_core::{Tape, Values, stream};
use flows_inference::amortised::{Decoder, Likelihood};

use crate::amortised_models::linear;

const LEVELS: Likelihood = Likelihood::DiscretisedLogistic { levels: 17 };

/// log p of each level of one feature.
fn log_probs(likelihood: Likelihood, levels: usize, outputs: &[f64]) -> Vec<f64> {
    let x = batch((0..levels).map(|level| level as f64).collect(), levels, 1).unwrap();
    let outputs = batch(outputs.repeat(levels), levels, outputs.len()).unwrap();
    likelihood.log_prob(&outputs, &x, &mut Tape::none()).unwrap().values()
}

/// Tolerance: a log-probability has a relative error of some 1e-15, p |ln p| is below 0.4, and there are
/// at most 256 levels.
#[test]
fn probabilities_of_all_levels_sum_to_one() {
    for a in [-30.0, -2.0, -0.3, 0.0, 0.7, 1.0, 5.0] {
        let total: f64 = log_probs(Likelihood::Bernoulli, 2, &[a]).iter().map(|l| l.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12, "{total} at {a}");
        for t in [-8.0, -3.0, -1.0, 0.0, 3.0, 8.0] {
            for levels in [2, 17, 256] {
                let likelihood = Likelihood::DiscretisedLogistic { levels };
                let all = log_probs(likelihood, levels as usize, &[a, t]);
                let total: f64 = all.iter().map(|l| l.exp()).sum();
                assert!((total - 1.0).abs() < 1e-12, "{total} for {levels} levels at {a}, {t}");
            }
        }
    }
}

/// Tolerance: the differences of distribution functions cancel to some 1e-16 of 1, and the smallest
/// probability here is 5e-4.
#[test]
fn discretised_logistic_probabilities_are_differences_of_the_distribution_function() {
    let (a, t) = (0.2_f64, -1.5_f64);
    let distribution = |x: f64| 1.0 / (1.0 + (-(x - 8.0 * (1.0 + a)) / (8.0 * t.exp())).exp());
    for (level, log_p) in log_probs(LEVELS, 17, &[a, t]).into_iter().enumerate() {
        let x = level as f64;
        let below = if level == 0 { 0.0 } else { distribution(x - 0.5) };
        let above = if level == 16 { 1.0 } else { distribution(x + 0.5) };
        let expected = above - below;
        assert!(expected > 5e-4 && (log_p.exp() - expected).abs() < 1e-14, "{level}: {log_p}");
    }
}

#[test]
fn draws_have_the_probabilities_of_their_levels() {
    for (likelihood, levels, outputs) in
        [(Likelihood::Bernoulli, 2, vec![0.8]), (LEVELS, 17, vec![0.4, -1.0])]
    {
        let network = linear(1, outputs.len(), &vec![0.0; outputs.len()], &outputs);
        let decoder = Decoder::new(network, likelihood, 1).unwrap();
        let rows = 20_000;
        let z = batch(vec![0.0; rows], rows, 1).unwrap();
        let draws = decoder.sample(&z, &mut stream(1, "draws")).unwrap().values();
        for (level, log_p) in log_probs(likelihood, levels, &outputs).into_iter().enumerate() {
            let count = draws.iter().filter(|&&x| x == level as f64).count() as f64;
            let (p, rows) = (log_p.exp(), rows as f64);
            let error = (rows * p * (1.0 - p)).sqrt();
            assert!((count - rows * p).abs() < 4.0 * error, "level {level}: {count} for {p}");
        }
    }
}

#[test]
fn values_beside_the_levels_are_refused() {
    let of = |likelihood: Likelihood, x: f64| {
        let outputs = batch(vec![0.0; likelihood.outputs(1)], 1, likelihood.outputs(1)).unwrap();
        let x = batch(vec![x], 1, 1).unwrap();
        likelihood.log_prob(&outputs, &x, &mut Tape::none()).unwrap_err()
    };
    names(&of(Likelihood::Bernoulli, 0.5), &["0 or 1", "got 0.5", "round"]);
    names(&of(LEVELS, 17.0), &["from 0 to 16", "got 17"]);
    names(&of(LEVELS, f64::NAN), &["got NaN"]);
    names(&of(Likelihood::Normal, f64::INFINITY), &["finite", "got inf"]);
    let one = Likelihood::DiscretisedLogistic { levels: 1 };
    let error = Decoder::new(linear(1, 2, &[0.0; 2], &[0.0; 2]), one, 1).unwrap_err();
    names(&error, &["levels", "at least 2", "got 1"]);
}
