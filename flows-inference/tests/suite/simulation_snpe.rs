//! Sequential posterior estimation against an exact posterior.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_core::testing::names;
use flows_core::train::{Objective, SimulationFree};
use flows_core::{Result, stream};
use flows_inference::simulation::{
    Marginal, Posterior, Progress, Sequential, flow_of, snpe, unreported,
};

use crate::simulation_models::{Noisy, mean};
use crate::simulation_npe::{affine, settings};

const OBSERVATION: [f64; 2] = [1.5, -1.0];

fn run(simulator: &Noisy, settings: &Sequential) -> Result<Posterior<f64>> {
    let (rng, config) = (&mut stream(1, "estimation"), affine());
    snpe(simulator, &OBSERVATION, &flow_of(&config), settings, &mut unreported, rng)
}

/// Two rounds whose second proposals are the posterior of the first. Were proposals not divided out, the
/// result would tend to p(theta | x)^2 / p(theta), which has the variance 1 / 9 in place of 1 / 5 and
/// means that are 10 / 9 as large: 0.33 nats away. Allowed are 0.1 nats, 6 % of what the data tell.
#[test]
fn the_proposals_are_divided_out() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let estimation = settings(3_000, 400);
    let posterior = run(&simulator, &Sequential { rounds: 2, atoms: 10, estimation }).unwrap();
    let draws = simulator.posterior_draws(&OBSERVATION, 4_000, &mut stream(2, "test"));
    let nats = posterior.log_density(&OBSERVATION, &draws).unwrap();
    let pairs = draws.chunks(2).zip(nats);
    let differences: Vec<f64> =
        pairs.map(|(theta, q)| simulator.log_posterior(theta, &OBSERVATION) - q).collect();
    let (kl, error) = mean(&differences);
    assert!(kl < 0.1 + 4.0 * error && kl > -4.0 * error, "{kl} +- {error}");
    assert_eq!(posterior.training().rows, 6_000);
}

#[test]
fn a_bounded_prior_is_not_left() {
    let simulator = Noisy::with_prior(Marginal::Uniform { low: -1.0, high: 1.0 }, 0.5).unwrap();
    let estimation = settings(500, 50);
    let posterior = run(&simulator, &Sequential { rounds: 3, atoms: 5, estimation }).unwrap();
    let draws = posterior.sample(&OBSERVATION, 5_000, &mut stream(2, "draws")).unwrap();
    assert!(draws.iter().all(|theta| (-1.0..=1.0).contains(theta)));
}

#[test]
fn a_report_that_breaks_ends_the_rounds() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let settings = Sequential { rounds: 3, atoms: 5, estimation: settings(200, 20) };
    let (rng, config) = (&mut stream(1, "estimation"), affine());
    // At the fifth step of the second round.
    let mut steps = 0;
    let report = &mut |progress: &Progress| {
        steps += u32::from(matches!(progress, Progress::Training(_)));
        Ok(if steps == 25 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let posterior: Posterior<f64> =
        snpe(&simulator, &OBSERVATION, &flow_of(&config), &settings, report, rng).unwrap();
    assert_eq!((posterior.training().steps, posterior.training().rows), (25, 400));
}

#[test]
fn settings_that_the_atomic_loss_does_not_have_are_refused() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let of = |change: &dyn Fn(&mut Sequential)| {
        let estimation = settings(100, 2);
        let mut settings = Sequential { estimation, ..Sequential::default() };
        change(&mut settings);
        run(&simulator, &settings).unwrap_err()
    };
    names(&of(&|s| s.rounds = 0), &["rounds", "at least 1", "got 0"]);
    names(&of(&|s| s.atoms = 1), &["atoms", "at least 2", "got 1"]);
    names(&of(&|s| s.atoms = 50), &["atoms", "got 50 for 20", "fewer atoms"]);
    let matching = Objective::FlowMatching(SimulationFree::default());
    names(&of(&|s| s.estimation.train.objective = matching), &["objective", "single round"]);
    names(&of(&|s| s.estimation.train.ema = Some(0.9)), &["averaged weights", "single round"]);
}
