//! What lies between a coupling layer and a fully autoregressive one (review, Section 3.1.2).

use anyhow::{Context as _, Result};
use flows_core::{Architecture, Context, Flow, Stream, Work, normals, stream};
use flows_finite::Sampling;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, LayerOrder, TransformerConfig,
};
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};

use crate::helper::short_training::Course;
use crate::helper::statistics::mean;
use crate::{Check, Claim, Setting};

/// The part of the experiment `k-parts`.
pub const PART: Claim = Claim {
    id: "k-parts",
    title: "Parts against divergence and passes",
    review: "Features may be split into K parts, each transformed given the parts before it: K = 2 is a \
             coupling layer, K = D an autoregressive one, and K sets what sampling costs and what the \
             layer can express (Section 3.1.2).",
    method: "One affine layer of K parts, K = 1, 2, 4, 8, trained by maximum likelihood on a chain of \
             eight features, each normal around the sine of the one before, with known density: the \
             divergence in nats, against the passes of plain sampling, counted.",
    check: Check::Run(check),
};

const DIM: usize = 8;
const PARTS: [usize; 4] = [1, 2, 4, 8];
/// Standard deviation of a feature given the one before.
const NOISE: f64 = 0.5;

fn check(setting: &Setting) -> Result<Findings> {
    let steps = setting.either(150, 1500);
    let rows = setting.either(5_000, 50_000);
    let test = chain(rows, &mut stream(setting.seed, "test"));
    let mut findings = Findings::default();
    let mut table = Table::new(
        "One layer of K parts after the same number of steps.",
        &["K", "passes of sampling", "KL divergence (nats)"],
    );
    let mut results = Vec::new();
    for parts in PARTS {
        let course = Course { steps, learning_rate: 5e-3, seed: setting.seed };
        let layer = layer(parts).build::<f64>(DIM, 0, &mut stream(setting.seed, "init"))?;
        let flow = course.train(Box::new(layer), chain)?;
        let (divergence, error) = divergence(&flow, &test)?;
        let work: Work = flow.sample(1, &Context::none(), &mut stream(setting.seed, "draw"))?.1;
        let passes = work.network_passes;
        table.row([parts.into(), passes.into(), Cell::Estimate(divergence, error)]);
        findings.between(
            &format!("passes of sampling with {parts} parts"),
            passes as f64,
            [parts as f64; 2],
            "one pass of the network for each part, counted",
        );
        results.push([passes as f64, divergence, error]);
    }
    let [first, last] = [results.first(), results.last()].map(|r| r.copied().unwrap_or([0.0; 3]));
    let error = first[2].hypot(last[2]);
    findings.demand(
        "divergence with 8 parts, less that with one (nats)",
        (last[1] - first[1], Some(error)),
        Criterion::AtMost(-3.0 * error),
        "one part is independent normals, which no conditional of the chain is; three standard errors",
    );
    let mut plot = Plot::new(
        "Divergence after training against the passes that a draw takes.",
        Scale::log("network passes of a draw"),
        Scale::log("KL divergence (nats)"),
    );
    plot.series_with_errors("one affine layer of K parts", Stroke::Measured, results);
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

fn layer(parts: usize) -> AutoregressiveFlow {
    AutoregressiveFlow {
        layers: 1,
        transformer: AffineConfig::inverted().shared(),
        conditioner: Conditioner::perceptron(vec![64, 64]),
        order: LayerOrder::Natural,
        parts: Some(parts),
        sampling: Sampling::Sequential,
        act_norm: false,
        ..AutoregressiveFlow::default()
    }
}

/// x1 ~ N(0, 1), x_i ~ N(sin(2 x_(i-1)), NOISE^2).
fn chain(rows: usize, rng: &mut Stream) -> Vec<f64> {
    let mut values: Vec<f64> = normals(rows * DIM, rng);
    for row in values.chunks_exact_mut(DIM) {
        for i in 1..DIM {
            row[i] = (2.0 * row[i - 1]).sin() + NOISE * row[i];
        }
    }
    values
}

fn log_density(row: &[f64]) -> f64 {
    let normal = |z: f64| -0.5 * (z * z + std::f64::consts::TAU.ln());
    let rest =
        row.windows(2).map(|pair| normal((pair[1] - (2.0 * pair[0]).sin()) / NOISE) - NOISE.ln());
    row.first().map_or(0.0, |&x| normal(x)) + rest.sum::<f64>()
}

/// Mean of log p - log q over rows of p, and its standard error.
fn divergence(flow: &Flow<f64>, rows: &[f64]) -> Result<(f64, f64)> {
    let log_q = flow.evaluate(rows, &Context::none()).context("held-out rows")?.0;
    let terms: Vec<f64> =
        rows.chunks_exact(DIM).zip(log_q).map(|(row, q)| log_density(row) - q).collect();
    Ok(mean(&terms))
}
