//! C15: one coupling layer is not universal, D of them are (review, Section 3.1.2).

use std::sync::Arc;

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Base, Bijector, Chain, Context, Flow, Inverse, Layer, MlpKernel, Tape, Values,
    normals, stream, tensor,
};
use flows_finite::architecture::{
    AffineConfig, Conditioner, CouplingFlow, DeepSigmoidalConfig, Mixing, Perceptron,
    RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_finite::{Coupling, Mask};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::known_density::{Grid, Mixture};
use crate::helper::plain_conditioner::{self, HIDDEN};
use crate::helper::short_training::Course;
use crate::helper::statistics::{distance, larger};
use crate::{Check, Claim, Setting};

pub(crate) const C15: Claim = Claim {
    id: "C15",
    title: "One coupling layer and D of them",
    review: "A single coupling layer leaves part of the features as they are and is no universal \
             approximator; D layers, the i-th with i - 1 features kept, can be any autoregressive flow \
             (Section 3.1.2).",
    method: "In the plane with a bimodal first feature of mean 0 and variance 1: divergences by \
             quadrature of one coupling layer that keeps it, at random weights and trained, against the \
             divergence of that feature from N(0, 1), and a second layer the other way round. Then, for \
             a masked layer with random weights, D coupling layers whose conditioners are cut out of \
             its masked network: values and log-determinants in both directions.",
    check: Check::Run(check),
};

/// The first feature: mean 0, variance 0.9^2 + 0.19 = 1.
const FIRST: Mixture<'_> =
    Mixture(&[[0.5, -0.9, 0.435_889_894_354_067_4], [0.5, 0.9, 0.435_889_894_354_067_4]]);

/// Deviation of the second around sin(2 x).
const DEVIATION: f64 = 0.5;

/// What quadrature over an analytic integrand may be wrong by: the distance of points is a tenth of
/// the smallest deviation, and what is left out below 1e-15.
const QUADRATURE: f64 = 1e-9;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    floor(setting, &mut findings)?;
    construction(setting, &mut findings)?;
    Ok(findings)
}

fn floor(setting: &Setting, findings: &mut Findings) -> Result<()> {
    // Mean 0 and variance 1: N(0, 1) is the nearest normal distribution.
    let floor = FIRST.gaussian_floor();
    findings.observed("divergence of the first feature from N(0, 1) (nats)", floor, None);
    let [low, high] = FIRST.ends();
    let grid = Grid::plane([low, high, -5.5, 5.5], 201, log_density);
    let least = random(&grid, setting)?;
    let points = trained(&grid, setting)?;
    let least = least.min(points[0][1]);
    findings.at_least(
        "one coupling layer, random and trained: least divergence less that of the first feature (nats)",
        least - floor,
        -QUADRATURE,
        "chain rule of the divergence: the kept feature has the base's distribution; quadrature error",
    );
    findings.at_most(
        "two coupling layers, trained: divergence (nats)",
        points[1][1],
        floor,
        "less than any single layer",
    );
    let mut plot = Plot::new(
        "Divergence by the number of coupling layers; dashed: the floor of a single one.",
        Scale::linear("layers"),
        Scale::log("divergence (nats)"),
    );
    let ends = [1.0, points.len() as f64];
    plot.series("trained", Stroke::Measured, points);
    plot.series("floor of one layer", Stroke::Reference, ends.map(|layers| [layers, floor]));
    findings.plots.push(plot);
    Ok(())
}

/// The least divergence of single layers with random weights.
fn random(grid: &Grid, setting: &Setting) -> Result<f64> {
    let mut least = f64::INFINITY;
    for index in 0..setting.either(5, 40) {
        let mut start = couplings(1, setting.seed)?;
        perturb(&mut start, 0.3, &mut stream(setting.seed, &format!("weights {index}")))?;
        let flow = Flow::new(Base::standard_normal(2), Box::new(start))?;
        least = least.min(grid.divergence(&flow)?);
    }
    Ok(least)
}

/// Number of layers and divergence.
fn trained(grid: &Grid, setting: &Setting) -> Result<Vec<[f64; 2]>> {
    let course =
        Course { steps: setting.either(300, 1500), learning_rate: 5e-3, seed: setting.seed };
    let mut points = Vec::new();
    for layers in 1..=setting.either(2, 4) {
        let start = Box::new(couplings(layers, setting.seed)?);
        let flow = course.train(start, |rows, rng| {
            let first = FIRST.sample(rows, rng);
            let noise = normals::<f64>(rows, rng);
            let second = |(x, n): (&f64, f64)| [*x, (2.0 * x).sin() + DEVIATION * n];
            first.iter().zip(noise).flat_map(second).collect()
        })?;
        points.push([layers as f64, grid.divergence(&flow)?]);
    }
    Ok(points)
}

fn log_density([x, y]: [f64; 2]) -> f64 {
    let z = (y - (2.0 * x).sin()) / DEVIATION;
    FIRST.log_density(x) - 0.5 * z * z - DEVIATION.ln() - 0.5 * std::f64::consts::TAU.ln()
}

/// The first keeps the first feature; everything in them is analytic.
fn couplings(layers: usize, seed: u64) -> Result<Chain<f64>> {
    let conditioner = Perceptron { hidden: vec![32], activation: Activation::Tanh };
    let flow = CouplingFlow {
        layers,
        transformer: DeepSigmoidalConfig { units: 6 }.shared(),
        conditioner: Conditioner::Perceptron(conditioner),
        formula: flows_finite::architecture::Direction::Density,
        mixing: Mixing::None,
        act_norm: false,
        ..CouplingFlow::default()
    };
    Ok(flow.build::<f64>(2, 0, &mut stream(seed, "init"))?)
}

fn construction(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(100, 1000);
    let spline = SplineConfig { bins: 5, bound: 3.0, ..SplineConfig::default() };
    let transformers = [
        ("affine", AffineConfig::default().shared()),
        ("rational-quadratic", RationalQuadraticConfig(spline).shared()),
    ];
    let mut table = Table::new(
        "D couplings made from a masked layer: largest differences over rows.",
        &["transformer", "D", "data to base", "log-determinant", "base to data", "log-determinant"],
    );
    let mut worst = 0.0;
    for (name, transformer) in transformers {
        for dim in [2, 4, 7] {
            let differences = differences(dim, rows, &transformer, setting.seed)?;
            worst = differences.iter().fold(worst, |worst, &d| larger(worst, d));
            let [a, b, c, d] = differences.map(Into::into);
            table.row([name.into(), dim.into(), a, b, c, d]);
        }
    }
    findings.at_most(
        "D couplings against the masked layer: largest difference of values and log-determinants",
        worst,
        1e-11,
        "one map by two routes: 1e-16 for each of some hundred operations, fed forward through up to \
         7 features with slopes of up to ten",
    );
    findings.tables.push(table);
    Ok(())
}

/// Values and log-determinants, data to base and base to data.
fn differences(
    dim: usize,
    rows: usize,
    transformer: &Arc<dyn TransformerConfig>,
    seed: u64,
) -> Result<[f64; 4]> {
    let (masked, conditioner) = plain_conditioner::layer(dim, transformer, seed)?;
    let mut parts: Vec<Box<dyn Bijector<f64>>> = Vec::new();
    for i in 0..dim {
        let mask = Mask::new((0..dim).map(|j| j == i).collect())?;
        let kernel = |inputs, outputs| MlpKernel::new(inputs, &[HIDDEN], outputs, Activation::Tanh);
        let rng = &mut stream(seed, "coupling");
        let map = Coupling::new(&mask, 0, transformer.build()?, kernel)?;
        let mut coupling = Layer::<f64>::new(map, rng)?;
        conditioner.write_into(i, &mut coupling)?;
        // The masked layer's formula is that of data to base.
        parts.push(Box::new(Inverse::new(Box::new(coupling))));
    }
    let couplings = Chain::new(dim, parts)?;
    let points = normals::<f64>(rows * dim, &mut stream(seed, "points"));
    let at = tensor::batch(points, rows, dim)?;
    let (none, no_tape) = (Context::none(), &mut Tape::none());
    let a = masked.inverse(&at, &none, no_tape)?;
    let b = couplings.inverse(&at, &none, no_tape)?;
    let c = masked.forward(&at, &none, no_tape)?;
    let d = couplings.forward(&at, &none, no_tape)?;
    Ok([
        distance(&a.value.values(), &b.value.values()),
        distance(&a.log_det.values(), &b.log_det.values()),
        distance(&c.value.values(), &d.value.values()),
        distance(&c.log_det.values(), &d.log_det.values()),
    ])
}
