//! A flow finds the 2^n modes of a product of double wells, by bootstrap.
//!
//! The normaliser and the masses of the modes are known, so that what the flow has learned is compared
//! with the truth. The paper has 16 pairs, 32 features and 65,536 modes.
//!
//! Run with `cargo run --release -p flows-inference --example 01_bootstrap`, or with pairs and steps, `-- 16 8000`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;
use std::time::Instant;

use flows_bench::targets::{KnownTarget, ManyWell};
use flows_core::train::{AdamConfig, Budget, Schedule, TrainConfig};
use flows_core::{Architecture, Base, Flow, Result, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow, MaskConfig, Mixing};
use flows_inference::{Bootstrap, BootstrapConfig, Weighted};

/// Draws that the result is judged by.
const DRAWS: usize = 100_000;

fn number(position: usize, otherwise: u64) -> u64 {
    std::env::args().nth(position).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() -> Result<()> {
    let (pairs, steps) = (number(1, 2) as usize, number(2, 400));
    let wells = ManyWell::new(pairs)?;
    let target = KnownTarget::ManyWell(wells);
    let architecture = CouplingFlow {
        conditioner: Conditioner::perceptron(vec![64, 64]),
        mask: MaskConfig::Random,
        mixing: Mixing::None,
        ..CouplingFlow::nsf()
    };
    let chain = architecture.build(2 * pairs, 0, &mut stream(1, "init"))?;
    let flow = Flow::<f32>::new(Base::standard_normal(2 * pairs), Box::new(chain))?;
    let optimiser = AdamConfig { learning_rate: 1e-3, ..AdamConfig::default() };
    let train = TrainConfig {
        optimiser,
        schedule: Schedule::Cosine,
        ema: Some(0.999),
        ..TrainConfig::default()
    };
    let budget = Budget::Steps { steps };
    let clock = Instant::now();
    let mut run = Bootstrap::new(flow, BootstrapConfig::default(), train, budget, 1)?;
    run.run(&target, |run, round| {
        if round.number.is_multiple_of(50) {
            let Weighted { log_weights, .. } =
                Weighted::draw(run.trainer().flow(), &target, 10_000, &mut stream(2, "check"))?;
            println!(
                "{:6.0} s, step {:6}: loss {:8.3}, effective share {:.3}, log Z {:+.3}, acceptance \
                 {:.2} {:?}",
                clock.elapsed().as_secs_f64(),
                round.steps,
                round.loss.unwrap_or(f64::NAN),
                log_weights.effective_share(),
                log_weights.log_normaliser().nats - target.log_normaliser().nats,
                round.acceptance,
                round.events
            );
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let seconds = clock.elapsed().as_secs_f64();
    let flow = run.into_trainer().into_flow()?;
    let weighted = Weighted::draw(&flow, &target, DRAWS, &mut stream(3, "test"))?;
    let log_z = weighted.log_weights.log_normaliser();
    println!(
        "{seconds:.0} s of training; effective share {:.3}, Pareto k {:.2?}; log Z off by {:+.4} +- {:.4?}",
        weighted.log_weights.effective_share(),
        weighted.log_weights.pareto_k(),
        log_z.nats - target.log_normaliser().nats,
        log_z.standard_error
    );
    report_modes(&weighted, pairs);
    Ok(())
}

/// The mass of the right-hand mode of every well, of the flow and by its weights; exact, in all.
fn report_modes(weighted: &Weighted, pairs: usize) {
    let exact = ManyWell::mode_weights()[1];
    let shares = weighted.log_weights.normalised();
    let (mut worst_flow, mut worst_weighted) = (0.0_f64, 0.0_f64);
    for well in 0..pairs {
        let right = |i: usize| f64::from(weighted.draws[2 * (pairs * i + well)] > 0.0);
        let of_flow = (0..DRAWS).map(right).sum::<f64>() / DRAWS as f64;
        let by_weights: f64 = shares.iter().enumerate().map(|(i, w)| w * right(i)).sum();
        // The left mode is the smaller one: its mass has the larger relative error.
        let error = |right: f64| (right - exact).abs() / (1.0 - exact);
        worst_flow = worst_flow.max(error(of_flow));
        worst_weighted = worst_weighted.max(error(by_weights));
    }
    println!(
        "left modes have mass {:.4}; the worst of {pairs} is off by {:.1} % in the flow, {:.1} % by weights",
        1.0 - exact,
        100.0 * worst_flow,
        100.0 * worst_weighted
    );
}
