//! C22: what stands between coupling layers (review, Section 3.2).

use std::ops::Range;

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::{Architecture, Bijector, Context, Parameters, Stream, stream};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, Direction, Mixing, Perceptron, RationalQuadraticConfig,
    SplineConfig, TransformerConfig,
};
use flows_report::finding::{Criterion, Findings, Table};
use nalgebra::DMatrix;

use crate::helper::known_density::Mixture;
use crate::helper::short_training::Course;
use crate::helper::statistics::mean;
use crate::{Check, Claim, Setting};

pub(crate) const C22: Claim = Claim {
    id: "C22",
    title: "Learned linear layers between couplings",
    review: "Linear flows generalise permutations and are used between coupling layers so that all \
             features interact (Section 3.2); published experiments with learned ones find better \
             likelihoods at the same depth.",
    method: "Four independent bimodal features, turned by the rotation that mixes them evenly; two spline coupling layers \
             with different maps between them, trained on the same draws for the same number of steps. \
             Divergence over fresh draws, for which the target's density is known; differences over \
             the same draws and trainings of several seeds. The masks change places in every other layer, \
             which is a fixed permutation itself; a random one is tried as well, and the better of both \
             compared with.",
    check: Check::Run(check),
};

const DIM: usize = 4;
/// One feature before the rotation.
const FEATURE: Mixture<'_> = Mixture(&[[0.4, -1.2, 0.4], [0.6, 0.8, 0.5]]);

fn check(setting: &Setting) -> Result<Findings> {
    let trial = Trial::new(setting);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Two spline couplings: divergence from the target, mean over trainings and draws.",
        &["between them", "parameters", "divergence (nats)"],
    );
    let mut run = |name: &str, mixing| -> Result<Vec<f64>> {
        let (losses, parameters) = trial.losses(mixing)?;
        table.row([name.into(), parameters.into(), mean(&losses).into()]);
        Ok(losses)
    };
    let halves = run("nothing: the halves change places", Mixing::None)?;
    let random = run("a random permutation as well", Mixing::Permutation)?;
    let fixed = if mean(&halves).0 < mean(&random).0 { halves } else { random };
    let learned = [
        ("LU", Mixing::Lu),
        ("exponential", Mixing::Exponential),
        ("reflections", Mixing::Householder),
    ];
    for (name, mixing) in learned {
        let losses = run(name, mixing)?;
        let gain: Vec<f64> = fixed.iter().zip(&losses).map(|(a, b)| a - b).collect();
        let (gain, error) = mean(&gain);
        findings.demand(
            &format!(
                "{name} instead of the better fixed permutation: gain in log-likelihood (nats)"
            ),
            (gain, Some(error)),
            Criterion::AtLeast(3.0 * error),
            "three standard errors of the draws above nothing; trainings are averaged",
        );
    }
    findings.tables.push(table);
    Ok(findings)
}

/// The target, draws to test on, and the trainings.
struct Trial {
    rotation: DMatrix<f64>,
    draws: Vec<f64>,
    /// Log-density of the draws.
    truth: Vec<f64>,
    steps: u64,
    seeds: Range<u64>,
}

impl Trial {
    fn new(setting: &Setting) -> Self {
        let (seed, count, rows) =
            (setting.seed, setting.either(2, 3), setting.either(4000, 20_000));
        let rotation = rotation();
        let draws = draw(&rotation, rows, &mut stream(seed, "test"));
        let truth = draws.chunks(DIM).map(|x| log_density(&rotation, x)).collect();
        Self { rotation, draws, truth, steps: setting.either(500, 1500), seeds: seed..seed + count }
    }

    /// Log-density of the target less that of the flow at every draw, mean over trainings; and the
    /// number of parameters.
    fn losses(&self, mixing: Mixing) -> Result<(Vec<f64>, usize)> {
        let mut losses = vec![0.0; self.truth.len()];
        let mut parameters = 0;
        let count = self.seeds.clone().count() as f64;
        for seed in self.seeds.clone() {
            let course = Course { steps: self.steps, learning_rate: 5e-3, seed };
            let start = couplings(mixing, seed)?;
            let flow = course.train(start, |rows, rng| draw(&self.rotation, rows, rng))?;
            parameters = flow.count();
            let (model, _) = flow.evaluate(&self.draws, &Context::none())?;
            for (sum, (truth, model)) in losses.iter_mut().zip(self.truth.iter().zip(model)) {
                *sum += (truth - model) / count;
            }
        }
        Ok((losses, parameters))
    }
}

fn couplings(mixing: Mixing, seed: u64) -> Result<Box<dyn Bijector<f64>>> {
    let spline = SplineConfig { bins: 8, bound: 5.0, ..SplineConfig::default() };
    let conditioner = Perceptron { hidden: vec![16], activation: Activation::Tanh };
    let flow = CouplingFlow {
        layers: 2,
        transformer: RationalQuadraticConfig(spline).shared(),
        conditioner: Conditioner::Perceptron(conditioner),
        formula: Direction::Density,
        mixing,
        act_norm: true,
        ..CouplingFlow::default()
    };
    Ok(Box::new(flow.build::<f64>(DIM, 0, &mut stream(seed, "init"))?))
}

/// The rotation that mixes all features most evenly: Hadamard's matrix over 2, of determinant 1.
fn rotation() -> DMatrix<f64> {
    DMatrix::from_fn(DIM, DIM, |i, j| if (i & j).count_ones() % 2 == 0 { 0.5 } else { -0.5 })
}

fn draw(rotation: &DMatrix<f64>, rows: usize, rng: &mut Stream) -> Vec<f64> {
    let features = FEATURE.sample(rows * DIM, rng);
    (rotation * DMatrix::from_column_slice(DIM, rows, &features)).as_slice().to_vec()
}

/// The rotation changes no volume.
fn log_density(rotation: &DMatrix<f64>, x: &[f64]) -> f64 {
    let features = rotation.tr_mul(&DMatrix::from_column_slice(DIM, 1, x));
    features.iter().map(|&y| FEATURE.log_density(y)).sum()
}
