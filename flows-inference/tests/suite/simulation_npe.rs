//! Neural posterior estimation against exact posteriors.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_continuous::ContinuousFlow;
use flows_core::testing::names;
use flows_core::train::{AdamConfig, Budget, Objective, ReverseKl, SimulationFree, TrainConfig};
use flows_core::{Architecture, Error, Flow, Result, Stream, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::simulation::{
    Estimation, Invalid, Marginal, Posterior, Progress, Simulations, Simulator, flow_of, npe,
    npe_of, unreported,
};
use rand::RngExt;

use crate::simulation_models::{Noisy, mean};

/// Affine couplings, of which the exact posterior of the conjugate model is one.
pub(crate) fn affine() -> CouplingFlow {
    let conditioner = Conditioner::perceptron(vec![32, 32]);
    CouplingFlow { layers: 2, conditioner, ..CouplingFlow::default() }
}

pub(crate) fn settings(rows: usize, steps: u64) -> Estimation {
    let optimiser = AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() };
    let train = TrainConfig { optimiser, ..Estimation::default().train };
    Estimation { rows, train, budget: Budget::Steps { steps }, ..Estimation::default() }
}

pub(crate) fn estimate(
    simulator: &dyn Simulator,
    architecture: &dyn Architecture,
    settings: &Estimation,
) -> Result<Posterior<f64>> {
    let rng = &mut stream(1, "estimation");
    npe(simulator, &flow_of(architecture), settings, &mut unreported, rng)
}

/// log p(theta | x) - log q(theta | x) of fresh pairs, whose mean is the expected divergence.
fn divergences(simulator: &Noisy, posterior: &Posterior<f64>, rows: usize) -> Vec<f64> {
    let rng = &mut stream(2, "test");
    let pairs =
        Simulations::of_prior(simulator, rows, Invalid::Refuse, &mut unreported, rng).unwrap();
    let nats = posterior.log_density_each(&pairs.data, &pairs.parameters, 1).unwrap();
    let rows = pairs.parameters.chunks(2).zip(pairs.data.chunks(2)).zip(nats);
    rows.map(|((theta, x), q)| simulator.log_posterior(theta, x) - q).collect()
}

/// The data tell 2 ln sqrt(1 + 1 / s^2) = 1.61 nats about the parameters; all but 3 % are found.
#[test]
fn the_posterior_of_a_conjugate_normal_is_found_for_every_observation() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let posterior = estimate(&simulator, &affine(), &settings(10_000, 600)).unwrap();
    let (kl, error) = mean(&divergences(&simulator, &posterior, 4_000));
    assert!(kl < 0.05 + 4.0 * error && kl > -4.0 * error, "{kl} +- {error}");

    // Draws given one observation have the exact mean, to the bias that this divergence allows: a
    // mean that is off by d adds d^2 / (2 variance) nats.
    let (x, rows) = ([1.0, -0.5], 20_000);
    let draws = posterior.sample(&x, rows, &mut stream(3, "draws")).unwrap();
    let variance = 0.25 / 1.25_f64;
    let allowed = (2.0 * 0.05 * variance).sqrt() + 4.0 * (variance / rows as f64).sqrt();
    for (k, x) in x.iter().enumerate() {
        let found = draws.iter().skip(k).step_by(2).sum::<f64>() / rows as f64;
        assert!((found - x / 1.25).abs() < allowed, "feature {k}: {found}");
    }
}

/// Within the same 3 %.
#[test]
fn flow_matching_finds_it_too() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let field = ContinuousFlow::default();
    let mut settings = settings(10_000, 1_000);
    settings.train.objective = Objective::FlowMatching(SimulationFree::default());
    settings.train.validate_every = 500;
    let posterior = estimate(&simulator, &field, &settings).unwrap();
    let (kl, error) = mean(&divergences(&simulator, &posterior, 1_000));
    assert!(kl < 0.05 + 4.0 * error && kl > -4.0 * error, "{kl} +- {error}");
}

/// Where the prior ends, no mass leaks: every draw is inside, and q integrates to 1 over the box.
#[test]
fn a_uniform_prior_keeps_all_mass_inside() {
    let side = Marginal::Uniform { low: -1.0, high: 0.5 };
    let simulator = Noisy::with_prior(side, 1.0).unwrap();
    let posterior = estimate(&simulator, &affine(), &settings(4_000, 200)).unwrap();
    // Far in a corner, where the mass is at the ends.
    let (x, rows) = ([2.0, -3.0], 40_000);
    let draws = posterior.sample(&x, rows, &mut stream(3, "draws")).unwrap();
    assert!(draws.iter().all(|theta| (-1.0..=0.5).contains(theta)));
    let at = posterior.log_density(&x, &[0.6, 0.0, 0.0, -1.1, 0.0, 0.0]).unwrap();
    assert_eq!(at[..2], [f64::NEG_INFINITY; 2]);
    assert!(at[2].is_finite());
    // The mean of area x q over uniform points, as its draws lie nowhere else.
    let rng = &mut stream(4, "points");
    let points: Vec<f64> = (0..2 * rows).map(|_| rng.random_range(-1.0..0.5)).collect();
    let nats = posterior.log_density(&x, &points).unwrap();
    let (mass, error) = mean(&nats.iter().map(|l| 2.25 * l.exp()).collect::<Vec<_>>());
    assert!((mass - 1.0).abs() < 4.0 * error && error < 0.1, "{mass} +- {error}");
}

/// In single precision.
#[test]
fn a_run_repeats_itself_and_reports_both_of_its_parts() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let (settings, config) = (settings(600, 20), affine());
    let run = || {
        let (mut simulated, mut steps) = (0, 0);
        let report = &mut |progress: &Progress| {
            match progress {
                Progress::Simulation { rows, of } => {
                    assert_eq!(*of, 600);
                    simulated = *rows;
                }
                Progress::Training(progress) => steps = progress.step,
            }
            Ok(ControlFlow::Continue(()))
        };
        let rng = &mut stream(1, "run");
        let posterior: Posterior<f32> =
            npe(&simulator, &flow_of(&config), &settings, report, rng).unwrap();
        (posterior.sample(&[0.0, 1.0], 3, rng).unwrap(), simulated, steps)
    };
    let (draws, simulated, steps) = run();
    assert_eq!((simulated, steps), (600, 20));
    assert_eq!(run().0, draws);
}

#[test]
fn outliers_of_the_data_are_counted() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let rng = &mut stream(1, "run");
    let mut table =
        Simulations::of_prior(&simulator, 500, Invalid::Refuse, &mut unreported, rng).unwrap();
    table.data[3] = 1e12;
    let config = affine();
    let posterior: Posterior<f64> = npe_of(
        &table,
        &simulator.prior,
        &flow_of(&config),
        &settings(500, 10),
        &mut unreported,
        rng,
    )
    .unwrap();
    assert_eq!(posterior.training().clipped, 1);
    assert_eq!(posterior.clipped(&[1e9, 0.0]).unwrap(), 1);
    assert_eq!(posterior.clipped(&[0.5, 0.0]).unwrap(), 0);
}

#[test]
fn wrong_input_is_named() {
    let simulator = Noisy::conjugate(0.5).unwrap();
    let posterior = estimate(&simulator, &affine(), &settings(100, 2)).unwrap();
    let rng = &mut stream(0, "draws");
    let error = posterior.sample(&[1.0], 5, rng).unwrap_err();
    names(&error, &["observation", "expected 2", "got 1"]);
    let error = posterior.log_density(&[1.0, f64::NAN], &[0.0, 0.0]).unwrap_err();
    assert!(matches!(error, Error::NonFinite { quantity: "observation", .. }), "{error}");
    let error = posterior.log_density(&[1.0, 0.0], &[0.0; 3]).unwrap_err();
    assert!(matches!(error, Error::Dimension { expected: 2, got: 1, .. }), "{error}");
    let error = estimate(&simulator, &affine(), &settings(1, 2)).unwrap_err();
    names(&error, &["rows of simulations", "at least 2", "got 1"]);
    let mut reverse = settings(100, 2);
    reverse.train.objective = Objective::ReverseKl(ReverseKl::default());
    names(
        &estimate(&simulator, &affine(), &reverse).unwrap_err(),
        &["reverse KL", "flow matching"],
    );
    let broken = |_: usize, _: usize, _: &mut Stream| -> Result<Flow<f64>> {
        Err(Error::Caller("no flow".into()))
    };
    let error = npe(&simulator, &broken, &settings(100, 2), &mut unreported, rng).unwrap_err();
    names(&error, &["no flow"]);
}
