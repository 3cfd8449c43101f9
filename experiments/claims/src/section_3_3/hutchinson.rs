//! C26: Hutchinson's estimate of a trace (review, Sections 3.3.1 and 4).

use anyhow::Result;
use flows_continuous::{Accuracy, Divergence, GradientMethod, Hutchinson, Probe, Solver};
use flows_core::tensor::batch;
use flows_core::{Context, Tape, Values, stream};
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::{Perceptron, equal, random_matrix};
use crate::helper::statistics::{Moments, exponent, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C26: Claim = Claim {
    id: "C26",
    title: "Hutchinson's trace estimator",
    review: "With E v = 0 and Cov v = I, v^T A v is an unbiased estimate of tr A; its log-densities are \
             unbiased, its densities are not (Sections 3.3.1 and 4). Its variance is \
             2 (|S|_F^2 - sum of S_ii^2) for signs and 2 |S|_F^2 for Gaussian probes, S the symmetric part \
             of A.",
    method: "One step of Euler's method along dz/dt = A z over [0, 1], whose log-det is v^T A v, for a \
             random A in eight dimensions: mean and variance over rows with their own probes, for 1 to 16 \
             probes of both kinds, against the formulas. For the density, A is scaled down, and the mean \
             of exp(-v^T A v) held against det(I + 2 S)^(-1/2), its value for Gaussian probes.",
    check: Check::Run(check),
};

const DIM: usize = 8;
const KINDS: [(&str, Probe); 2] = [("signs", Probe::Rademacher), ("Gaussian", Probe::Gaussian)];

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    moments(setting, &mut findings)?;
    density(setting, &mut findings)?;
    Ok(findings)
}

/// Estimates of the trace of a matrix, one a row.
pub(crate) fn estimates(
    matrix: &DMatrix<f64>,
    estimate: Hutchinson,
    (rows, seed): (usize, u64),
) -> Result<Vec<f64>> {
    let divergence = Divergence::Hutchinson(estimate);
    let accuracy = Accuracy { solver: Solver::Euler(equal(1)), divergence };
    let field = Perceptron::linear(matrix.clone());
    let mut flow = field.continuous(accuracy, 1.0, GradientMethod::default())?;
    flow.begin_step(&mut stream(seed, "probes"))?;
    let dim = matrix.nrows();
    let origin = batch(vec![0.0; rows * dim], rows, dim)?;
    Ok(flow.forward(&origin, &Context::none(), &mut Tape::none())?.log_det.values())
}

/// |S|_F^2 and the sum of S_ii^2.
pub(crate) fn squares(matrix: &DMatrix<f64>) -> [f64; 2] {
    let symmetric = (matrix + matrix.transpose()) * 0.5;
    [symmetric.norm_squared(), symmetric.diagonal().norm_squared()]
}

fn moments(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(20_000, 200_000);
    let matrix = random_matrix(DIM, DIM, &mut stream(setting.seed, "matrix"));
    let [all, diagonal] = squares(&matrix);
    let mut table = Table::new(
        "Estimates of one trace over draws.",
        &["probes", "kind", "mean minus trace", "variance", "formula"],
    );
    let mut plot = Plot::new(
        "The variance falls like one over the number of probes.",
        Scale::log("probes of a row"),
        Scale::log("variance (nats squared)"),
    );
    let (mut means, mut variances, mut decay) = (Vec::new(), Vec::new(), Vec::new());
    for (name, distribution) in KINDS {
        let one = 2.0 * if distribution == Probe::Gaussian { all } else { all - diagonal };
        let mut curve = Vec::new();
        for probes in [1, 2, 4, 8, 16] {
            let estimate = Hutchinson { probes, distribution };
            let seen = Moments::of(&estimates(&matrix, estimate, (rows, setting.seed))?);
            let formula = one / probes as f64;
            means.push(seen.score(matrix.trace()));
            variances.push(seen.variance_score(formula));
            curve.push([probes as f64, seen.variance, seen.variance_error]);
            let off: Cell = (seen.mean - matrix.trace(), seen.mean_error).into();
            let variance: Cell = (seen.variance, seen.variance_error).into();
            table.row([probes.into(), name.into(), off, variance, formula.into()]);
        }
        decay.push(exponent(&curve.iter().map(|&[x, y, _]| [x, y]).collect::<Vec<_>>()));
        let formula = [1.0, 16.0].map(|probes| [probes, one / probes]);
        plot.series_with_errors(name, Stroke::Measured, curve);
        plot.series(format!("formula, {name}"), Stroke::Reference, formula);
    }
    demands(findings, rows, [means, variances, decay]);
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(())
}

/// What distances in standard errors, and exponents over the number of probes, have to satisfy.
fn demands(findings: &mut Findings, rows: usize, [means, variances, decay]: [Vec<f64>; 3]) {
    let reason = "ten comparisons, each beyond four standard errors once in 16,000";
    findings.at_most(
        "largest distance of a mean from the trace (s.e.)",
        largest(means),
        4.0,
        reason,
    );
    findings.at_most(
        "largest distance of a variance from the formula (s.e.)",
        largest(variances),
        4.0,
        reason,
    );
    // ln variance is off by sqrt((kurtosis - 1) / rows), at most sqrt(15 / rows); the fit weighs
    // five of them by at most 0.29 / ln 2 in sum of squares.
    let spread = 4.0 * (15.0 / rows as f64).sqrt() / (10.0_f64.sqrt() * 2.0_f64.ln());
    findings.at_most(
        "largest deviation from -1 of the exponent of the variance over the number of probes",
        largest(decay.iter().map(|d| (d + 1.0).abs())),
        spread,
        "the mean of m independent estimates has 1/m of the variance; four standard errors of a slope \
         through five variances, whose excess is at most that of a chi-square",
    );
}

fn density(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(20_000, 200_000);
    let matrix = random_matrix(DIM, DIM, &mut stream(setting.seed, "matrix")) * 0.04;
    let estimate = Hutchinson { probes: 1, distribution: Probe::Gaussian };
    let seen = estimates(&matrix, estimate, (rows, setting.seed))?;
    let ratios: Vec<f64> = seen.iter().map(|s| (matrix.trace() - s).exp()).collect();
    let ratios = Moments::of(&ratios);
    let doubled = DMatrix::identity(DIM, DIM) + &matrix + matrix.transpose();
    let expected = matrix.trace().exp() / doubled.determinant().sqrt();
    findings.demand(
        "mean of estimated over exact density",
        (ratios.mean, Some(ratios.mean_error)),
        Criterion::AtLeast(1.0 + 3.0 * ratios.mean_error),
        "Jensen: the mean of exp is above exp of the mean, here by more than three standard errors",
    );
    findings.at_most(
        "distance of that mean from exp(tr A) det(I + 2 S)^(-1/2) (s.e.)",
        ratios.score(expected),
        3.0,
        "the moment generating function of a quadratic form in normal variables",
    );
    Ok(())
}
