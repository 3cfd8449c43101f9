//! Sequential Monte Carlo on targets with known normalisers.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::targets::{KnownTarget, ManyWell};
use flows_continuous::{
    Accuracy, Adaptive, ContinuousFlow, Divergence, FieldConfig, PerceptronField, Solver,
};
use flows_core::testing::assert_error;
use flows_core::train::{AdamConfig, Budget, TrainConfig};
use flows_core::{Architecture, Chain, Error, Flow, Target, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::chain::{Local, Refit};
use flows_inference::smc::{Smc, SmcRun, log_normaliser};

use super::support::normal_base;

/// 7 N(m, diag(s)^2) in the plane.
#[derive(Debug)]
struct SevenNormals;

const MEAN: [f64; 2] = [2.0, -1.0];
const DEVIATION: [f64; 2] = [0.2, 1.5];

impl Target for SevenNormals {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 7.0_f64.ln() - std::f64::consts::TAU.ln();
        for i in 0..2 {
            let z = (point[i] - MEAN[i]) / DEVIATION[i];
            gradient[i] = -z / DEVIATION[i];
            value -= 0.5 * z * z + DEVIATION[i].ln();
        }
        value
    }
}

/// N(0, scale^2) with the identity.
fn wide(dim: usize, scale: f64) -> Flow<f64> {
    Flow::new(normal_base(dim, scale), Box::new(Chain::new(dim, vec![]).unwrap())).unwrap()
}

fn flow(architecture: &impl Architecture, dim: usize, seed: u64) -> Flow<f64> {
    let chain = architecture.build::<f64>(dim, 0, &mut stream(seed, "init")).unwrap();
    Flow::new(normal_base(dim, 1.0), Box::new(chain)).unwrap()
}

fn splines() -> CouplingFlow {
    CouplingFlow {
        layers: 3,
        conditioner: Conditioner::perceptron(vec![16]),
        ..CouplingFlow::nsf()
    }
}

fn refit(steps: u64) -> Refit {
    let optimiser = AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() };
    let config = TrainConfig { batch_rows: 128, optimiser, ..TrainConfig::default() };
    Refit { config, budget: Budget::Steps { steps } }
}

fn runs(
    smc: Smc,
    target: &dyn Target,
    scale: f64,
    architecture: &impl Architecture,
    (count, steps): (u64, u64),
) -> Vec<SmcRun> {
    let dim = target.dim();
    let run = |seed| {
        let preconditioner = flow(architecture, dim, seed);
        let rng = &mut stream(seed, "particles");
        smc.run(target, &wide(dim, scale), preconditioner, &refit(steps), rng).unwrap()
    };
    (0..count).map(run).collect()
}

/// Asserts that log Z of the runs is within four standard errors, and these below `most`.
fn agrees(runs: &[SmcRun], expected: f64, most: f64) {
    let values: Vec<f64> = runs.iter().map(|run| run.log_normaliser).collect();
    let found = log_normaliser(&values).unwrap();
    let error = found.standard_error.unwrap();
    assert!((found.nats - expected).abs() < 4.0 * error, "{values:?}: {found:?}, not {expected}");
    assert!(error < most, "{values:?}: {found:?}");
}

#[test]
fn log_z_of_a_normal_is_found_with_either_kind_of_step() {
    for local in [Local::RandomWalk, Local::Mala] {
        let smc = Smc { particles: 256, local, ..Smc::default() };
        let runs = runs(smc, &SevenNormals, 3.0, &splines(), (6, 60));
        agrees(&runs, 7.0_f64.ln(), 0.1);
        for run in &runs {
            let betas: Vec<f64> = run.temperatures.iter().map(|t| t.beta).collect();
            assert!(
                betas.is_sorted() && betas.last() == Some(&1.0) && betas.len() > 2,
                "{betas:?}"
            );
            let (last, inner) = run.temperatures.split_last().unwrap();
            assert!(inner.iter().all(|t| (t.effective_share - 0.7).abs() < 1e-6));
            assert!(last.effective_share >= 0.7 - 1e-6);
            assert!(
                inner.iter().all(|t| t.global.proposed == 4 * 256 && t.local.proposed == 16 * 256)
            );
        }
        // Means over 6 times 256 particles; resampling leaves at least half of them independent.
        for i in 0..2 {
            let particles = runs.iter().flat_map(|run| run.particles.chunks(2));
            let mean = particles.map(|x| x[i]).sum::<f64>() / (6.0 * 256.0);
            let error = DEVIATION[i] / (3.0_f64 * 256.0).sqrt();
            assert!((mean - MEAN[i]).abs() < 4.0 * error, "{mean}, not {}", MEAN[i]);
        }
    }
}

#[test]
fn log_z_of_known_targets_is_found() {
    let smc = Smc { particles: 400, ..Smc::default() };
    agrees(&runs(smc, &KnownTarget::Cross, 3.0, &splines(), (6, 60)), 0.0, 0.15);
    let expected = KnownTarget::ManyWell(ManyWell::DEFAULT).log_normaliser().nats;
    agrees(
        &runs(smc, &KnownTarget::ManyWell(ManyWell::DEFAULT), 2.0, &splines(), (6, 60)),
        expected,
        0.5,
    );
}

/// 5 times a funnel: v ~ N(0, 1), two others given v ~ N(0, e^v).
#[derive(Debug)]
struct MildFunnel;

impl Target for MildFunnel {
    fn dim(&self) -> usize {
        3
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (v, precision) = (point[0], (-point[0]).exp());
        let square = precision * (point[1] * point[1] + point[2] * point[2]);
        gradient[0] = -v + 0.5 * square - 1.0;
        gradient[1] = -precision * point[1];
        gradient[2] = -precision * point[2];
        5.0_f64.ln() - 0.5 * (v * v + square) - v - 1.5 * std::f64::consts::TAU.ln()
    }
}

#[test]
fn log_z_of_a_mild_funnel_is_found() {
    let smc = Smc { particles: 400, ..Smc::default() };
    agrees(&runs(smc, &MildFunnel, 3.0, &splines(), (6, 60)), 5.0_f64.ln(), 0.1);
}

#[test]
fn a_continuous_flow_preconditions_as_well() {
    let solver = Solver::Dopri5(Adaptive::new(1e-4, 1e-4));
    let accuracy = Accuracy { solver, divergence: Divergence::Exact };
    let field =
        FieldConfig::Perceptron(PerceptronField { hidden: vec![16], ..PerceptronField::default() });
    let architecture = ContinuousFlow {
        training: accuracy,
        reporting: accuracy,
        field,
        ..ContinuousFlow::default()
    };
    let smc = Smc { particles: 128, moves: 10, ..Smc::default() };
    agrees(&runs(smc, &SevenNormals, 3.0, &architecture, (4, 20)), 7.0_f64.ln(), 0.3);
}

#[test]
fn runs_repeat_and_settings_are_checked() {
    let smc = Smc { particles: 64, moves: 5, ..Smc::default() };
    let one = |smc: Smc| {
        let (from, rng) = (wide(2, 3.0), &mut stream(1, "particles"));
        smc.run(&SevenNormals, &from, flow(&splines(), 2, 1), &refit(5), rng)
    };
    let (a, b) = (one(smc).unwrap(), one(smc).unwrap());
    assert_eq!((a.particles, a.log_normaliser), (b.particles, b.log_normaliser));
    let error = one(Smc { effective_share: 0.95, ..smc });
    assert_error!(error, Error::Parameter { .. }, ["effective_share", "[0.5, 0.9]"]);
    let error = one(Smc { particles: 3, ..smc });
    assert_error!(error, Error::Parameter { .. }, ["particles", "16"]);
    let rng = &mut stream(1, "particles");
    let error = smc.run(&SevenNormals, &wide(2, 1.0), flow(&splines(), 3, 1), &refit(5), rng);
    assert_error!(error, Error::Dimension { expected: 2, got: 3, .. }, ["preconditioner"]);
}

#[test]
fn the_error_of_log_z_is_that_of_the_mean_of_z() {
    let found = log_normaliser(&[1.0_f64.ln(), 3.0_f64.ln()]).unwrap();
    assert!((found.nats - 2.0_f64.ln()).abs() < 1e-14);
    // Mean 2, standard deviation sqrt(2), of two runs: 1 over 2.
    assert!((found.standard_error.unwrap() - 0.5).abs() < 1e-14);
    assert_eq!(log_normaliser(&[1.0]).unwrap().standard_error, None);
}
