//! A density known up to a constant, fitted without data.
//!
//! The target has two modes; its normaliser is unknown to the fit. A mixture of two normals is trained
//! by reverse KL, E_q[log q - log p~], once with the reparameterised gradient and once with the path
//! gradient, whose noise vanishes where the fit is exact. What the divergence ends at is minus the
//! logarithm of the normaliser, as far as the fit is exact.
//!
//! Run with `cargo run --release -p flows-core --example 01_reverse_kl`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;

use flows_core::train::{
    AdamConfig, Annealing, Budget, Objective, ReverseKl, TrainConfig, Trainer, TrainingData,
};
use flows_core::{Base, Chain, Estimator, Flow, Result, Target, stream};

/// Two normals of standard deviation 0.5 at (-2, 0) and (2, 0), times 7.
#[derive(Debug)]
struct TwoModes;

impl Target for TwoModes {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let precision = 4.0;
        let exponent = |x: f64| -0.5 * precision * ((point[0] - x).powi(2) + point[1].powi(2));
        let (left, right) = (exponent(-2.0), exponent(2.0));
        let largest = left.max(right);
        let total = (left - largest).exp() + (right - largest).exp();
        let share = (right - largest).exp() / total;
        let centre = 4.0 * share - 2.0;
        gradient[0] = -precision * (point[0] - centre);
        gradient[1] = -precision * point[1];
        let constant = (7.0 * 0.5 * precision / std::f64::consts::TAU).ln();
        largest + total.ln() + constant
    }
}

fn main() -> Result<()> {
    for estimator in [Estimator::Reparameterised, Estimator::Path] {
        let base = Base::<f64>::mixture(2, 2, &mut stream(3, "base"))?;
        let flow = Flow::new(base, Box::new(Chain::new(2, Vec::new())?))?;
        let annealing = Some(Annealing { from: 0.1, until: 0.5 });
        let config = TrainConfig {
            objective: Objective::ReverseKl(ReverseKl { estimator, annealing }),
            optimiser: AdamConfig { learning_rate: 0.03, ..AdamConfig::default() },
            ..TrainConfig::default()
        };
        let mut trainer = Trainer::new(flow, config, Budget::Steps { steps: 800 }, 1)?;
        let (mut value, mut noise) = (0.0, 0.0);
        trainer.run(TrainingData::Density(&TwoModes), None, |_, progress| {
            value = progress.reverse_nats.unwrap_or(f64::NAN);
            noise = progress.gradient_norm;
            Ok(ControlFlow::Continue(()))
        })?;
        println!(
            "{estimator:?}: E[log q - log p~] = {value:.5} nats, minus ln 7 is {:.5}; last gradient \
             {noise:.1e}",
            -(7.0_f64.ln())
        );
    }
    Ok(())
}
