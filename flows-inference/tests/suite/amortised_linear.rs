//! Evidence lower bounds against the exact likelihood of a linear-Gaussian model.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_core::train::{AdamConfig, Budget, SamplerSource, StopReason, TrainConfig};
use flows_core::{Stream, stream};
use flows_finite::architecture::{AutoregressiveFlow, Conditioner};
use flows_inference::amortised::{
    Autoencoder, AutoencoderTrainer, AutoencoderTraining, bijector_of, mean_field,
};

use crate::amortised_models::{LinearModel, Posterior, mean};

fn mean_field_of(model: &LinearModel) -> Autoencoder<f64> {
    let identity = mean_field(2, 0, &mut stream(0, "posterior")).unwrap();
    model.with(model.best_encoder(), identity)
}

/// Where q is the posterior, p(x, z) / q(z | x) is p(x) for every z. Tolerance: the log-weight is a sum of
/// terms below 100, each with a relative error of some 1e-15.
#[test]
fn with_the_exact_posterior_every_draw_gives_the_likelihood() {
    let model = LinearModel::uncorrelated();
    let autoencoder = mean_field_of(&model);
    // More draws than are evaluated at a time, too.
    for (rows, draws) in [(50, 3), (2, 5_000)] {
        let x = model.draws(rows, &mut stream(1, "data"));
        let bounds = autoencoder.evaluate(&x, draws, &mut stream(2, "draws")).unwrap();
        let elbo = bounds.elbo();
        for (row, x) in x.chunks(4).enumerate() {
            let expected = model.log_prob(x);
            assert!((elbo[row] - expected).abs() < 1e-11, "{} for {expected}", elbo[row]);
            let weighted = bounds.importance_weighted[row];
            assert!((weighted - expected).abs() < 1e-11, "{weighted} for {expected}");
        }
    }
}

#[test]
fn the_best_diagonal_normal_stays_below_by_the_known_gap() {
    let model = LinearModel::correlated();
    let x = model.draws(4_000, &mut stream(1, "data"));
    let elbo = mean_field_of(&model).evaluate(&x, 4, &mut stream(2, "draws")).unwrap().elbo();
    let (gap, error) = mean(x.chunks(4).zip(&elbo).map(|(x, elbo)| model.log_prob(x) - elbo));
    let expected = model.mean_field_gap();
    assert!((gap - expected).abs() < 4.0 * error, "{gap} +- {error} for {expected}");
}

#[test]
fn importance_weighted_bounds_grow_with_the_draws_and_stay_below_the_likelihood() {
    let model = LinearModel::correlated();
    let autoencoder = mean_field_of(&model);
    let x = model.draws(2_000, &mut stream(1, "data"));
    let bound = |draws| {
        let rng = &mut stream(draws as u64, "draws");
        autoencoder.evaluate(&x, draws, rng).unwrap()
    };
    let [one, ten, hundred] = [1, 10, 100].map(bound);
    assert_eq!(one.importance_weighted, one.elbo());
    for (less, more) in [(&one, &ten), (&ten, &hundred)] {
        let pairs = less.importance_weighted.iter().zip(&more.importance_weighted);
        let (growth, error) = mean(pairs.map(|(less, more)| more - less));
        assert!(growth > 4.0 * error, "{growth} +- {error}");
    }
    let pairs = x.chunks(4).zip(&hundred.importance_weighted);
    let (gap, error) = mean(pairs.map(|(x, bound)| model.log_prob(x) - bound));
    assert!(gap > -4.0 * error, "{gap} +- {error}");
}

/// The mean distance from the evidence lower bound of a trained posterior to the exact log-likelihood.
fn trained_gap(model: &LinearModel, posterior: Posterior<'_>) -> (f64, f64) {
    let source = SamplerSource::new(|rows, rng: &mut Stream| model.draws(rows, rng), 4, 1);
    let optimiser = AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() };
    let settings = AutoencoderTraining {
        train: TrainConfig { optimiser, batch_rows: 256, ..TrainConfig::default() },
        budget: Budget::Steps { steps: 1_500 },
        ..AutoencoderTraining::default()
    };
    let mut trainer = AutoencoderTrainer::new(model.untrained(posterior), settings, 1).unwrap();
    let stopped = trainer.run(&source, &[], |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    assert_eq!(stopped, StopReason::Finished);
    let trained = trainer.into_model().unwrap();
    let x = model.draws(4_000, &mut stream(7, "test"));
    let elbo = trained.evaluate(&x, 4, &mut stream(8, "draws")).unwrap().elbo();
    mean(x.chunks(4).zip(&elbo).map(|(x, elbo)| model.log_prob(x) - elbo))
}

/// No diagonal normal comes closer than the known gap. Masked affine layers can represent the correlated
/// posterior exactly; of the gap they have to close nine tenths.
#[test]
fn a_trained_flow_closes_the_gap_that_mean_field_leaves() {
    let model = LinearModel::correlated();
    let known = model.mean_field_gap();
    assert!(known > 0.5, "{known}");
    let (gap, error) = trained_gap(&model, &mean_field);
    assert!(gap > known - 4.0 * error, "{gap} +- {error} for {known}");
    assert!(gap < 1.1 * known + 4.0 * error, "{gap} +- {error} for {known}");
    let conditioner = Conditioner::perceptron(vec![16]);
    let iaf = AutoregressiveFlow { layers: 2, conditioner, ..AutoregressiveFlow::iaf() };
    let (gap, error) = trained_gap(&model, &bijector_of(&iaf));
    assert!(gap > -4.0 * error, "{gap} +- {error}");
    assert!(gap < 0.1 * known + 4.0 * error, "{gap} +- {error} for {known}");
}
