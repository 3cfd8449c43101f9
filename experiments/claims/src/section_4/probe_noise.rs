//! C34: probe noise is drawn once for a solve (review, Section 4).

use anyhow::Result;
use flows_continuous::{
    Accuracy, Adaptive, Divergence, GradientMethod, Hutchinson, Keep, Method, Solver,
};
use flows_core::tensor::batch;
use flows_core::{Context, Stream, Tape, Values, normals, stream};
use flows_report::finding::{Criterion, Findings, Plot, Scale, Stroke, Table};
use nalgebra::DVector;

use crate::helper::perceptron::{Perceptron, exact};
use crate::helper::statistics::{Moments, exponent};
use crate::{Check, Claim, Setting};

pub(crate) const C34: Claim = Claim {
    id: "C34",
    title: "Noise fixed for a solve",
    review: "A probe that stays the same for the whole solve keeps the ODE deterministic, so that the step \
             control works, and the log-density unbiased, as expectation and integral commute \
             (Section 4).",
    method: "The log-det of one point over many fixed probes against the exact trace, with the library's \
             row-wise solver. Then state and v^T J v v, written out for a tanh field, as one ODE for \
             Dormand-Prince 5, with v fixed, and with new signs at every evaluation: evaluations and \
             rejected steps over the tolerance, means of several solves.",
    check: Check::Run(check),
};

const DIM: usize = 3;

/// Tight enough for the noise to set the step, loose enough for some hundred of them.
const TOLERANCES: [f64; 3] = [1e-3, 3e-4, 1e-4];

fn check(setting: &Setting) -> Result<Findings> {
    let field = Perceptron::random((DIM, 8), [1.5, 1.5], &mut stream(setting.seed, "weights"));
    let mut findings = Findings::default();
    unbiased(&field, setting, &mut findings)?;
    control(&field, setting, &mut findings)?;
    Ok(findings)
}

fn unbiased(field: &Perceptron, setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(5_000, 50_000);
    let solver = Solver::RowWise(Adaptive::new(1e-8, 1e-8));
    let divergence = Divergence::Hutchinson(Hutchinson::default());
    let point = [0.5, -0.3, 0.8];
    let log_dets = |accuracy, rows: usize| -> Result<Vec<f64>> {
        let mut flow = field.continuous(accuracy, 1.0, GradientMethod::default())?;
        flow.begin_step(&mut stream(setting.seed, "probes"))?;
        let z = batch(point.repeat(rows), rows, DIM)?;
        Ok(flow.forward(&z, &Context::none(), &mut Tape::none())?.log_det.values())
    };
    let seen = Moments::of(&log_dets(Accuracy { solver, divergence }, rows)?);
    let off = seen.mean - log_dets(exact(solver), 1)?[0];
    let bound = 3.0 * seen.mean_error + 1e-6;
    findings.demand(
        "fixed probes: mean minus exact log-det (nats)",
        (off, Some(seen.mean_error)),
        Criterion::Between(-bound, bound),
        "unbiased: three standard errors, and a hundred tolerances of 1e-8",
    );
    findings.observed("standard deviation of one fixed probe (nats)", seen.variance.sqrt(), None);
    Ok(())
}

/// What a solve took.
#[derive(Clone, Copy, Default)]
struct Taken {
    evaluations: f64,
    accepted: f64,
    rejected: f64,
}

fn signs(rng: &mut Stream) -> DVector<f64> {
    DVector::from_vec(normals(DIM, rng)).map(f64::signum)
}

/// One solve of state and log-det at this tolerance.
fn solve(field: &Perceptron, fresh: bool, tolerance: f64, rng: &mut Stream) -> Result<Taken> {
    let settings = Adaptive { max_evaluations: 10_000_000, ..Adaptive::new(tolerance, tolerance) };
    let mut start: Vec<f64> = normals(DIM, rng);
    start.push(0.0);
    let mut probe = signs(rng);
    let velocity = |_: f64, y: &[f64], dy: &mut [f64]| {
        if fresh {
            probe = signs(rng);
        }
        let (dz, dl) = dy.split_at_mut(DIM);
        dz.copy_from_slice(field.value(&y[..DIM]).as_slice());
        dl.fill(probe.dot(&(field.jacobian(&y[..DIM]) * &probe)));
        Ok(())
    };
    let times = [0.0, 1.0];
    let solution = settings.solve(Method::Dopri5, Keep::Last, times, start, velocity)?;
    anyhow::ensure!(solution.is_finished(), "a solve stopped early: {}", solution.status);
    Ok(Taken {
        evaluations: solution.evaluations as f64,
        accepted: solution.accepted as f64,
        rejected: solution.rejected as f64,
    })
}

/// What a solve took in the mean over so many.
fn mean(
    field: &Perceptron,
    (fresh, tolerance): (bool, f64),
    solves: u32,
    rng: &mut Stream,
) -> Result<Taken> {
    let mut mean = Taken::default();
    for _ in 0..solves {
        let one = solve(field, fresh, tolerance, rng)?;
        mean.evaluations += one.evaluations / f64::from(solves);
        mean.accepted += one.accepted / f64::from(solves);
        mean.rejected += one.rejected / f64::from(solves);
    }
    Ok(mean)
}

fn control(field: &Perceptron, setting: &Setting, findings: &mut Findings) -> Result<()> {
    let solves = setting.either(20, 100);
    let rng = &mut stream(setting.seed, "solves");
    let mut table = Table::new(
        "One solve in the mean, with the probe fixed and with a new one at every evaluation.",
        &["tolerance", "probe", "evaluations", "steps", "rejected"],
    );
    let mut plot = Plot::new(
        "With new noise at every evaluation the step has to shrink with the tolerance.",
        Scale::log("tolerance"),
        Scale::log("evaluations of a solve"),
    );
    let mut exponents = Vec::new();
    let mut fractions = Vec::new();
    for (name, fresh) in [("fixed", false), ("new", true)] {
        let (mut curve, mut last) = (Vec::new(), Taken::default());
        for tolerance in TOLERANCES {
            let mean = mean(field, (fresh, tolerance), solves, rng)?;
            last = mean;
            curve.push([tolerance, mean.evaluations]);
            let counts = [mean.evaluations, mean.accepted, mean.rejected].map(Into::into);
            let [evaluations, accepted, rejected] = counts;
            table.row([tolerance.into(), name.into(), evaluations, accepted, rejected]);
        }
        exponents.push(exponent(&curve));
        fractions.push(last.rejected / (last.accepted + last.rejected));
        plot.series(format!("{name} probe"), Stroke::Measured, curve);
    }
    demands(findings, &exponents, fractions[1] - fractions[0]);
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(())
}

fn demands(findings: &mut Findings, exponents: &[f64], rejected: f64) {
    findings.between(
        "fixed probe: exponent of the evaluations over the tolerance",
        exponents[0],
        [-0.25, 0.0],
        "a smooth ODE: steps of order 5 shrink like the tolerance to the power 1/5, less while one step \
         does it all",
    );
    findings.between(
        "new probes: exponent of the evaluations over the tolerance",
        exponents[1],
        [-1.3, -0.7],
        "noise does not shrink with the step: the error estimate is h times it, so that h falls with the \
         tolerance itself; not quite while an interval of a few dozen steps has a first and a last one",
    );
    findings.at_least(
        "share of steps rejected at tolerance 1e-4, new probes minus fixed",
        rejected,
        0.09,
        "the controller leaves a margin of 0.9^-5 = 1.7 to the tolerance, which noise of that size \
         exceeds one time in eleven if normal, and more often as the last estimate was a draw, too",
    );
}
