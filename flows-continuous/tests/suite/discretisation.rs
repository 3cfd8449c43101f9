//! A discretisation that training could exploit is made finer.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;

use flows_continuous::{
    Accuracy, ContinuousFlow, Divergence, EqualSteps, FieldConfig, PerceptronField, Solver,
};
use flows_core::train::{AdamConfig, Budget, SamplerSource, TrainConfig, Trainer, Validation};
use flows_core::{Architecture, Base, Context, Flow, Purpose, Stream, normals, stream};

const STEPS: u64 = 120;

/// Two narrow normals, which a field needs steep slopes for.
fn draw(rows: usize, rng: &mut Stream) -> Vec<f32> {
    let noise = normals::<f32>(2 * rows, rng);
    noise.chunks_exact(2).map(|pair| pair[0].signum() + 0.1 * pair[1]).collect()
}

fn trainer(steps: usize) -> Trainer<f32> {
    let perceptron = PerceptronField { hidden: vec![32], ..PerceptronField::default() };
    let solver = Solver::Rk4(EqualSteps { steps: NonZeroUsize::new(steps).unwrap() });
    let config = ContinuousFlow {
        field: FieldConfig::Perceptron(perceptron),
        training: Accuracy { solver, divergence: Divergence::Exact },
        ..ContinuousFlow::default()
    };
    let bijector = config.build(1, 0, &mut stream(1, "init")).unwrap();
    let flow = Flow::new(Base::standard_normal(1), Box::new(bijector)).unwrap();
    let config = TrainConfig {
        batch_rows: 128,
        optimiser: AdamConfig { learning_rate: 3e-2, ..AdamConfig::default() },
        validate_every: 10,
        ..TrainConfig::default()
    };
    Trainer::new(flow, config, Budget::Steps { steps: STEPS }, 9).unwrap()
}

/// All validations, nats; stops at `cut` with a file written.
fn run(trainer: &mut Trainer<f32>, cut: Option<(u64, &Path)>) -> Vec<f64> {
    let source = SamplerSource::new(draw, 1, 5);
    let values = draw(1_000, &mut stream(6, "validation"));
    let validation = Validation { values, context: Context::none() };
    let mut nats = Vec::new();
    let report = |trainer: &Trainer<f32>, progress: &flows_core::train::Progress| match cut {
        Some((step, path)) if step == progress.step => {
            trainer.save(path)?;
            Ok(ControlFlow::Break(()))
        }
        _ => {
            nats.extend(progress.validation_nats);
            Ok(ControlFlow::Continue(()))
        }
    };
    trainer.run(&source, Some(&validation), report).unwrap();
    nats
}

/// Mean of the log-likelihoods of training less the reported ones, over fresh draws, nats.
fn gap(flow: &mut Flow<f32>) -> f64 {
    let rows = draw(4_000, &mut stream(8, "fresh"));
    let mut mean = |purpose: Purpose| {
        flow.bijector_mut().set_purpose(purpose).unwrap();
        flow.evaluate(&rows, &Context::none()).unwrap().0.iter().sum::<f64>() / 4_000.0
    };
    mean(Purpose::Training) - mean(Purpose::Reporting)
}

#[test]
fn too_few_steps_of_training_are_doubled_and_enough_are_kept() {
    let mut coarse = trainer(1);
    run(&mut coarse, None);
    assert!((1..=5).contains(&coarse.refinements()), "{}", coarse.refinements());
    let left = gap(&mut coarse.into_flow().unwrap());
    // The tolerance is 0.005 with the noise of a thousand rows; a single step, kept, leaves 0.38.
    assert!(left.abs() < 0.02, "{left}");
    let mut fine = trainer(64);
    run(&mut fine, None);
    assert_eq!(fine.refinements(), 0);
}

#[test]
fn a_resumed_run_has_the_steps_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let mut whole = trainer(1);
    let undisturbed = run(&mut whole, None);
    let mut first = trainer(1);
    let before = run(&mut first, Some((95, &path)));
    assert!(first.refinements() > 0, "there is something to resume");
    let mut second = trainer(1);
    second.resume(&path).unwrap();
    let after = run(&mut second, None);
    assert_eq!([before, after].concat(), undisturbed);
    assert_eq!(second.refinements(), whole.refinements());
}
