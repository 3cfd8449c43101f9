//! Densities of a continuous flow and what they are off by.
//!
//! The log-density is an integral of the trace along a path. This shows the error of both: the
//! solver's, which falls with its tolerance, and that of an estimated trace, whose noise belongs to
//! each row until it is averaged away.
//!
//! Run with `cargo run --release -p flows-continuous --example 01_densities`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Direction, Divergence, Field, Hutchinson, MlpField, Solver,
    TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{
    Base, Bijector, Context, Flow, LastLayer, Network, Result, Tape, Values, normals, stream,
};

fn flow(field: &Field<f64>, tolerance: f64, divergence: Divergence) -> Result<Continuous<f64>> {
    let solver = Solver::RowWise(Adaptive::new(tolerance, tolerance));
    let accuracy = Accuracy { solver, divergence };
    Continuous::new(field.clone(), [0.0, 1.0], accuracy, accuracy)
}

fn log_prob(bijector: Continuous<f64>, rows: &[f64]) -> Result<Vec<f64>> {
    let flow = Flow::new(Base::standard_normal(4), Box::new(bijector))?;
    Ok(flow.evaluate(rows, &Context::none())?.0)
}

fn largest(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |largest, (a, b)| f64::max(largest, (a - b).abs()))
}

fn main() -> Result<()> {
    let kernel = MlpField::new(4, 0, &[32, 32], Activation::Tanh, TimeInput::Concat)?;
    let field = Network::new(kernel, LastLayer::Random, &mut stream(1, "weights"))?.into();
    let rows: Vec<f64> = normals(4 * 200, &mut stream(1, "rows"));

    let reference = log_prob(flow(&field, 1e-11, Divergence::Exact)?, &rows)?;
    for tolerance in [1e-3, 1e-5, 1e-7] {
        let values = log_prob(flow(&field, tolerance, Divergence::Exact)?, &rows)?;
        println!(
            "tolerance {tolerance:.0e}: largest error {:.1e} nats",
            largest(&values, &reference)
        );
    }

    let x = batch(rows, 200, 4)?;
    for probes in [1, 3] {
        let estimate = Divergence::Hutchinson(Hutchinson { probes, ..Hutchinson::default() });
        let mut estimated = flow(&field, 1e-7, estimate)?;
        let mut mean = vec![0.0; reference.len()];
        let draws = 50;
        for draw in 0..draws {
            estimated.begin_step(&mut stream(draw, "probes"))?;
            let values = estimated.inverse(&x, &Context::none(), &mut Tape::none())?;
            let log_det = values.log_det.values();
            mean.iter_mut().zip(log_det).for_each(|(mean, l)| *mean += l / draws as f64);
        }
        println!("{probes} probes: mean of {draws} draws, first row {:.4}", mean[0]);
    }

    let reports = flow(&field, 1e-5, Divergence::Exact)?.row_reports(
        &x,
        &Context::none(),
        Direction::Inverse,
    )?;
    let steps = || reports.iter().map(|report| report.accepted);
    println!(
        "steps of a row at 1e-5: {} to {}",
        steps().min().unwrap_or(0),
        steps().max().unwrap_or(0)
    );
    Ok(())
}
