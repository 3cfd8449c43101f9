//! Fits of the base in alternation with gradient steps, and training by draws alone (claims C8, C10).
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use flows_core::tensor::batch;
use flows_core::train::{
    AdamConfig, BaseUpdate, Budget, Checkpoint, MaximumMeanDiscrepancy, Objective, Progress,
    ReverseKl, SamplerSource, Schedule, Source, TrainConfig, Trainer, Validation,
};
use flows_core::{Base, Chain, Context, Error, Flow, Parameters, Stream, Values, normals, stream};

fn flow(base: Base<f64>) -> Flow<f64> {
    let identity = Box::new(Chain::new(base.dim(), Vec::new()).unwrap());
    Flow::new(base, identity).unwrap()
}

/// Rows around 3, correlated.
fn draw(rows: usize, rng: &mut Stream) -> Vec<f64> {
    let mut values = normals::<f64>(rows * 2, rng);
    values.chunks_exact_mut(2).for_each(|z| (z[0], z[1]) = (3.0 + z[0], 0.5 * z[1] + z[0]));
    values
}

fn source() -> impl Source<f64> {
    SamplerSource::new(draw, 2, 5)
}

fn config() -> TrainConfig {
    let base_update = Some(BaseUpdate { every: 4, rows: 50 });
    // Weight decay would show a step on the base.
    let optimiser = AdamConfig { weight_decay: 0.5, ..AdamConfig::default() };
    TrainConfig { base_update, optimiser, batch_rows: 20, ..TrainConfig::default() }
}

fn weights(flow: &Flow<f64>) -> Vec<u64> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| all.extend(tensor.values().iter().map(|v| v.to_bits())));
    all
}

#[test]
fn the_base_is_the_fit_of_fresh_rows_and_takes_no_steps() {
    let start = flow(Base::full_normal(2).unwrap());
    let mut trainer = Trainer::new(start, config(), Budget::Steps { steps: 10 }, 1).unwrap();
    let source = source();
    let check = |trainer: &Trainer<f64>, progress: &Progress| {
        let rows = source.minibatch(u64::MAX - (progress.step - 1) / 4, 50)?.values;
        let mut expected = Base::full_normal(2)?;
        expected.fit(&batch(rows, 50, 2)?)?;
        assert_eq!(weights(trainer.flow()), weights(&flow(expected)), "step {}", progress.step);
        assert!(progress.gradient_norm.abs() < f64::MIN_POSITIVE, "the base has the only gradient");
        Ok(ControlFlow::Continue(()))
    };
    trainer.run(&source, None, check).unwrap();
    let folder = tempfile::tempdir().unwrap();
    trainer.save(&folder.path().join("run")).unwrap();
    let file = Checkpoint::<f64>::read(&folder.path().join("run")).unwrap();
    file.restore_vectors("adam.first", &mut []).unwrap();
}

#[test]
fn a_resumed_run_fits_the_base_as_the_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let start = |seed| {
        let mixture = Base::mixture(2, 3, &mut stream(seed, "init")).unwrap();
        Trainer::new(flow(mixture), config(), Budget::Steps { steps: 11 }, 1).unwrap()
    };
    let run = |mut trainer: Trainer<f64>, cut: Option<(u64, &Path)>| {
        let mut seen = Vec::new();
        let note = |trainer: &Trainer<f64>, progress: &Progress| {
            seen.push((progress.train_nats.unwrap().to_bits(), weights(trainer.flow())));
            Ok(match cut {
                Some((step, path)) if step == progress.step => {
                    trainer.save(path)?;
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })
        };
        trainer.run(&source(), None, note).unwrap();
        seen
    };
    let undisturbed = run(start(1), None);
    for cut in [1, 4, 6] {
        let before = run(start(1), Some((cut, &path)));
        let mut second = start(2);
        second.resume(&path).unwrap();
        assert_eq!([before, run(second, None)].concat(), undisturbed, "cut at {cut}");
    }
}

#[test]
fn training_by_discrepancy_comes_close_to_the_likelihood() {
    // N(3, 1) x N(3 less 3, ..) by a full normal: the fit is what likelihood would find.
    let validation =
        Validation { values: draw(4000, &mut stream(9, "v")), context: Context::none() };
    let objective = Objective::MaximumMeanDiscrepancy(MaximumMeanDiscrepancy::default());
    let config = TrainConfig {
        objective,
        base_update: None,
        optimiser: AdamConfig { learning_rate: 0.05, ..AdamConfig::default() },
        schedule: Schedule::Cosine,
        batch_rows: 256,
        validate_every: 600,
        ..TrainConfig::default()
    };
    let start = flow(Base::full_normal(2).unwrap());
    let mut trainer = Trainer::new(start, config, Budget::Steps { steps: 600 }, 1).unwrap();
    let mut last = f64::NAN;
    let note = |_: &_, progress: &Progress| {
        assert!(progress.discrepancy.is_some() && progress.train_nats.is_none());
        last = progress.validation_nats.unwrap_or(last);
        Ok(ControlFlow::Continue(()))
    };
    trainer.run(&source(), Some(&validation), note).unwrap();
    let mut best = flow(Base::full_normal(2).unwrap());
    let rows = validation.values.len() / 2;
    let x = batch(validation.values.clone(), rows, 2).unwrap();
    best.fit_base(&x, &Context::none()).unwrap();
    let (log_prob, _) = best.evaluate(&validation.values, &Context::none()).unwrap();
    let least = -log_prob.iter().sum::<f64>() / rows as f64;
    assert!(last < least + 0.05, "{last} {least}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let refused = |base: Base<f64>, config: TrainConfig| {
        Trainer::new(flow(base), config, Budget::Steps { steps: 5 }, 0).unwrap_err()
    };
    let normal = || Base::full_normal(2).unwrap();
    let error = refused(Base::standard_normal(2), config());
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let objective = Objective::ReverseKl(ReverseKl::default());
    let error = refused(normal(), TrainConfig { objective, ..config() });
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    for (every, rows) in [(0, 50), (5, 1)] {
        let base_update = Some(BaseUpdate { every, rows });
        let error = refused(normal(), TrainConfig { base_update, ..config() });
        assert!(error.to_string().contains("base_update"), "{error}");
    }
    for (bandwidth, kernels) in [(0.0, 5), (f64::NAN, 5), (1.0, 0), (1.0, 33)] {
        let settings = MaximumMeanDiscrepancy { bandwidth, kernels };
        let objective = Objective::MaximumMeanDiscrepancy(settings);
        refused(normal(), TrainConfig { objective, base_update: None, ..config() });
    }
    assert_eq!(MaximumMeanDiscrepancy::default().bandwidths(), [0.25, 0.5, 1.0, 2.0, 4.0]);
}
