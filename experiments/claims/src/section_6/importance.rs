//! C45: a flow as the proposal of importance sampling (review, Section 6.2.1).

use anyhow::Result;
use flows_bench::targets::KnownTarget;
use flows_core::tensor::set_values;
use flows_core::{Architecture, Base, Chain, Flow, Parameters, Target, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::Weighted;
use flows_report::finding::{
    Content, Criterion, Findings, Panel, Panels, Plot, Scale, Stroke, Table,
};
use flows_report::grid::{IMAGE_CELLS, centres};

use crate::helper::known_density::Grid;
use crate::helper::short_training::Course;
use crate::helper::statistics::{Moments, largest, mean};
use crate::{Check, Claim, Setting};

pub(crate) const C45: Claim = Claim {
    id: "C45",
    title: "Importance sampling",
    review: "A flow can be drawn from and has a density, and so is a proposal q for importance \
             sampling, fitted by either divergence from the target; the estimate is unbiased where q \
             covers the target (Section 6.2.1).",
    method: "The ring u1, whose normaliser Z is known, with weights w = p~/q of draws of spline \
             couplings that were trained by maximum likelihood on exact draws, and of the best of all \
             normals. The effective share (E w)^2 / E w^2 of the latter is known by quadrature. log Z \
             with its standard error from many draws, and the mean weight over repetitions of few.",
    check: Check::Run(check),
};

const TARGET: KnownTarget = KnownTarget::U1;

/// Draws of one repetition.
const FEW: [usize; 3] = [10, 40, 160];

/// Repetitions whose effective shares give a standard error.
const PARTS: usize = 20;

fn check(setting: &Setting) -> Result<Findings> {
    let (normal, share_of_normal) = best_normal()?;
    let flow = trained(setting)?;
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Mean weight over repetitions, relative to Z: the estimate of Z is unbiased for any number of \
         draws, its logarithm is not.",
        &["proposal", "draws", "mean weight / Z", "deviation", "mean of log Z less log Z (nats)"],
    );
    let mut plot = Plot::new(
        "Relative standard deviation of the estimated normaliser by number of draws.",
        Scale::log("draws"),
        Scale::log("deviation of the mean weight / Z"),
    );
    let (mut bias, mut shares) = (Vec::new(), Vec::new());
    for (name, proposal) in [("flow", &flow), ("best normal", &normal)] {
        shares.push(of_many(name, proposal, setting, &mut findings)?);
        let mut curve = Vec::new();
        for draws in FEW {
            let ratios = repetitions(name, proposal, draws, setting)?;
            let moments = Moments::of(&ratios);
            let log = mean(&ratios.iter().map(|ratio| ratio.ln()).collect::<Vec<_>>());
            let deviation = moments.variance.sqrt();
            table.row([
                name.into(),
                draws.into(),
                (moments.mean, moments.mean_error).into(),
                deviation.into(),
                log.into(),
            ]);
            curve.push([draws as f64, deviation]);
            bias.push(moments.score(1.0));
            if name == "best normal" {
                let exact = (share_of_normal.recip() - 1.0) / draws as f64;
                bias.push(moments.variance_score(exact));
            }
        }
        plot.series(name, Stroke::Measured, curve);
    }
    let exact = FEW.map(|n| [n as f64, ((share_of_normal.recip() - 1.0) / n as f64).sqrt()]);
    plot.series("best normal, by quadrature", Stroke::Reference, exact);
    demand(&shares, share_of_normal, &bias, &mut findings);
    findings.tables.push(table);
    findings.plots.push(plot);
    findings.panels.push(panels(&flow, &normal)?);
    Ok(findings)
}

fn demand(shares: &[(f64, f64)], share_of_normal: f64, bias: &[f64], findings: &mut Findings) {
    findings.at_most(
        "largest distance of the mean weight from Z, and of its variance under the normal from that by \
         quadrature, over numbers of draws (standard errors)",
        largest(bias.iter().copied()),
        4.0,
        "E w = Z for every number of draws, and Var w = Z^2 (1 / share - 1); four standard errors",
    );
    if let &[(flow, flow_error), (normal, normal_error)] = shares {
        findings.demand(
            "effective share of the normal less its exact one",
            (normal - share_of_normal, Some(normal_error)),
            Criterion::Between(-4.0 * normal_error, 4.0 * normal_error),
            "four standard errors over parts of the draws",
        );
        findings.demand(
            "effective share of the flow",
            (flow, Some(flow_error)),
            Criterion::AtLeast(0.5 * (1.0 + share_of_normal) + 4.0 * flow_error),
            "half of what the best normal, with its exact share, is short of 1, and four standard \
             errors: no normal comes as far, and the flow's splines can bend into the ring",
        );
    }
}

/// log Z from many draws. Returns the effective share with its standard error, over parts of them.
fn of_many(
    name: &str,
    proposal: &Flow<f64>,
    setting: &Setting,
    findings: &mut Findings,
) -> Result<(f64, f64)> {
    let rows = setting.either(20_000, 200_000);
    let rng = &mut stream(setting.seed, &format!("draws of {name}"));
    let mut shares = Vec::new();
    for _ in 0..PARTS {
        shares.push(
            Weighted::draw(proposal, &TARGET, rows / PARTS, rng)?.log_weights.effective_share(),
        );
    }
    let weights = Weighted::draw(proposal, &TARGET, rows, rng)?.log_weights;
    let log_z = weights.log_normaliser();
    // Without a standard error there is no estimate, and NaN satisfies nothing.
    let error = log_z.standard_error.unwrap_or(f64::NAN);
    findings.demand(
        &format!("{name}: estimated log Z less the exact one (nats)"),
        (log_z.nats - TARGET.log_normaliser().nats, log_z.standard_error),
        Criterion::Between(-4.0 * error, 4.0 * error),
        "four standard errors, which weights with a heavy tail do not have",
    );
    findings.observed(
        &format!("{name}: Pareto shape of the largest weights"),
        weights.pareto_k().unwrap_or(f64::NAN),
        None,
    );
    Ok(mean(&shares))
}

/// Mean weights of independent repetitions, relative to Z.
fn repetitions(
    name: &str,
    proposal: &Flow<f64>,
    draws: usize,
    setting: &Setting,
) -> Result<Vec<f64>> {
    let (count, log_z) = (setting.either(500, 4000), TARGET.log_normaliser().nats);
    let rng = &mut stream(setting.seed, &format!("repetitions of {name}, {draws} draws"));
    let weights = Weighted::draw(proposal, &TARGET, draws * count, rng)?.log_weights;
    let mean =
        |part: &[f64]| part.iter().map(|w| (w - log_z).exp()).sum::<f64>() / part.len() as f64;
    Ok(weights.values().chunks(draws).map(mean).collect())
}

/// Spline couplings trained by the forward divergence, which is large where q misses mass of the target:
/// weights keep a light tail. After reverse KL most seeds have a few weights that carry no error.
fn trained(setting: &Setting) -> Result<Flow<f64>> {
    let config = CouplingFlow {
        layers: 4,
        conditioner: Conditioner::perceptron(vec![32, 32]),
        ..CouplingFlow::nsf()
    };
    let bijector = config.build(2, 0, &mut stream(setting.seed, "init"))?;
    let steps = setting.either(1000, 5000);
    let course = Course { steps, learning_rate: 5e-3, seed: setting.seed };
    course.train(Box::new(bijector), |rows, rng| TARGET.sample(rows, rng))
}

/// The normal q with the largest effective share of all, Z^2 / integral of p~^2 / q, and that share.
///
/// The integral is convex in the natural parameters of q, since 1 / q is the exponential of a convex
/// function of them, and the ring does not change by reflection at an axis: at the minimum the mean is 0
/// and the covariance diagonal. There, each variance is that of the density r proportional to
/// p~^2 / q, which halves of a step of its logarithm approach.
fn best_normal() -> Result<(Flow<f64>, f64)> {
    // Nine widths of the ring beyond its radius.
    const WINDOW: [f64; 4] = [-5.6, 5.6, -5.6, 5.6];
    let squared = |scales: [f64; 2]| {
        Grid::plane(WINDOW, 161, move |x| {
            let [a, b] = [x[0] / scales[0], x[1] / scales[1]];
            let log_q =
                -0.5 * (a * a + b * b) - (std::f64::consts::TAU * scales[0] * scales[1]).ln();
            2.0 * TARGET.log_density(&x, &mut [0.0; 2]) - log_q
        })
    };
    let mut scales: [f64; 2] = [2.0, 1.0];
    for _ in 0..60 {
        let grid = squared(scales);
        let total = grid.mean(|_: &[f64; 2]| 1.0);
        for (axis, scale) in scales.iter_mut().enumerate() {
            let variance = grid.mean(|x: &[f64; 2]| x[axis] * x[axis]) / total;
            *scale *= (variance.sqrt() / *scale).sqrt();
        }
    }
    let total = squared(scales).mean(|_: &[f64; 2]| 1.0);
    let mut base = Base::diagonal_normal(2)?;
    base.visit_mut(&mut |name, _, tensor| match name {
        "location" => Ok(()),
        _ => set_values(tensor, &scales.map(f64::ln)),
    })?;
    let share = (2.0 * TARGET.log_normaliser().nats).exp() / total;
    Ok((Flow::new(base, Box::new(Chain::new(2, Vec::new())?))?, share))
}

fn panels(flow: &Flow<f64>, normal: &Flow<f64>) -> Result<Panels> {
    let window = TARGET.window();
    let points = centres(window, IMAGE_CELLS);
    let log_z = TARGET.log_normaliser().nats;
    let truth: Vec<f64> = TARGET.log_densities(&points)?.iter().map(|l| l - log_z).collect();
    let mut panels = vec![Panel { title: "target".into(), content: Content::log_density(&truth) }];
    for (title, proposal) in [("flow", flow), ("best normal", normal)] {
        let density = proposal.evaluate(&points, &flows_core::Context::none())?.0;
        panels.push(Panel { title: title.into(), content: Content::log_density(&density) });
    }
    let title = "The target and both proposals.".into();
    Ok(Panels { title, window, axes: ["x1".into(), "x2".into()], panels })
}
