//! C24: the truncated series of a residual layer's log-det (review, Section 3.3.1).

use anyhow::Result;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, Purpose, Tape, Values, stream};
use flows_finite::residual::Determinant;
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::Perceptron;
use crate::helper::statistics::{Moments, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C24: Claim = Claim {
    id: "C24",
    title: "Power series of the log-det",
    review: "log |det(I + J)| is the sum over k of (-1)^(k+1) tr J^k / k; cut off after n terms it is \
             biased by at most -D (ln(1 - L) + the sum of L^k / k, k <= n) (Section 3.3.1).",
    method: "tanh layers in four dimensions whose L is known, from 0.5 to 0.97: exact log-dets of the \
             library against the series summed from powers of the dense Jacobian, n up to 60; the same \
             for J = -L I, where the bound is attained; and the mean of the library's estimator of the \
             truncated series over probes.",
    check: Check::Run(check),
};

const DIM: usize = 4;
const TERMS: usize = 60;

/// Rounding of log-dets of up to ten nats, and of the powers of J.
const ROUNDING: f64 = 1e-13;

const DECREASING: &str = "tanh, decreasing";
const EXTREMAL: &str = "J = -L I";

const POINT: [f64; DIM] = [0.3, -0.2, 0.1, 0.4];

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut plot = Plot::new(
        "Truncation errors of decreasing tanh layers at one point, and their bounds.",
        Scale::linear("terms"),
        Scale::log("truncation error (nats)"),
    );
    let mut table = Table::new(
        "Bias of the truncated log-det (nats) at one point; where all eigenvalues of J are negative it is \
         too high for every n.",
        &["L", "layer", "1 term", "2 terms", "5 terms", "10 terms", "20 terms"],
    );
    let mut over = Vec::new();
    let (mut attained, mut least) = (Vec::new(), f64::INFINITY);
    for constant in [0.5, 0.7, 0.9, 0.97] {
        let bounds = bounds(constant);
        for (name, layer) in layers(constant, setting) {
            let biases = biases(&layer)?;
            let pairs = || biases.iter().zip(&bounds);
            over.extend(pairs().map(|(bias, bound)| bias.abs() / (bound + ROUNDING)));
            match name {
                DECREASING => least = biases.iter().copied().fold(least, f64::min),
                EXTREMAL => attained.extend(pairs().map(|(bias, bound)| (bias - bound).abs())),
                _ => {}
            }
            let [a, b, c, d, e] = [1, 2, 5, 10, 20].map(|terms: usize| biases[terms - 1].into());
            table.row([constant.into(), name.into(), a, b, c, d, e]);
            if name == DECREASING && constant != 0.7 {
                plot.series(format!("L = {constant}"), Stroke::Measured, curve(&biases));
                plot.series(format!("bound, L = {constant}"), Stroke::Reference, curve(&bounds));
            }
        }
    }
    demands(&mut findings, [largest(over), least, largest(attained)]);
    estimator(setting, &mut findings)?;
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

fn demands(findings: &mut Findings, [over, least, attained]: [f64; 3]) {
    findings.at_most(
        "largest truncation error over its bound, n = 1 to 60",
        over,
        1.0 + 1e-9,
        "tr J^k is at most D L^k in size: a theorem, but for rounding of 1e-13 nats",
    );
    findings.at_least(
        "decreasing layers: smallest bias (nats)",
        least,
        -ROUNDING,
        "all terms left out are then negative, so that the truncated log-det is too high, but for rounding",
    );
    findings.at_most(
        "J = -L I: largest difference of bias and bound (nats)",
        attained,
        1e-12,
        "every term of the series is then -D L^k / k: one sum by two routes, and rounding",
    );
}

fn layers(constant: f64, setting: &Setting) -> [(&'static str, Perceptron); 3] {
    let rng = &mut stream(setting.seed, "weights");
    [
        ("tanh", Perceptron::random((DIM, 9), [constant.sqrt(); 2], rng)),
        (DECREASING, Perceptron::decreasing((DIM, 9), constant, rng)),
        (EXTREMAL, Perceptron::linear(DMatrix::identity(DIM, DIM) * -constant)),
    ]
}

fn curve(values: &[f64]) -> Vec<[f64; 2]> {
    (1..).zip(values).map(|(k, value)| [f64::from(k), value.abs()]).collect()
}

/// The bound for 1 to [`TERMS`] terms, summed from its tail, which does not cancel.
fn bounds(constant: f64) -> Vec<f64> {
    let tail =
        |n: usize| (n + 1..4000).rev().map(|k| constant.powi(k as i32) / k as f64).sum::<f64>();
    (1..=TERMS).map(|n| DIM as f64 * tail(n)).collect()
}

/// Series minus exact log-det for 1 to [`TERMS`] terms.
fn biases(layer: &Perceptron) -> Result<Vec<f64>> {
    let flow = layer.residual(1, Determinant::Exact)?;
    let z = batch(POINT.to_vec(), 1, DIM)?;
    let exact = flow.forward(&z, &Context::none(), &mut Tape::none())?.log_det.values()[0];
    Ok(partial_sums(layer, &POINT, TERMS).iter().map(|sum| sum - exact).collect())
}

/// The sums of the first 1, 2, .. terms of the log-det's series.
pub(crate) fn partial_sums(layer: &Perceptron, z: &[f64], terms: usize) -> Vec<f64> {
    let jacobian = layer.jacobian(z);
    let mut power = DMatrix::identity(z.len(), z.len());
    let mut total = 0.0;
    let mut term = |k: usize| {
        power = &power * &jacobian;
        total += if k % 2 == 1 { 1.0 } else { -1.0 } / k as f64 * power.trace();
        total
    };
    (1..=terms).map(&mut term).collect()
}

/// The library's truncated estimator has the truncated sum as its mean.
fn estimator(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(4_000, 100_000);
    let rng = &mut stream(setting.seed, "weights");
    let layer = Perceptron::decreasing((DIM, 9), 0.9, rng);
    let sums = partial_sums(&layer, &POINT, 5);
    let mut scores = Vec::new();
    for terms in [1, 2, 3, 5] {
        let mut flow = layer.residual(1, Determinant::Series { terms, probes: 1 })?;
        flow.set_purpose(Purpose::Training)?;
        flow.begin_step(&mut stream(setting.seed, "probes"))?;
        let rows = batch(POINT.repeat(rows), rows, DIM)?;
        let log_det = flow.forward(&rows, &Context::none(), &mut Tape::none())?.log_det;
        scores.push(Moments::of(&log_det.values()).score(sums[terms - 1]));
    }
    findings.at_most(
        "estimator with 1, 2, 3, 5 terms: largest distance of its mean from the truncated sum (s.e.)",
        largest(scores),
        4.0,
        "four comparisons, each beyond four standard errors once in 16,000",
    );
    Ok(())
}
