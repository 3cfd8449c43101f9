//! A conditional spline flow learns p(x | c), one feature whose mean and spread depend on a context.
//!
//! The truth is x | c ~ N(sin 3c, s(c)^2) with s(c) = 0.2 + 0.4 (1 + c) and c uniform on [-1, 1], so
//! that the result is an expected divergence in nats. Contexts come with the rows of a minibatch, and a
//! draw has the context that it is asked for.
//!
//! Run with `cargo run --release -p flows-finite --example 03_conditional`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use flows_core::tensor::batch;
use flows_core::train::{AdamConfig, Budget, Minibatch, SamplerSource, TrainConfig, Trainer};
use flows_core::{Architecture, Base, Context, Flow, Result, Stream, Values, normals, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use rand::RngExt;

const LN_2PI: f64 = 1.837_877_066_409_345_5;

/// Mean and standard deviation of x given c.
fn moments(c: f64) -> [f64; 2] {
    [(3.0 * c).sin(), 0.2 + 0.4 * (1.0 + c)]
}

fn draw(rows: usize, rng: &mut Stream) -> Minibatch<f64> {
    let context: Vec<f64> = (0..rows).map(|_| rng.random_range(-1.0..1.0)).collect();
    let given = context.iter().zip(normals::<f64>(rows, rng));
    let values = given.map(|(&c, n)| moments(c)[0] + moments(c)[1] * n).collect();
    Minibatch { values, context }
}

fn main() -> Result<()> {
    let conditioner = Conditioner::perceptron(vec![32, 32]);
    let config = CouplingFlow { layers: 2, conditioner, ..CouplingFlow::nsf() };
    let chain = config.build(1, 1, &mut stream(1, "init"))?;
    let flow = Flow::new(Base::standard_normal(1), Box::new(chain))?;

    let optimiser = AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() };
    let train = TrainConfig { optimiser, ..TrainConfig::default() };
    let source = SamplerSource::conditional(draw, 1, 1, 1);
    let trained = Trainer::new(flow, train, Budget::Steps { steps: 500 }, 1)?.fit(&source)?;

    let rows = 20_000;
    let Minibatch { values, context } = draw(rows, &mut stream(1, "test"));
    let truth = values.iter().zip(&context).map(|(x, &c)| {
        let [mean, deviation] = moments(c);
        -0.5 * ((x - mean) / deviation).powi(2) - deviation.ln() - 0.5 * LN_2PI
    });
    let given = Context::of(batch(context.clone(), rows, 1)?);
    let (log_prob, _) = trained.evaluate(&values, &given)?;
    let divergence = truth.zip(&log_prob).map(|(p, q)| p - q).sum::<f64>() / rows as f64;
    println!("expected KL divergence from the truth: {divergence:.4} nats");

    for c in [-0.9, 0.0, 0.9] {
        let given = Context::of(batch(vec![c; rows], rows, 1)?);
        let draws = trained.sample(rows, &given, &mut stream(2, "draws"))?.0.values();
        let mean = draws.iter().sum::<f64>() / rows as f64;
        let square = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
        let [expected, deviation] = moments(c);
        println!(
            "given {c:4}: mean {mean:6.3} (truth {expected:6.3}), deviation {:.3} (truth {deviation:.3})",
            square.sqrt()
        );
    }
    Ok(())
}
