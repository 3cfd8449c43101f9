//! Training with probes is saved and resumed bit for bit: probes belong to the step.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_continuous::{ContinuousFlow, FieldConfig, PerceptronField};
use flows_core::train::{Budget, SamplerSource, StopReason, TrainConfig, Trainer, Validation};
use flows_core::{Architecture, Base, Context, Flow, Parameters, Stream, Values, normals, stream};

const STEPS: u64 = 8;

fn trainer(seed: u64) -> Trainer<f32> {
    let perceptron = PerceptronField { hidden: vec![8], ..PerceptronField::default() };
    let field = FieldConfig::Perceptron(perceptron);
    let config = ContinuousFlow { field, act_norm: false, ..ContinuousFlow::default() };
    let bijector = config.build(2, 0, &mut stream(seed, "init")).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(bijector)).unwrap();
    let config = TrainConfig {
        batch_rows: 150,
        ema: Some(0.9),
        patience: Some(3),
        validate_every: 3,
        ..TrainConfig::default()
    };
    Trainer::new(flow, config, Budget::Steps { steps: STEPS }, 9).unwrap()
}

fn draw(rows: usize, rng: &mut Stream) -> Vec<f32> {
    normals::<f32>(rows * 2, rng).iter().map(|v| 1.5 * v + 0.5).collect()
}

/// Losses and validations as bits; stops at `cut` with a file written.
fn run(trainer: &mut Trainer<f32>, cut: Option<(u64, &std::path::Path)>) -> Vec<[u64; 2]> {
    let source = SamplerSource::new(draw, 2, 5);
    let values = draw(50, &mut stream(6, "validation"));
    let validation = Validation { values, context: Context::none() };
    let mut seen = Vec::new();
    let outcome = trainer.run(&source, Some(&validation), |trainer, progress| {
        let nats = progress.validation_nats.unwrap_or_default();
        seen.push([progress.train_nats.unwrap().to_bits(), nats.to_bits()]);
        match cut {
            Some((step, path)) if step == progress.step => {
                trainer.save(path)?;
                Ok(ControlFlow::Break(()))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    });
    let expected = if cut.is_some() { StopReason::Interrupted } else { StopReason::Finished };
    assert_eq!(outcome.unwrap(), expected);
    seen
}

fn weights(flow: &Flow<f32>) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| {
        all.push(tensor.values().iter().map(|v| v.to_bits()).collect());
    });
    all
}

#[test]
fn a_resumed_run_draws_the_probes_of_the_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let mut whole = trainer(1);
    let undisturbed = run(&mut whole, None);
    for cut in [1, 3, 5] {
        let before = run(&mut trainer(1), Some((cut, &path)));
        let mut second = trainer(2);
        second.resume(&path).unwrap();
        let after = run(&mut second, None);
        assert_eq!([before, after].concat(), undisturbed, "cut at {cut}");
        assert_eq!(weights(second.flow()), weights(whole.flow()), "cut at {cut}");
        let used = weights(&second.into_flow().unwrap());
        let mut again = trainer(1);
        run(&mut again, None);
        assert_eq!(used, weights(&again.into_flow().unwrap()), "cut at {cut}");
    }
}
