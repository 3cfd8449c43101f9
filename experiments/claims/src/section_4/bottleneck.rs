//! C38: probes of a narrow layer (review, Section 4).

use anyhow::{Result, ensure};
use flows_continuous::{
    Accuracy, BottleneckConfig, ContinuousFlow, Divergence, FieldConfig, Hutchinson, Probe, Solver,
};
use flows_core::activation::Activation;
use flows_core::tensor::{batch, set_values};
use flows_core::{Architecture, Bijector, Context, Stream, Tape, Values, stream};
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::{equal, random_matrix, row_by_row};
use crate::helper::statistics::{Moments, largest};
use crate::section_3_3::hutchinson::squares;
use crate::{Check, Claim, Setting};

pub(crate) const C38: Claim = Claim {
    id: "C38",
    title: "Bottleneck trick",
    review: "Where the field passes through a narrow layer of H units, J = A B, and tr AB = tr BA lets \
             probes of H dimensions estimate the trace, with less variance (Section 4, after FFJORD).",
    method: "Linear fields A B with random factors, D = 16 and H from 1 to 16: variance of Gaussian \
             estimates in D and in H dimensions over rows, against 2 |S|_F^2 of the symmetric parts of AB \
             and BA; and over many random factors, how the two formulas compare.",
    check: Check::Run(check),
};

const DIM: usize = 16;
const WIDTHS: [usize; 5] = [1, 2, 4, 8, 16];

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    one_draw(setting, &mut findings)?;
    many_draws(setting, &mut findings);
    Ok(findings)
}

/// Factors A, `(DIM, width)`, and B.
fn factors(width: usize, rng: &mut Stream) -> [DMatrix<f64>; 2] {
    [random_matrix(DIM, width, rng), random_matrix(width, DIM, rng)]
}

/// Estimates for one draw of the factors against the formulas.
fn one_draw(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(20_000, 100_000);
    let mut table = Table::new(
        "Variance of one Gaussian probe, for one draw of the factors.",
        &["H", "in D dimensions", "formula", "in H dimensions", "formula"],
    );
    let (mut variances, mut means) = (Vec::new(), Vec::new());
    let rng = &mut stream(setting.seed, "factors");
    for width in WIDTHS {
        let [a, b] = factors(width, rng);
        let estimate = Hutchinson { probes: 1, distribution: Probe::Gaussian };
        let wide = (Divergence::Hutchinson(estimate), &a * &b);
        let narrow = (Divergence::Bottleneck(estimate), &b * &a);
        let mut cells: Vec<Cell> = vec![width.into()];
        for (divergence, product) in [wide, narrow] {
            let seen = Moments::of(&estimates([&a, &b], divergence, (rows, setting.seed))?);
            let formula = 2.0 * squares(&product)[0];
            means.push(seen.score(product.trace()));
            variances.push(seen.variance_score(formula));
            cells.extend([(seen.variance, seen.variance_error).into(), formula.into()]);
        }
        table.rows.push(cells);
    }
    let reason = "ten comparisons, each beyond four standard errors once in 16,000";
    let (mean, variance) = (largest(means), largest(variances));
    findings.at_most("largest distance of a mean from the trace (s.e.)", mean, 4.0, reason);
    findings.at_most(
        "largest distance of a variance from its formula (s.e.)",
        variance,
        4.0,
        reason,
    );
    findings.tables.push(table);
    Ok(())
}

/// How the formulas compare over random factors.
fn many_draws(setting: &Setting, findings: &mut Findings) {
    let mut plot = Plot::new(
        "Mean ratio of the variances in the narrow and in the wide layer over 1000 draws of the factors.",
        Scale::log("width H of the narrow layer"),
        Scale::log("ratio of variances"),
    );
    let rng = &mut stream(setting.seed, "many factors");
    let mut ratios = Vec::new();
    for width in WIDTHS {
        let draws: Vec<f64> = (0..1000).map(|_| ratio(&factors(width, rng))).collect();
        let seen = Moments::of(&draws);
        ratios.push([width as f64, seen.mean, seen.mean_error]);
        let quantity = format!("H = {width}: mean ratio of variances, narrow over wide");
        if width < 8 {
            findings.demand(
                &quantity,
                (seen.mean, Some(seen.mean_error)),
                Criterion::AtMost(1.0 - 3.0 * seen.mean_error),
                "the variances are |M|_F^2 + tr M^2; tr (AB)^2 = tr (BA)^2, and |BA|_F^2 is H / D of \
                 |AB|_F^2 in the mean: less, beyond three standard errors",
            );
        } else {
            findings.observed(&quantity, seen.mean, Some(seen.mean_error));
        }
    }
    // Over standard normal factors |BA|_F^2 is H^2 D in the mean, |AB|_F^2 is D^2 H, and tr (AB)^2,
    // which they share, is H D.
    let formula = WIDTHS.map(|h| [h as f64, (h + 1) as f64 / (DIM + 1) as f64]);
    plot.series_with_errors("mean over factors", Stroke::Measured, ratios);
    plot.series("ratio of the means, (H + 1) / (D + 1)", Stroke::Reference, formula);
    findings.plots.push(plot);
}

/// The variance in H dimensions over that in D.
fn ratio([a, b]: &[DMatrix<f64>; 2]) -> f64 {
    squares(&(b * a))[0] / squares(&(a * b))[0]
}

/// Estimates of the trace of AB, one a row.
fn estimates(
    factors: [&DMatrix<f64>; 2],
    divergence: Divergence,
    (rows, seed): (usize, u64),
) -> Result<Vec<f64>> {
    let narrow = factors[1].nrows();
    let accuracy = Accuracy { solver: Solver::Euler(equal(1)), divergence };
    let field = BottleneckConfig { hidden: Vec::new(), narrow, activation: Activation::Tanh };
    let config = ContinuousFlow {
        field: FieldConfig::Bottleneck(field),
        training: accuracy,
        reporting: accuracy,
        act_norm: false,
        ..ContinuousFlow::default()
    };
    let mut flow = config.build(DIM, 0, &mut stream(0, "overwritten"))?;
    write(&mut flow, factors)?;
    flow.begin_step(&mut stream(seed, "probes"))?;
    let origin = batch(vec![0.0; rows * DIM], rows, DIM)?;
    Ok(flow.forward(&origin, &Context::none(), &mut Tape::none())?.log_det.values())
}

/// A and B as the weights of the upper and the lower part; the time, their last input, does not enter.
fn write(flow: &mut dyn Bijector<f64>, [a, b]: [&DMatrix<f64>; 2]) -> Result<()> {
    let mut written = 0;
    flow.visit_mut(&mut |name, _, tensor| {
        let factor = match (name.ends_with("upper.weight0"), name.ends_with("lower.weight0")) {
            (true, _) => a,
            (_, true) => b,
            _ => return Ok(()),
        };
        written += 1;
        set_values(tensor, &row_by_row(&factor.clone().insert_column(factor.ncols(), 0.0)))
    })?;
    ensure!(written == 2, "factors of a bottleneck field: expected 2 weights, found {written}");
    Ok(())
}
