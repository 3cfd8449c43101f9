//! Metropolis-Hastings chains with a flow as proposal on densities with known moments.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::ContinuousFlow;
use flows_core::testing::assert_error;
use flows_core::train::{Budget, TrainConfig};
use flows_core::{Architecture, Chain, Error, Flow, Purpose, Real, Target, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::chain::{Local, Metropolis, MetropolisChains, Refit};

use super::support::{agrees, normal_base};

/// 0.3 N((-5, 0), I) and 0.7 N((5, 0), I), times 2; not a number where x2 is above a ceiling.
#[derive(Debug)]
struct TwoModes {
    ceiling: f64,
}

impl Target for TwoModes {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (x, y) = (point[0], point[1]);
        let left = 0.3_f64.ln() - 0.5 * (x + 5.0).powi(2);
        let right = 0.7_f64.ln() - 0.5 * (x - 5.0).powi(2);
        let largest = left.max(right);
        let total = (left - largest).exp() + (right - largest).exp();
        let share = (right - largest).exp() / total;
        gradient[0] = -(x + 5.0) + 10.0 * share;
        gradient[1] = -y;
        let value = largest + total.ln() - 0.5 * y * y - (std::f64::consts::TAU / 2.0).ln();
        if y > self.ceiling { f64::NAN } else { value }
    }
}

const TARGET: TwoModes = TwoModes { ceiling: f64::INFINITY };

/// N(0, scale^2) in the plane.
fn wide<E: Real>(scale: f64) -> Flow<E> {
    Flow::new(normal_base(2, scale), Box::new(Chain::new(2, vec![]).unwrap())).unwrap()
}

fn starts() -> Vec<Vec<f64>> {
    vec![vec![-5.0, 0.5], vec![5.0, 1.0], vec![-4.0, -1.0], vec![6.0, 0.0]]
}

fn sample(settings: Metropolis, flow: &Flow<f64>) -> MetropolisChains {
    settings.sample(&TARGET, flow, &starts(), &mut stream(1, "chains")).unwrap()
}

/// The share of the right mode, and the moments within it.
fn knows_both_modes(run: &MetropolisChains) {
    agrees(
        "right mode",
        run.chains.diagnostics_of(|x| f64::from(u8::from(x[0] > 0.0))).unwrap(),
        0.7,
    );
    agrees("mean", run.chains.diagnostics_of(|x| x[0]).unwrap(), 2.0);
    // Of a mixture: 1 + 0.3 0.7 10^2, about the mean.
    agrees("variance", run.chains.diagnostics_of(|x| (x[0] - 2.0).powi(2)).unwrap(), 22.0);
    agrees("other variance", run.chains.diagnostics_of(|x| x[1] * x[1]).unwrap(), 1.0);
}

#[test]
fn global_and_local_steps_together_know_both_modes() {
    for local in [Local::RandomWalk, Local::Mala] {
        let settings = Metropolis { draws: 5000, local, ..Metropolis::default() };
        let run = sample(settings, &wide(5.0));
        knows_both_modes(&run);
        for (global, local) in run.global.iter().zip(&run.local) {
            assert_eq!((global.proposed, local.proposed), (1000, 4000));
            assert!(global.rate().unwrap() > 0.05, "{global:?}");
        }
        assert!(run.chains.diagnostics().unwrap().iter().all(|d| d.r_hat.unwrap() < 1.05));
        assert!(run.stuck().is_empty());
        let values = run.chains.draws.iter().flatten().zip(run.chains.log_density.iter().flatten());
        for (x, value) in values {
            let own = TARGET.log_density(x, &mut [0.0; 2]);
            assert!((own - value).abs() < 1e-12 * (1.0 + own.abs()), "{own}, not {value}");
        }
        // Both kinds of steps evaluate the target once a walker, MALA again after a global step.
        assert!(run.evaluations >= 4 * 5500);
    }
}

#[test]
fn the_independence_sampler_alone_knows_both_modes() {
    let settings = Metropolis { draws: 10_000, global_every: 1, ..Metropolis::default() };
    let run = sample(settings, &wide(5.0));
    knows_both_modes(&run);
    assert!(run.local.iter().all(|local| local.rate().is_none()));
}

/// N(0, diag(2, 6)^2).
#[derive(Debug)]
struct Stretched;

impl Target for Stretched {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (x, y) = (point[0] / 2.0, point[1] / 6.0);
        gradient.copy_from_slice(&[-x / 2.0, -y / 6.0]);
        -0.5 * (x * x + y * y)
    }
}

#[test]
fn local_steps_alone_are_adapted_and_know_a_normal() {
    for local in [Local::RandomWalk, Local::Mala] {
        let settings = Metropolis { warm_up: 2000, draws: 8000, global_every: 1_000_000, local };
        let rng = &mut stream(1, "chains");
        let run = settings.sample(&Stretched, &wide::<f64>(5.0), &starts(), rng).unwrap();
        agrees("mean", run.chains.diagnostics_of(|x| x[0]).unwrap(), 0.0);
        agrees("variance", run.chains.diagnostics_of(|x| x[0] * x[0]).unwrap(), 4.0);
        agrees("other mean", run.chains.diagnostics_of(|x| x[1]).unwrap(), 0.0);
        agrees("other variance", run.chains.diagnostics_of(|x| x[1] * x[1]).unwrap(), 36.0);
        for count in &run.local {
            // The last gain is 2000^-0.6 = 0.01, so that the log-step strays by 0.05 and the rate by
            // half of that; four of them.
            let rate = count.rate().unwrap();
            assert!((rate - local.acceptance()).abs() < 0.1, "{local:?}: {rate}");
        }
    }
}

/// N(0, 2^2) in the plane.
#[derive(Debug)]
struct Round;

impl Target for Round {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.iter_mut().zip(point).for_each(|(g, x)| *g = -0.25 * x);
        -0.125 * (point[0] * point[0] + point[1] * point[1])
    }
}

#[test]
fn a_proposal_that_is_the_target_is_always_accepted() {
    let settings = Metropolis { global_every: 1, draws: 200, ..Metropolis::default() };
    let run =
        settings.sample(&Round, &wide::<f64>(2.0), &starts(), &mut stream(1, "chains")).unwrap();
    // Weights are equal up to rounding, 1e-15: a refusal in 800 steps would be a chance of 1e-12.
    assert!(run.global.iter().all(|count| count.rate() == Some(1.0)));
    let single = settings.sample(&Round, &wide::<f32>(2.0), &starts(), &mut stream(1, "chains"));
    assert!(single.unwrap().global.iter().all(|count| count.rate().unwrap() > 0.99));
}

#[test]
fn chains_that_never_move_are_named() {
    let settings = Metropolis { global_every: 1, draws: 50, ..Metropolis::default() };
    let far = vec![vec![5.0, 0.0], vec![-0.5, 0.0]];
    // Draws of N(0, 0.1^2) never outweigh a point 50 deviations away.
    let run = settings.sample(&TARGET, &wide::<f64>(0.1), &far, &mut stream(1, "chains")).unwrap();
    assert!(run.stuck().contains(&0), "{:?}", run.global);
    assert_eq!(run.chains.diagnostics_of(|x| x[1]).unwrap().r_hat.is_some(), run.stuck() == [0]);
}

#[test]
fn proposals_without_a_number_are_refused_and_counted() {
    let target = TwoModes { ceiling: 1.0 };
    let settings = Metropolis { global_every: 1_000_000, ..Metropolis::default() };
    let start = vec![vec![5.0, 0.0]];
    // Whose draws are all below the ceiling: a draw without a number is an error.
    let flow = wide::<f64>(0.05);
    for local in [Local::RandomWalk, Local::Mala] {
        let settings = Metropolis { local, ..settings };
        let run = settings.sample(&target, &flow, &start, &mut stream(3, "chains")).unwrap();
        assert!(run.chains.draws[0].iter().all(|x| x[1] <= 1.0));
        assert!(run.undefined > 0);
    }
    let error = settings.sample(&target, &flow, &[vec![0.0, 9.0]], &mut stream(3, "chains"));
    assert_error!(error, Error::NonFinite { row: 0, .. }, ["starting point"]);
    let error = settings.sample(&target, &wide::<f64>(3.0), &start, &mut stream(3, "chains"));
    assert_error!(error, Error::NonFinite { .. }, ["log-weight of a draw"]);
    let chain = ContinuousFlow::default().build::<f64>(2, 0, &mut stream(1, "init")).unwrap();
    let mut estimated = Flow::new(normal_base(2, 1.0), Box::new(chain)).unwrap();
    estimated.bijector_mut().set_purpose(Purpose::Training).unwrap();
    let error = settings.sample(&TARGET, &estimated, &start, &mut stream(3, "chains"));
    assert_error!(error, Error::Unavailable { .. }, ["estimated log-determinants", "Reporting"]);
    let none = Metropolis { draws: 0, ..settings };
    let error = none.sample(&target, &flow, &start, &mut stream(3, "chains"));
    assert_error!(error, Error::Parameter { .. }, ["draws", "at least 1"]);
}

#[test]
fn chains_are_the_same_with_any_number_of_threads() {
    let settings = Metropolis { warm_up: 20, draws: 50, ..Metropolis::default() };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| sample(settings, &wide(5.0)))
    };
    assert_eq!(with(1), with(3));
}

/// A flow that knows nothing of the modes learns them from chains that start in them.
#[test]
fn a_flow_that_is_refined_on_chains_proposes_better() {
    let conditioner = Conditioner::perceptron(vec![16]);
    let flow = || {
        let architecture =
            CouplingFlow { layers: 4, conditioner: conditioner.clone(), ..CouplingFlow::nsf() };
        let chain = architecture.build::<f64>(2, 0, &mut stream(1, "init")).unwrap();
        Flow::new(normal_base(2, 1.0), Box::new(chain)).unwrap()
    };
    let settings = Metropolis { warm_up: 100, draws: 2000, ..Metropolis::default() };
    let before = sample(settings, &flow());
    let config = TrainConfig { batch_rows: 256, ..TrainConfig::default() };
    let refit = Refit { config, budget: Budget::Steps { steps: 200 } };
    let rng = &mut stream(1, "chains");
    let (flow, after) = settings.adapt(&TARGET, flow(), starts(), (3, &refit), rng).unwrap();
    let rate = |run: &MetropolisChains| {
        run.global.iter().map(|count| count.rate().unwrap()).sum::<f64>() / 4.0
    };
    assert!(rate(&after) > 0.5 && rate(&after) > 2.0 * rate(&before));
    knows_both_modes(&after);
    assert_eq!(flow.dim(), 2);
}
