//! A conditional continuous flow learns p(x | c): a noisy circle whose radius is the context.
//!
//! In polar coordinates the truth is r | c ~ N(c, 0.2^2) with c uniform on [1, 3] and an angle that is
//! uniform. The context is an input of the vector field at every time, so that one field transports the
//! base to each of the densities.
//!
//! Run with `cargo run --release -p flows-continuous --example 03_conditional`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::f64::consts::TAU;

use flows_continuous::ContinuousFlow;
use flows_core::tensor::batch;
use flows_core::train::{AdamConfig, Budget, Minibatch, SamplerSource, TrainConfig, Trainer};
use flows_core::{
    Architecture, Base, Context, Flow, Purpose, Result, Stream, Values, normals, stream,
};
use rand::RngExt;

const NOISE: f64 = 0.2;

fn draw(rows: usize, rng: &mut Stream) -> Minibatch<f64> {
    let context: Vec<f64> = (0..rows).map(|_| rng.random_range(1.0..3.0)).collect();
    let noise = normals::<f64>(rows, rng);
    let point = |(c, n): (&f64, &f64)| {
        let (radius, angle) = (c + NOISE * n, rng.random_range(0.0..TAU));
        [radius * angle.cos(), radius * angle.sin()]
    };
    let values = context.iter().zip(&noise).flat_map(point).collect();
    Minibatch { values, context }
}

/// log p(x | c) = log N(r; c, NOISE^2) - log 2 pi r, r = |x|; a radius below 0 is 5 deviations away.
fn truth(x: &[f64], c: f64) -> f64 {
    let radius = x[0].hypot(x[1]);
    -0.5 * ((radius - c) / NOISE).powi(2) - (NOISE * TAU.sqrt()).ln() - (TAU * radius).ln()
}

fn main() -> Result<()> {
    let chain = ContinuousFlow::rnode().build(2, 1, &mut stream(1, "init"))?;
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain))?;
    let optimiser = AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() };
    let train = TrainConfig { optimiser, batch_rows: 256, ..TrainConfig::default() };
    let source = SamplerSource::conditional(draw, 2, 1, 1);
    let mut trained = Trainer::new(flow, train, Budget::Steps { steps: 300 }, 1)?.fit(&source)?;
    trained.bijector_mut().set_purpose(Purpose::Reporting)?;

    let rows = 4_000;
    let Minibatch { values, context } = draw(rows, &mut stream(1, "test"));
    let given = Context::of(batch(context.clone(), rows, 1)?);
    let (log_prob, work) = trained.evaluate(&values, &given)?;
    let pairs = values.chunks_exact(2).zip(&context).zip(&log_prob);
    let divergence = pairs.map(|((x, &c), q)| truth(x, c) - q).sum::<f64>() / rows as f64;
    println!(
        "expected KL divergence from the truth: {divergence:.3} nats, {} evaluations",
        work.evaluations()
    );
    for c in [1.2, 2.0, 2.8] {
        let given = Context::of(batch(vec![c; rows], rows, 1)?);
        let draws = trained.sample(rows, &given, &mut stream(2, "draws"))?.0.values();
        let radii = draws.chunks_exact(2).map(|x| x[0].hypot(x[1]));
        println!("given {c}: mean radius of draws {:.2}", radii.sum::<f64>() / rows as f64);
    }
    Ok(())
}
