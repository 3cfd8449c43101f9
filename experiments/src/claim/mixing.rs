//! C22: what stands between coupling layers (review, Section 3.2).

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::{BoxBijector, Context, Parameters, Stream, normals, stream};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, Direction, Mixing, Perceptron, SplineConfig, TransformerConfig,
};
use nalgebra::DMatrix;

use super::known_density::Mixture;
use super::short_training::Course;
use super::{Check, Claim, Setting};
use crate::finding::{Criterion, Findings, Table};

pub(super) const C22: Claim = Claim {
    id: "C22",
    title: "Learned linear layers between couplings",
    review: "Linear flows generalise permutations and are used between coupling layers so that all \
             features interact (Section 3.2); published experiments with learned ones find better \
             likelihoods at the same depth.",
    method: "Four independent bimodal features, turned by a random rotation; two spline coupling layers \
             with different maps between them, trained on the same draws for the same number of steps. \
             Divergence over fresh draws, for which the target's density is known; differences over \
             the same draws and trainings of several seeds.",
    check: Check::Run(check),
};

const DIM: usize = 4;
/// One feature before the rotation.
const FEATURE: Mixture = Mixture(&[[0.4, -1.2, 0.4], [0.6, 0.8, 0.5]]);

fn check(setting: &Setting) -> Result<Findings> {
    let seeds = setting.either(1, 3);
    let rows = setting.either(4000, 20_000);
    let rotation = rotation(setting.seed);
    let kinds = [
        ("none", Mixing::None),
        ("permutation", Mixing::Permutation),
        ("LU", Mixing::Lu),
        ("exponential", Mixing::Exponential),
        ("reflections", Mixing::Householder),
    ];
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Two spline couplings: divergence from the target, mean over seeds and draws.",
        &["between them", "parameters", "divergence (nats)"],
    );
    let draws = draw(&rotation, rows, &mut stream(setting.seed, "test"));
    let truth: Vec<f64> = draws.chunks(DIM).map(|x| log_density(&rotation, x)).collect();
    let mut fixed: Option<Vec<f64>> = None;
    for (name, mixing) in kinds {
        let mut differences = vec![0.0; rows];
        let mut parameters = 0;
        for seed in 0..seeds {
            let seed = setting.seed + seed;
            let course = Course { steps: setting.either(250, 1500), learning_rate: 5e-3, seed };
            let flow =
                course.train(couplings(mixing, seed)?, |rows, rng| draw(&rotation, rows, rng))?;
            parameters = flow.count();
            let (model, _) = flow.evaluate(&draws, &Context::none())?;
            for (sum, (truth, model)) in differences.iter_mut().zip(truth.iter().zip(model)) {
                *sum += (truth - model) / seeds as f64;
            }
        }
        table.row([name.into(), parameters.into(), mean(&differences).into()]);
        if mixing == Mixing::Permutation {
            fixed = Some(differences);
        } else if let Some(fixed) = &fixed {
            let gain: Vec<f64> = fixed.iter().zip(&differences).map(|(a, b)| a - b).collect();
            let (gain, error) = mean(&gain);
            findings.demand(
                &format!("{name} instead of a fixed permutation: gain in log-likelihood (nats)"),
                (gain, Some(error)),
                Criterion::AtLeast(3.0 * error),
                "three standard errors above nothing, over the same draws",
            );
        }
    }
    findings.tables.push(table);
    Ok(findings)
}

fn couplings(mixing: Mixing, seed: u64) -> Result<BoxBijector<f64>> {
    let spline = SplineConfig { bins: 8, bound: 5.0, ..SplineConfig::default() };
    let conditioner = Perceptron { hidden: vec![16], activation: Activation::Tanh };
    let flow = CouplingFlow {
        layers: 2,
        transformer: TransformerConfig::RationalQuadratic(spline),
        conditioner: Conditioner::Perceptron(conditioner),
        formula: Direction::Density,
        mixing,
        act_norm: true,
        ..CouplingFlow::default()
    };
    Ok(BoxBijector::new(flow.build::<f64>(DIM, 0, &mut stream(seed, "init"))?))
}

/// A random orthogonal matrix: Q of a normal matrix's QR decomposition.
fn rotation(seed: u64) -> DMatrix<f64> {
    let normal = normals::<f64>(DIM * DIM, &mut stream(seed, "rotation"));
    DMatrix::from_row_slice(DIM, DIM, &normal).qr().q()
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

/// Mean and standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
