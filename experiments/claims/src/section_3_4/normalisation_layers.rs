//! C50: what stands between layers in practice (review, Section 3.4).

use anyhow::Result;
use flows_core::tensor::{batch, columns};
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Batch, Bijector, Chain, Context, Layer, Parameters, Part, Purpose, Tape, Values,
    normals, stream,
};
use flows_finite::architecture::CouplingFlow;
use flows_finite::{ActNorm, BatchNorm};
use flows_report::finding::{Findings, Table};

use crate::helper::jacobian::{jacobians, log_det};
use crate::helper::statistics::{distance, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C50: Claim = Claim {
    id: "C50",
    title: "Normalisation and multi-scale layers",
    review: "Batch norm is an affine layer with determinant prod alpha_i / sqrt(sigma_i^2 + eps); \
             act-norm is one that is initialised from data; a multi-scale architecture factors \
             features out and is a composition of smaller flows (Section 3.4).",
    method: "On 4 features, in f64. Act-norm: mean and variance of the first batch behind its \
             initialisation, and that a second one changes nothing. Batch norm: its log-determinant \
             against the formula with the batch's and with the running variances, mean and variance \
             of its outputs in training. Three levels of couplings, each on half of the features \
             that are left: log-determinant against LU decomposition of the whole Jacobian, and \
             features that were factored out against the levels above.",
    check: Check::Run(check),
};

const DIM: usize = 4;

/// The constant that batch norm adds to variances.
const EPSILON: f64 = 1e-5;

/// Means of some hundred rounded numbers of order ten.
const ROUNDING: f64 = 1e-12;

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(300, 5000);
    let noise: Vec<f64> = normals(rows * DIM, &mut stream(setting.seed, "rows"));
    // Features of different size and place.
    let values: Vec<f64> = noise
        .iter()
        .enumerate()
        .map(|(i, n)| 3.0_f64.powi((i % DIM) as i32 - 1) * n + (i % DIM) as f64)
        .collect();
    let x = batch(values, rows, DIM)?;
    let mut findings = Findings::default();
    act_norm(&x, setting.seed, &mut findings)?;
    batch_norm(&x, setting.seed, &mut findings)?;
    multi_scale(setting, &mut findings)?;
    Ok(findings)
}

/// Mean and variance of every feature.
fn moments(x: &Batch<f64>) -> Vec<[f64; 2]> {
    let (values, dim) = (x.values(), columns(x));
    let rows = (values.len() / dim) as f64;
    let of = |j: usize| {
        let column = || values.iter().skip(j).step_by(dim);
        let mean = column().sum::<f64>() / rows;
        [mean, column().map(|v| (v - mean).powi(2)).sum::<f64>() / rows]
    };
    (0..dim).map(of).collect()
}

fn act_norm(x: &Batch<f64>, seed: u64, findings: &mut Findings) -> Result<()> {
    let mut layer = Layer::<f64>::new(ActNorm::new(DIM), &mut stream(seed, "init"))?;
    let z = layer.initialise(x, &Context::none())?;
    let mut table = Table::new(
        "The first batch before and behind act-norm.",
        &["feature", "mean before", "variance before", "mean behind", "variance behind"],
    );
    let (before, behind) = (moments(x), moments(&z));
    for (feature, (a, b)) in before.iter().zip(&behind).enumerate() {
        table.row([(feature + 1).into(), a[0].into(), a[1].into(), b[0].into(), b[1].into()]);
    }
    findings.tables.push(table);
    findings.at_most(
        "act-norm: largest distance of means from 0 and variances from 1 in the first batch",
        largest(behind.iter().flat_map(|[mean, variance]| [mean.abs(), (variance - 1.0).abs()])),
        ROUNDING,
        "it is initialised so; rounding of means",
    );
    let other = batch(normals(8 * DIM, &mut stream(seed, "other")), 8, DIM)?;
    layer.initialise(&other, &Context::none())?;
    let again = layer.inverse(x, &Context::none(), &mut Tape::none())?;
    findings.at_most(
        "act-norm: largest change by a second initialisation",
        distance(&again.value.values(), &z.values()),
        0.0,
        "it is done once",
    );
    let expected: f64 = before.iter().map(|[_, variance]| -0.5 * variance.ln()).sum();
    findings.at_most(
        "act-norm: largest distance of its log-determinant from minus the sum of log-deviations",
        largest(again.log_det.values().iter().map(|l| (l - expected).abs())),
        ROUNDING,
        "rounding of four terms",
    );
    Ok(())
}

fn batch_norm(x: &Batch<f64>, seed: u64, findings: &mut Findings) -> Result<()> {
    let mut layer = BatchNorm::<f64>::new(DIM)?;
    layer.initialise(x, &Context::none())?;
    perturb(&mut layer, 0.3, &mut stream(seed, "batch norm"))?;
    let mut tensors = Vec::new();
    layer.visit(&mut |_, _, tensor| tensors.push(tensor.values()));
    let (log_scale, shift, running) = (&tensors[0], &tensors[1], &tensors[3]);
    let formula = |variances: &[f64]| -> f64 {
        let terms = log_scale.iter().zip(variances);
        terms.map(|(gamma, variance)| gamma - 0.5 * (variance + EPSILON).ln()).sum()
    };
    let of_batch: Vec<f64> = moments(x).iter().map(|m| m[1]).collect();
    for (name, purpose, variances) in
        [("in training", Purpose::Training, &of_batch), ("in reports", Purpose::Reporting, running)]
    {
        layer.set_purpose(purpose)?;
        let mapped = layer.inverse(x, &Context::none(), &mut Tape::none())?;
        let expected = formula(variances);
        findings.at_most(
            &format!("batch norm {name}: largest distance of its log-determinant from the formula"),
            largest(mapped.log_det.values().iter().map(|l| (l - expected).abs())),
            ROUNDING,
            "rounding of four terms and of the variances in them",
        );
        if purpose == Purpose::Training {
            outputs(&moments(&mapped.value), [log_scale, shift, &of_batch], findings);
        }
    }
    Ok(())
}

/// Mean and variance of what batch norm returns in training.
fn outputs(
    behind: &[[f64; 2]],
    [log_scale, shift, of_batch]: [&[f64]; 3],
    findings: &mut Findings,
) {
    let each = behind.iter().enumerate().flat_map(|(i, [mean, variance])| {
        let expected = (2.0 * log_scale[i]).exp() * of_batch[i] / (of_batch[i] + EPSILON);
        [(mean - shift[i]).abs(), (variance - expected).abs()]
    });
    findings.at_most(
        "batch norm in training: largest distance of means and variances from beta and alpha^2 \
         sigma^2 / (sigma^2 + eps)",
        largest(each),
        ROUNDING,
        "rounding of means",
    );
}

/// A coupling on `dim` features, away from its start.
fn level(dim: usize, seed: u64) -> Result<Box<dyn Bijector<f64>>> {
    let rng = &mut stream(seed, &format!("level {dim}"));
    let config = CouplingFlow { layers: 2, act_norm: false, ..CouplingFlow::default() };
    let mut level = config.build(dim, 0, rng)?;
    perturb(&mut level, 0.05, rng)?;
    Ok(Box::new(level))
}

/// Levels on 2, 4 and 8 features, in the order from base to data.
fn multi_scale(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (dim, rows, none) = (8, setting.either(32, 500), Context::none());
    let mut parts: Vec<Box<dyn Bijector<f64>>> = Vec::new();
    for features in [2, 4] {
        let part = Part::new(level(features, setting.seed)?, dim, (0..features).collect())?;
        parts.push(Box::new(part));
    }
    parts.push(level(dim, setting.seed)?);
    let whole = Chain::new(dim, parts)?;
    let z = batch(normals(rows * dim, &mut stream(setting.seed, "z")), rows, dim)?;
    let mapped = whole.forward(&z, &none, &mut Tape::none())?;
    let pairs = mapped.log_det.values().into_iter().zip(jacobians(&whole, &z)?);
    findings.at_most(
        "multi-scale: largest relative difference of log-determinant and LU decomposition",
        largest(pairs.map(|(exact, j)| (exact - log_det(&j)).abs() / (1.0 + exact.abs()))),
        1e-10,
        "rounding of some thousand operations",
    );
    // Towards the base, the features that were factored out are those behind the last level.
    let last = level(dim, setting.seed)?.inverse(&mapped.value, &none, &mut Tape::none())?;
    let back = whole.inverse(&mapped.value, &none, &mut Tape::none())?;
    let factored = |values: &[f64]| -> Vec<f64> {
        values.chunks(dim).flat_map(|row| row[dim / 2..].to_vec()).collect()
    };
    findings.at_most(
        "multi-scale: largest change of features after they were factored out",
        distance(&factored(&last.value.values()), &factored(&back.value.values())),
        0.0,
        "the later levels do not touch them",
    );
    findings.at_most(
        "multi-scale: largest round-trip error",
        distance(&back.value.values(), &z.values()),
        1e-9,
        "rounding, amplified by condition numbers up to some thousands",
    );
    Ok(())
}
