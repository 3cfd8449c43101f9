//! A spline flow learns a density in the plane from rows, and is kept in a file.
//!
//! The rows lie on a noisy parabola whose density is known, so that the result is a divergence in
//! nats and not only a likelihood.
//!
//! Run with `cargo run --release -p flows-finite --example 01_density`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;

use flows_core::train::{
    AdamConfig, Budget, Checkpoint, TableSource, TrainConfig, Trainer, Validation,
};
use flows_core::{Architecture, Base, Context, Flow, Result, Values, normals, stream};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};

/// x1 ~ N(0, 1), x2 ~ N(x1^2 - 1, 0.25).
fn rows(count: usize, name: &str) -> Vec<f64> {
    let noise: Vec<f64> = normals(2 * count, &mut stream(1, name));
    noise.chunks(2).flat_map(|n| [n[0], n[0] * n[0] - 1.0 + 0.5 * n[1]]).collect()
}

/// Its entropy: ln(2 pi e) / 2 for each of two normals, and ln 0.5.
fn entropy() -> f64 {
    (2.0 * std::f64::consts::PI * std::f64::consts::E).ln() + 0.5_f64.ln()
}

fn flow() -> Result<Flow<f64>> {
    let conditioner = Conditioner::perceptron(vec![32, 32]);
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 8, ..SplineConfig::default() }).shared();
    let config = CouplingFlow { layers: 4, conditioner, transformer, ..CouplingFlow::nsf() };
    let chain = config.build(2, 0, &mut stream(1, "init"))?;
    Flow::new(Base::standard_normal(2), Box::new(chain))
}

fn main() -> Result<()> {
    let optimiser = AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() };
    let config = TrainConfig { optimiser, validate_every: 200, ..TrainConfig::default() };
    let source = TableSource::new(rows(20_000, "train"), 2, 1)?;
    let validation = Validation { values: rows(2_000, "validation"), context: Context::none() };
    let mut trainer = Trainer::new(flow()?, config, Budget::Steps { steps: 600 }, 1)?;
    trainer.run(&source, Some(&validation), |_, progress| {
        if let Some(nats) = progress.validation_nats {
            println!("step {:4}: validation {nats:.4} nats", progress.step);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let trained = trainer.into_flow()?;

    let (log_prob, _) = trained.evaluate(&rows(50_000, "test"), &Context::none())?;
    let nats = -log_prob.iter().sum::<f64>() / log_prob.len() as f64;
    println!("KL divergence from the truth: {:.4} nats", nats - entropy());

    let path = std::env::temp_dir().join("flows-finite-01-density.safetensors");
    let mut file = Checkpoint::new();
    file.add_model("flow", &trained);
    file.write(&path)?;
    let mut again = flow()?;
    Checkpoint::read(&path)?.restore_model("flow", &mut again)?;
    let same = again.evaluate(&[0.5, -0.5], &Context::none())?.0
        == trained.evaluate(&[0.5, -0.5], &Context::none())?.0;
    println!("read back from a file, the log-density has the same bits: {same}");
    let (draws, _) = again.sample(3, &Context::none(), &mut stream(2, "draws"))?;
    println!("three draws: {:.3?}", draws.values());
    Ok(())
}
