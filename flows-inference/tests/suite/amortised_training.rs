//! Gradients and training of variational autoencoders.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_continuous::ContinuousFlow;
use flows_core::activation::Activation;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{names, perturb};
use flows_core::train::{Budget, StopReason, TableSource, TrainConfig};
use flows_core::{
    Architecture, Base, Flow, Parameters, PerRow, Purpose, Real, Result, Role, Stream, Tape,
    Values, normals, stream,
};
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, CouplingFlow, LemmaFlow, Perceptron,
};
use flows_inference::amortised::{
    Autoencoder, AutoencoderConfig, AutoencoderTrainer, AutoencoderTraining, Likelihood,
    bijector_of, standard_normal_prior,
};

/// Smooth, so that differences have no kinks to cross.
fn conditioner() -> Conditioner {
    Conditioner::Perceptron(Perceptron { hidden: vec![5], activation: Activation::Tanh })
}

fn config(likelihood: Likelihood) -> AutoencoderConfig {
    let hidden = || vec![5];
    let activation = Activation::Tanh;
    AutoencoderConfig {
        latent: 2,
        context: 3,
        encoder: hidden(),
        decoder: hidden(),
        activation,
        likelihood,
    }
}

fn flow_prior<E: Real>(latent: usize, rng: &mut Stream) -> Result<Flow<E>> {
    let prior = CouplingFlow { layers: 2, conditioner: conditioner(), ..CouplingFlow::default() };
    let chain = prior.build::<E>(latent, 0, rng)?;
    Flow::new(Base::diagonal_normal(latent)?, Box::new(chain))
}

fn model<E: Real>(likelihood: Likelihood, dim: usize) -> Autoencoder<E> {
    let iaf =
        AutoregressiveFlow { layers: 2, conditioner: conditioner(), ..AutoregressiveFlow::iaf() };
    let rng = &mut stream(1, "weights");
    config(likelihood).build(dim, bijector_of(&iaf), flow_prior, rng).unwrap()
}

/// Moves value `at` of all learned values by `by`.
fn moved(model: &mut Autoencoder<f64>, at: usize, by: f64) {
    let mut before = 0;
    let change = &mut |_: &str, role, tensor: &mut flows_core::Batch<f64>| {
        if role == Role::Fixed {
            return Ok(());
        }
        let mut values = tensor.values();
        if let Some(value) = at.checked_sub(before).and_then(|index| values.get_mut(index)) {
            *value += by;
        }
        before += values.len();
        set_values(tensor, &values)
    };
    model.visit_mut(change).unwrap();
}

/// Tolerance: central differences at h = 6e-6, the cube root of the rounding error, are off by h^2 = 4e-11
/// times third derivatives, and by 1e-16 / h = 2e-11 times a loss below 100.
#[test]
fn gradients_are_those_of_differences_with_fixed_noise() {
    let levels = Likelihood::DiscretisedLogistic { levels: 5 };
    for (likelihood, x) in [
        (Likelihood::Bernoulli, [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]),
        (levels, [0.0, 3.0, 4.0, 1.0, 2.0, 2.0]),
        (Likelihood::Normal, [0.3, -1.0, 0.5, 1.2, -0.2, 0.7]),
    ] {
        let mut model = model::<f64>(likelihood, 3);
        perturb(&mut model, 0.3, &mut stream(2, "perturbation")).unwrap();
        let x = batch(x.to_vec(), 2, 3).unwrap();
        let loss =
            |model: &Autoencoder<f64>| model.loss(&x, 3, 0.7, &mut stream(5, "noise")).unwrap();
        let mut gradient = loss(&model).gradient;
        let mut analytic = Vec::new();
        model.visit(&mut |name, role, tensor| {
            if role == Role::Learned {
                let values = gradient.of(tensor).unwrap().to_vec();
                assert!(values.iter().any(|g| *g != 0.0), "{name} has no gradient");
                analytic.extend(values);
            }
        });
        assert_eq!(analytic.len(), model.count());
        let size = analytic.iter().fold(1.0_f64, |size, g| size.max(g.abs()));
        let step = 6e-6;
        for (at, expected) in analytic.iter().enumerate() {
            moved(&mut model, at, step);
            let above = loss(&model).value;
            moved(&mut model, at, -2.0 * step);
            let below = loss(&model).value;
            moved(&mut model, at, step);
            let difference = (above - below) / (2.0 * step);
            assert!(
                (difference - expected).abs() < 1e-7 * size,
                "{likelihood:?}, value {at}: {expected} for {difference}"
            );
        }
    }
}

/// RNODE charges for the path of its posterior draws, in training only.
#[test]
fn penalties_of_a_continuous_posterior_are_in_the_loss() {
    let rnode = ContinuousFlow::rnode();
    let config = config(Likelihood::Bernoulli);
    let mut model = config
        .build::<f64>(3, bijector_of(&rnode), standard_normal_prior, &mut stream(1, "weights"))
        .unwrap();
    perturb(&mut model, 0.3, &mut stream(2, "perturbation")).unwrap();
    let x = batch(vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2, 3).unwrap();
    model.set_purpose(Purpose::Training).unwrap();
    model.begin_step(&mut stream(3, "probes")).unwrap();
    let loss = model.loss(&x, 1, 1.0, &mut stream(5, "noise")).unwrap().value;
    let draw = |model: &Autoencoder<f64>| {
        model.draw(&x, 1, &mut Tape::recording(), &mut stream(5, "noise")).unwrap()
    };
    let drawn = draw(&model);
    let mean = |values: &PerRow<f64>| values.values().iter().sum::<f64>() / 2.0;
    let bound = mean(&drawn.log_likelihood) + mean(&drawn.log_prior) - mean(&drawn.log_posterior);
    let penalty: f64 = drawn.penalties.iter().map(mean).sum();
    assert!(penalty > 0.0, "{penalty}");
    // A sum of four terms below 100.
    assert!((loss - (penalty - bound)).abs() < 1e-13 * 100.0, "{loss} for {penalty} - {bound}");
    model.set_purpose(Purpose::Reporting).unwrap();
    assert!(draw(&model).penalties.is_empty());
}

fn binary(rows: usize, dim: usize) -> Vec<f32> {
    let noise = normals::<f32>(rows * dim, &mut stream(4, "data"));
    noise.iter().map(|n| f32::from(u8::from(*n > 0.3))).collect()
}

fn settings(steps: u64) -> AutoencoderTraining {
    let train = TrainConfig {
        batch_rows: 16,
        validate_every: 4,
        patience: Some(100),
        ..TrainConfig::default()
    };
    AutoencoderTraining { train, budget: Budget::Steps { steps }, ..AutoencoderTraining::default() }
}

fn all_values(model: &Autoencoder<f32>) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    model.visit(&mut |_, _, tensor| all.push(tensor.values()));
    all
}

#[test]
fn a_resumed_training_is_the_uninterrupted_one_bit_for_bit() {
    let data = binary(80, 6);
    let (held_out, rest) = data.split_at(16 * 6);
    let source = TableSource::new(rest.to_vec(), 6, 1).unwrap();
    let trainer = || {
        AutoencoderTrainer::new(model::<f32>(Likelihood::Bernoulli, 6), settings(30), 3).unwrap()
    };
    let mut whole = trainer();
    whole.run(&source, held_out, |_, _| Ok(ControlFlow::Continue(()))).unwrap();

    let mut first = trainer();
    let stopped = first.run(&source, held_out, |_, progress| {
        Ok(if progress.step == 13 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(stopped.unwrap(), StopReason::Interrupted);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    first.save(&path).unwrap();
    let mut second = trainer();
    second.resume(&path).unwrap();
    assert_eq!(second.steps(), 13);
    second.run(&source, held_out, |_, _| Ok(ControlFlow::Continue(()))).unwrap();

    assert_eq!(all_values(whole.model()), all_values(second.model()));
    let [whole, second] = [whole, second].map(|trainer| trainer.into_model().unwrap());
    assert_eq!(all_values(&whole), all_values(&second));

    let mut other =
        AutoencoderTrainer::new(model::<f32>(Likelihood::Bernoulli, 7), settings(30), 3).unwrap();
    names(&other.resume(&path).unwrap_err(), &["expected", "got"]);
}

#[test]
fn patience_keeps_the_best_validated_weights() {
    // The held-out rows are the opposite of those that are trained on, so that training worsens them.
    let source = TableSource::new(vec![1.0_f32; 64 * 6], 6, 1).unwrap();
    let held_out = vec![0.0_f32; 16 * 6];
    let mut settings = settings(200);
    settings.train.patience = Some(2);
    let model = model::<f32>(Likelihood::Bernoulli, 6);
    let mut trainer = AutoencoderTrainer::new(model, settings, 3).unwrap();
    let mut validated = Vec::new();
    let stopped = trainer.run(&source, &held_out, |_, progress| {
        validated.extend(progress.validation_nats);
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!(stopped.unwrap(), StopReason::EarlyStop);
    let best = validated.iter().copied().fold(f64::INFINITY, f64::min);
    let model = trainer.into_model().unwrap();
    let elbo = model.evaluate(&held_out, 4, &mut stream(3, "validation")).unwrap().elbo();
    assert_eq!(-elbo.iter().sum::<f64>() / elbo.len() as f64, best);
}

#[test]
fn a_fixed_model_is_not_trained() {
    let source = TableSource::new(binary(64, 6), 6, 1).unwrap();
    let model = model::<f32>(Likelihood::Bernoulli, 6).with_fixed_model();
    let of = |model: &Autoencoder<f32>, part: &str| {
        let mut all = Vec::new();
        model.visit(&mut |name, _, tensor| {
            if name.starts_with(part) {
                all.extend(tensor.values());
            }
        });
        all
    };
    let before = ["encoder", "posterior", "prior", "decoder"].map(|part| of(&model, part));
    let mut trainer = AutoencoderTrainer::new(model, settings(3), 3).unwrap();
    trainer.run(&source, &[], |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    let after = ["encoder", "posterior", "prior", "decoder"].map(|part| of(trainer.model(), part));
    let same: Vec<bool> = before.iter().zip(&after).map(|(b, a)| b == a).collect();
    assert_eq!(same, [false, false, true, true]);
}

#[test]
fn parts_and_settings_that_do_not_fit_are_refused() {
    let rng = &mut stream(1, "weights");
    let planar = LemmaFlow::planar();
    let build = config(Likelihood::Bernoulli).build::<f32>(
        6,
        bijector_of(&planar),
        standard_normal_prior,
        rng,
    );
    names(&build.unwrap_err(), &["context", "planar"]);
    let wrong = |change: &dyn Fn(&mut AutoencoderTraining)| {
        let mut settings = settings(3);
        change(&mut settings);
        let model = model::<f32>(Likelihood::Bernoulli, 6);
        AutoencoderTrainer::new(model, settings, 3).unwrap_err()
    };
    names(&wrong(&|s| s.draws = 0), &["draws", "at least 1", "got 0"]);
    names(&wrong(&|s| s.warm_up = 1.5), &["warm_up", "from 0 to 1", "got 1.5"]);
    names(&wrong(&|s| s.train.ema = Some(0.9)), &["ema", "patience"]);
    let model = model::<f32>(Likelihood::Bernoulli, 6);
    let error = model.evaluate(&[1.0; 7], 1, rng).unwrap_err();
    names(&error, &["expected 6", "got 1"]);
    let error = model.evaluate(&[1.0; 6], 0, rng).unwrap_err();
    names(&error, &["draws", "at least 1", "got 0"]);
}
