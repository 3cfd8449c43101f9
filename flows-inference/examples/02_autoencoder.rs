//! A variational autoencoder of handwritten digits, with an inverse autoregressive flow as posterior.
//!
//! The 1,797 digits of 8 x 8 pixels keep their 17 levels, under a discretised logistic likelihood. Printed are
//! the evidence lower bound and the importance-weighted bound of held-out digits, in nats, for the flow and for
//! the diagonal normal that it starts from. `run vae` of the program compares all kinds of flows.
//!
//! Run with `cargo run --release -p flows-inference --example 02_autoencoder`, or with a number of steps, `-- 3000`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;

use flows_bench::table::digits;
use flows_core::train::{Budget, StopReason, TableSource, TrainConfig};
use flows_core::{Error, Result, stream};
use flows_finite::architecture::{AutoregressiveFlow, Conditioner};
use flows_inference::amortised::{
    Autoencoder, AutoencoderConfig, AutoencoderTrainer, AutoencoderTraining, Likelihood,
    bijector_of, mean_field, standard_normal_prior,
};

const DIM: usize = 64;

/// Digits that are held out.
const TEST: usize = 360;

/// Draws of the importance-weighted bound.
const DRAWS: usize = 100;

fn main() -> Result<()> {
    let steps = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let table = digits().map_err(|error| Error::Caller(error.to_string()))?.table;
    let levels: Vec<f32> = table.values().iter().map(|&level| level as f32).collect();
    let (test, training) = levels.split_at(TEST * DIM);
    let config = AutoencoderConfig {
        latent: 8,
        context: 16,
        encoder: vec![128, 128],
        decoder: vec![128, 128],
        likelihood: Likelihood::DiscretisedLogistic { levels: 17 },
        ..AutoencoderConfig::default()
    };
    let iaf = AutoregressiveFlow {
        layers: 4,
        conditioner: Conditioner::perceptron(vec![64, 64]),
        ..AutoregressiveFlow::iaf()
    };
    let rng = || stream(1, "weights");
    let normal = config.build(DIM, mean_field, standard_normal_prior, &mut rng())?;
    let flow = config.build(DIM, bijector_of(&iaf), standard_normal_prior, &mut rng())?;
    for (name, model) in [("mean-field", normal), ("iaf", flow)] {
        report(name, &train(model, training, steps)?, test)?;
    }
    Ok(())
}

fn train(model: Autoencoder<f32>, rows: &[f32], steps: u64) -> Result<Autoencoder<f32>> {
    let (seed, budget) = (1, Budget::Steps { steps });
    let train = TrainConfig { batch_rows: 128, ..TrainConfig::default() };
    let settings = AutoencoderTraining { train, budget, ..AutoencoderTraining::default() };
    let mut trainer = AutoencoderTrainer::new(model, settings, seed)?;
    let source = TableSource::new(rows.to_vec(), DIM, seed)?;
    match trainer.run(&source, &[], |_, _| Ok(ControlFlow::Continue(())))? {
        StopReason::Diverged { step, reason } => {
            Err(Error::Caller(format!("training stopped at step {step}: {reason}")))
        }
        _ => trainer.into_model(),
    }
}

fn report(name: &str, model: &Autoencoder<f32>, test: &[f32]) -> Result<()> {
    let bounds = model.evaluate(test, DRAWS, &mut stream(1, "test draws"))?;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    println!(
        "{name:<12} lower bound {:.3}, importance-weighted {:.3}, KL {:.3} nats",
        mean(&bounds.elbo()),
        mean(&bounds.importance_weighted),
        mean(&bounds.kl)
    );
    Ok(())
}
