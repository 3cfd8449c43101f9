//! The bootstrap on double wells whose modes have known masses.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_bench::targets::{KnownTarget, ManyWell};
use flows_core::tensor::set_values;
use flows_core::testing::names;
use flows_core::train::{
    AdamConfig, Budget, Objective, ReverseKl, StopReason, TrainConfig, Trainer, TrainingData,
};
use flows_core::{Architecture, Base, Error, Flow, Parameters, Real, Target, Values, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::bootstrap::{Event, ReplayBuffer};
use flows_inference::{Bootstrap, BootstrapConfig, Weighted};

use crate::annealed::plain;

const PAIRS: usize = 2;
const STEPS: u64 = 500;

fn wells() -> KnownTarget {
    KnownTarget::ManyWell(ManyWell::new(PAIRS).unwrap())
}

/// A flow near the right-hand wells: a draw in six is at the left of one.
fn spline_flow() -> Flow<f64> {
    let conditioner = Conditioner::perceptron(vec![32]);
    let architecture = CouplingFlow { layers: 4, conditioner, ..CouplingFlow::nsf() };
    let chain = architecture.build(2 * PAIRS, 0, &mut stream(1, "init")).unwrap();
    let mut base = Base::diagonal_normal(2 * PAIRS).unwrap();
    let mut starts = [vec![0.7; 2 * PAIRS], vec![0.7_f64.ln(); 2 * PAIRS]].into_iter();
    base.visit_mut(&mut |_, _, tensor| set_values(tensor, &starts.next().unwrap())).unwrap();
    Flow::new(base, Box::new(chain)).unwrap()
}

fn train() -> TrainConfig {
    let optimiser = AdamConfig { learning_rate: 2e-3, ..AdamConfig::default() };
    TrainConfig { optimiser, batch_rows: 256, ..TrainConfig::default() }
}

fn config() -> BootstrapConfig {
    BootstrapConfig { rows: 256, fewest: 1024, capacity: 8192, ..BootstrapConfig::default() }
}

fn bootstrap<E: Real>(
    flow: Flow<E>,
    config: BootstrapConfig,
    (steps, seed): (u64, u64),
) -> Bootstrap<E> {
    Bootstrap::new(flow, config, train(), Budget::Steps { steps }, seed).unwrap()
}

/// The mass of each of the four modes, the left ones first, of the flow and by its weights.
fn masses(flow: &Flow<f64>) -> ([f64; 4], [f64; 4], Weighted) {
    let weighted = Weighted::draw(flow, &wells(), 20_000, &mut stream(2, "draws")).unwrap();
    let (mut of_flow, mut by_weights) = ([0.0; 4], [0.0; 4]);
    let shares = weighted.log_weights.normalised();
    for (x, share) in weighted.draws.chunks(2 * PAIRS).zip(&shares) {
        let mode = 2 * usize::from(x[0] > 0.0) + usize::from(x[2] > 0.0);
        of_flow[mode] += 1.0 / 20_000.0;
        by_weights[mode] += share;
    }
    (of_flow, by_weights, weighted)
}

#[test]
fn modes_that_reverse_kl_loses_are_found_with_their_masses() {
    let mut run = bootstrap(spline_flow(), config(), (STEPS, 1));
    let mut losses = Vec::new();
    let stop = run.run(&wells(), |_, round| {
        losses.extend(round.loss);
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!(stop.unwrap(), StopReason::Finished);
    // 8 steps a round, the last round with the four that remain.
    assert_eq!(losses.len() as u64, STEPS.div_ceil(8));
    let [left, right] = ManyWell::mode_weights();
    let exact = [left * left, left * right, right * left, right * right];
    let (of_flow, by_weights, weighted) = masses(&run.into_trainer().into_flow().unwrap());
    let log_z = weighted.log_weights.log_normaliser();
    let error = log_z.standard_error.unwrap();
    assert!((log_z.nats - wells().log_normaliser().nats).abs() < 4.0 * error, "{log_z:?}");
    let effective = weighted.log_weights.effective_share() * 20_000.0;
    for (mode, exact) in exact.into_iter().enumerate() {
        let error = (exact * (1.0 - exact) / effective).sqrt();
        assert!((by_weights[mode] - exact).abs() < 4.0 * error, "{by_weights:?}, not {exact}");
        assert!(of_flow[mode] > 0.5 * exact, "mode {mode}: {of_flow:?}");
    }

    // Reverse KL from the same start, for as many steps, leaves a mode with less than a tenth of its mass.
    let objective = Objective::ReverseKl(ReverseKl::default());
    let train = TrainConfig { objective, ..train() };
    let trainer = Trainer::new(spline_flow(), train, Budget::Steps { steps: STEPS }, 1).unwrap();
    let (lost, _, _) = masses(&trainer.fit(TrainingData::Density(&wells())).unwrap());
    assert!(lost.iter().zip(exact).any(|(mass, exact)| *mass < 0.1 * exact), "{lost:?}");
}

fn weights(flow: &Flow<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| all.extend(tensor.values()));
    all
}

#[test]
fn a_resumed_run_has_the_same_bits() {
    let run_to = |run: &mut Bootstrap<f64>, round: u64| {
        run.run(&wells(), |run, _| {
            let stop = run.rounds() == round;
            Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap()
    };
    let new = || bootstrap(spline_flow(), config(), (60, 5));
    let mut whole = new();
    assert_eq!(run_to(&mut whole, u64::MAX), StopReason::Finished);

    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, buffer] =
        ["checkpoint", "buffer"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let mut first = new();
    assert_eq!(run_to(&mut first, 6), StopReason::Interrupted);
    first.save(&checkpoint, &buffer).unwrap();
    let mut second = new();
    second.resume(&checkpoint, &buffer).unwrap();
    assert_eq!((second.rounds(), second.trainer().steps()), (6, first.trainer().steps()));
    assert_eq!(second.buffer(), first.buffer());
    assert_eq!(run_to(&mut second, u64::MAX), StopReason::Finished);
    assert_eq!(weights(second.trainer().flow()), weights(whole.trainer().flow()));
    assert_eq!(second.buffer(), whole.buffer());
    assert_eq!(second.sampler(), whole.sampler());

    // A buffer that is older than the trainer's checkpoint.
    second.trainer().save(&checkpoint).unwrap();
    names(
        &new().resume(&checkpoint, &buffer).unwrap_err(),
        &["60 steps", "take both from one copy"],
    );
    let other = BootstrapConfig { capacity: 4096, ..config() };
    let mut other = bootstrap(spline_flow(), other, (60, 5));
    let error = other.resume(&checkpoint, &buffer).unwrap_err();
    names(&error, &["4 features", "4096", "8192"]);
}

/// Nowhere positive, or only for x_1 > 1.
#[derive(Debug)]
struct Beyond(f64);

impl Target for Beyond {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        if point[0] > self.0 { 0.0 } else { f64::NEG_INFINITY }
    }
}

#[test]
fn weights_of_zero_are_events_until_none_is_left() {
    let config = || BootstrapConfig { rows: 64, fewest: 64, ..config() };
    let mut run = bootstrap(plain(2), config(), (4, 1));
    let mut events = Vec::new();
    run.run(&Beyond(1.0), |_, round| {
        events.extend(round.events.clone());
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert!(matches!(events[..], [Event::ZeroWeights(zeros)] if zeros > 32), "{events:?}");

    let mut run = bootstrap(plain(2), config(), (4, 1));
    let error = run.run(&Beyond(1e9), |_, _| Ok(ControlFlow::Continue(()))).unwrap_err();
    names(&error, &["all 64 weights", "choose a base that overlaps"]);
}

#[test]
fn settings_out_of_range_are_named() {
    let check = |change: fn(&mut BootstrapConfig), words: &[&str]| {
        let mut config = BootstrapConfig::default();
        change(&mut config);
        names(&config.check().unwrap_err(), words);
    };
    check(|c| c.alpha = 1.0, &["alpha of the bootstrap", "other than 1"]);
    check(|c| c.annealed.step_size = 0.0, &["step_size", "positive"]);
    check(|c| c.rows = 0, &["rows of a round", "at least 1"]);
    check(|c| c.fewest = 100_000, &["fewest rows", "100000"]);
    check(|c| c.clip = f64::NAN, &["clip", "NaN"]);
    BootstrapConfig::default().check().unwrap();
    assert!(matches!(ReplayBuffer::new(0, 1), Err(Error::Parameter { .. })));
}

/// Two of four rows, taken 20,000 times: the first is row i with probability w_i, and the pair (i, j)
/// comes in this order with w_i w_j / (1 - w_i).
#[test]
fn rows_are_taken_in_proportion_to_their_weights() {
    let weights = [0.1, 0.2, 0.3, 0.4_f64];
    let mut buffer = ReplayBuffer::new(1, 5).unwrap();
    let log_weights: Vec<f64> = weights.iter().map(|w| w.ln() + 700.0).collect();
    buffer.add(&[0.0, 1.0, 2.0, 3.0], &[0.0; 4], &log_weights);
    buffer.add(&[9.0, 9.0, 9.0], &[f64::NAN, 0.0, 0.0], &[0.0, f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!((buffer.rows(), buffer.positive()), (5, 4));
    let mut rng = stream(4, "taken");
    let mut counts = [[0.0_f64; 4]; 4];
    for _ in 0..20_000 {
        let taken = buffer.take(2, &mut rng);
        counts[taken[0]][taken[1]] += 1.0;
    }
    for i in 0..4 {
        for j in 0..4 {
            let p = if i == j { 0.0 } else { weights[i] * weights[j] / (1.0 - weights[i]) };
            let (share, error) = (counts[i][j] / 20_000.0, (p * (1.0 - p) / 20_000.0).sqrt());
            assert!((share - p).abs() <= 4.0 * error, "{i}, {j}: {share}, not {p}");
        }
    }
    assert_eq!(buffer.take(9, &mut rng).len(), 4);
    // A full buffer replaces its oldest row first.
    buffer.add(&[7.0], &[0.0], &[0.0]);
    assert_eq!(buffer.points(), [7.0, 1.0, 2.0, 3.0, 9.0]);
}
