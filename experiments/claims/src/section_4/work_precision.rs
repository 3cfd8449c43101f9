//! What each solver's accuracy costs (review, Section 4).

use std::num::NonZeroUsize;

use anyhow::Result;
use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, EqualSteps, MlpField, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{Batch, Bijector, Context, LastLayer, Network, Tape, Values, normals, stream};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::statistics::distance;
use crate::{Check, Claim, Setting};

/// The part of the experiment `solvers`.
pub const PART: Claim = Claim {
    id: "solvers",
    title: "Error of the log-density against evaluations",
    review: "The solver's accuracy can be chosen when a flow is used, not only when it is trained, at \
             the price of evaluations (Section 4).",
    method: "Log-determinants of a flow with random weights by every solver, with 4 to 64 equal steps \
             or tolerances 1e-2 to 1e-9, against Dormand-Prince 8 at 1e-13: the largest error over rows, \
             and evaluations of the field counted. Solvers that choose steps for the batch and row by \
             row are counted as they work: a batch pays for its hardest row.",
    check: Check::Run(check),
};

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(128, 512);
    let kernel = MlpField::new(2, 0, &[32, 32], Activation::Tanh, TimeInput::Concat)?;
    let field = Network::new(kernel, LastLayer::Random, &mut stream(setting.seed, "weights"))?;
    let z = batch(normals(2 * rows, &mut stream(setting.seed, "rows")), rows, 2)?;
    let exact = log_dets(&field, Solver::Dop853(Adaptive::new(1e-13, 1e-13)), &z)?.0;
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Every solver and setting.",
        &["solver", "steps or tolerance", "evaluations", "largest error (nats)"],
    );
    let mut plot = Plot::new(
        "Largest error of a log-density against evaluations of the field, down and left is better.",
        Scale::log("evaluations of the field"),
        Scale::log("largest error (nats)"),
    );
    for (name, order, solvers) in families() {
        let mut points = Vec::new();
        for (setting, solver) in solvers {
            let (values, evaluations) = log_dets(&field, solver, &z)?;
            let error = distance(&values, &exact);
            table.row([name.into(), setting.into(), evaluations.into(), error.into()]);
            points.push([evaluations as f64, error]);
        }
        if let (Some(order), [.., before, last]) = (order, &points[..]) {
            let slope = (before[1] / last[1]).ln() / (last[0] / before[0]).ln();
            findings.between(
                &format!("{name}: order of the error at the most steps"),
                slope,
                [order - 0.25, order + 0.25],
                "the order of the method; a quarter for the next term of the expansion",
            );
        }
        plot.series(name, Stroke::Measured, points);
    }
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

/// Name, order where steps are equal, and settings.
type Family = (&'static str, Option<f64>, Vec<(f64, Solver)>);

fn families() -> Vec<Family> {
    type Equal = fn(EqualSteps) -> Solver;
    type Tolerant = fn(Adaptive) -> Solver;
    let equal: [(&'static str, f64, Equal); 4] = [
        ("Euler", 1.0, Solver::Euler),
        ("midpoint", 2.0, Solver::Midpoint),
        ("Heun", 2.0, Solver::Heun),
        ("RK4", 4.0, Solver::Rk4),
    ];
    let tolerant: [(&'static str, Tolerant); 3] = [
        ("Dormand-Prince 5, the batch together", Solver::Dopri5),
        ("Dormand-Prince 5, row by row", Solver::RowWise),
        ("Dormand-Prince 8, the batch together", Solver::Dop853),
    ];
    let mut all: Vec<Family> = Vec::new();
    for (name, order, solver) in equal {
        let of = |steps: usize| {
            let count = NonZeroUsize::new(steps).unwrap_or(NonZeroUsize::MIN);
            (steps as f64, solver(EqualSteps { steps: count }))
        };
        all.push((name, Some(order), [4, 8, 16, 32, 64].map(of).into()));
    }
    for (name, solver) in tolerant {
        let of = |tolerance: f64| (tolerance, solver(Adaptive::new(tolerance, tolerance)));
        all.push((name, None, [1e-2, 1e-3, 1e-4, 1e-5, 1e-7, 1e-9].map(of).into()));
    }
    all
}

fn log_dets(
    field: &Network<f64, MlpField>,
    solver: Solver,
    z: &Batch<f64>,
) -> Result<(Vec<f64>, u64)> {
    let accuracy = Accuracy { solver, divergence: Divergence::Exact };
    let flow = Continuous::new(field.clone(), [0.0, 1.0], accuracy, accuracy)?;
    let image = flow.forward(z, &Context::none(), &mut Tape::none())?;
    Ok((image.log_det.values(), image.work.field_evaluations))
}
