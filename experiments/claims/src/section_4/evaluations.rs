//! C35: how many evaluations of the field a continuous flow takes (review, Section 4).

use anyhow::Result;
use flows_bench::toys::Toy;
use flows_continuous::{Adaptive, ContinuousFlow, Keep, Method, Penalties, Solver};
use flows_core::matching::FlowMatching;
use flows_core::{Architecture, Base, Context, Flow, Stream, normals, stream};
use flows_report::finding::{Criterion, Findings, Plot, Scale, Stroke, Table};

use crate::helper::small_field::small_field;
use crate::helper::statistics::exponent;
use crate::helper::training::{Aim, Learner, divergence};
use crate::{Check, Claim, Setting};

pub(crate) const C35: Claim = Claim {
    id: "C35",
    title: "Number of evaluations",
    review: "The cost of a continuous flow is the number of evaluations its solver takes, which can be \
             traded for accuracy; it depends on the field and not on the number of dimensions as such, \
             grows in training, and is reduced by regularisation (Section 4).",
    method: "Evaluations of Dopri5 at tolerance 1e-5 for a density pass over 512 rows: for the linear \
             field of an isotropic normal and for fields trained on one, by dimension; on eight \
             Gaussians along two trainings of the same number of steps, with and without penalties on \
             kinetic energy and Jacobian, and what the penalties cost in nats.",
    check: Check::Run(check),
};

/// Accuracy at which evaluations are counted.
const TOLERANCE: f64 = 1e-5;

/// Deviation of the isotropic normal.
const DEVIATION: f64 = 0.3;

/// Rows of a counted pass.
const ROWS: usize = 512;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    by_dimension(setting, &mut findings)?;
    in_training(setting, &mut findings)?;
    Ok(findings)
}

/// A field of width 32, trained with eight RK4 steps.
fn flow(dim: usize, penalties: Penalties, seed: u64) -> Result<Flow<f32>> {
    let reporting = Solver::Dopri5(Adaptive::new(TOLERANCE, TOLERANCE));
    let config = ContinuousFlow { penalties, ..small_field(32, reporting) };
    let bijector = config.build(dim, 0, &mut stream(seed, "init"))?;
    Ok(Flow::new(Base::standard_normal(dim), Box::new(bijector))?)
}

/// Evaluations of one density pass.
fn evaluations(flow: &Flow<f32>, rows: &[f64]) -> Result<f64> {
    let (_, work) = flow.evaluate(&flows_core::tensor::cast(rows), &Context::none())?;
    Ok(work.field_evaluations as f64)
}

fn by_dimension(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (mut exact, mut trained) = (Vec::new(), Vec::new());
    for dim in setting.either(vec![2, 8, 32], vec![2, 4, 8, 16, 32, 64]) {
        exact.push([dim as f64, linear(dim, setting.seed)?]);
        trained.push([dim as f64, learned(dim, setting)?]);
    }
    let counts = || exact.iter().map(|p| p[1]);
    findings.at_most(
        "linear field: largest less least number of evaluations over dimensions",
        counts().fold(0.0, f64::max) - counts().fold(f64::INFINITY, f64::min),
        0.0,
        "equal coordinates: the solver's error is a root mean square over them, the same for any \
         number",
    );
    findings.between(
        "trained fields: slope of evaluations over dimensions, logarithmic",
        exponent(&trained),
        [-0.25, 0.25],
        "0 where they do not depend on it; steps are whole, one more or less of some four changes \
         counts by a quarter, and dimensions range over a factor of 16 at least",
    );
    let mut plot = Plot::new(
        "Evaluations of a density pass for an isotropic normal of deviation 0.3.",
        Scale::log("dimensions"),
        Scale::log("evaluations"),
    );
    plot.series("linear field", Stroke::Measured, exact);
    plot.series("trained field", Stroke::Measured, trained);
    findings.plots.push(plot);
    Ok(())
}

/// Evaluations for z' = ln(deviation) z from equal coordinates.
fn linear(dim: usize, seed: u64) -> Result<f64> {
    let start: Vec<f64> = normals(1, &mut stream(seed, "state"));
    let solver = Adaptive::new(TOLERANCE, TOLERANCE);
    let field = |_: f64, state: &[f64], velocity: &mut [f64]| {
        let each = velocity.iter_mut().zip(state);
        each.for_each(|(velocity, state)| *velocity = DEVIATION.ln() * state);
        Ok(())
    };
    let solved = solver.solve(Method::Dopri5, Keep::Last, [0.0, 1.0], start.repeat(dim), field)?;
    Ok(solved.evaluations as f64)
}

/// Evaluations of a field that was trained on a normal.
fn learned(dim: usize, setting: &Setting) -> Result<f64> {
    let steps = setting.either(60, 400);
    let flow = flow(dim, Penalties::default(), setting.seed)?;
    let mut learner = Learner::new(flow, 1e-2, steps, setting.seed);
    let draw = |rows: usize, rng: &mut Stream| -> Vec<f64> {
        normals::<f64>(rows * dim, rng).iter().map(|n| DEVIATION * n).collect()
    };
    learner.learn(steps, Aim::Matching(FlowMatching::default()), draw)?;
    evaluations(learner.flow()?, &draw(ROWS, &mut stream(setting.seed, "counted")))
}

fn in_training(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let mut plot = Plot::new(
        "Eight Gaussians: evaluations of a density pass along training.",
        Scale::linear("steps"),
        Scale::linear("evaluations"),
    );
    let mut table = Table::new(
        "After training.",
        &["penalties", "evaluations at first", "evaluations", "divergence from the target (nats)"],
    );
    let mut ends = Vec::new();
    for (name, weight) in [("none", 0.0), ("0.05 on both", 0.05)] {
        let Course { curve, divergence } = along(weight, setting)?;
        let (first, last) = (curve[0][1], curve[curve.len() - 1][1]);
        table.row([name.into(), first.into(), last.into(), divergence.into()]);
        plot.series(format!("penalties: {name}"), Stroke::Measured, curve);
        ends.push([first, last]);
    }
    findings.at_least(
        "without penalties: evaluations after training over those before",
        ends[0][1] / ends[0][0],
        1.0,
        "the claim: they grow",
    );
    // A quick training is too short for penalties to show.
    findings.demand(
        "evaluations after training with penalties over those without",
        (ends[1][1] / ends[0][1], None),
        setting.either(Criterion::Observed, Criterion::AtMost(1.0)),
        "the claim: penalties reduce them",
    );
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(())
}

/// A training: steps and evaluations, and the divergence at its end with its standard error.
struct Course {
    curve: Vec<[f64; 2]>,
    divergence: (f64, f64),
}

/// Evaluations along a training with penalties of this weight, and the divergence at its end.
fn along(weight: f64, setting: &Setting) -> Result<Course> {
    let (toy, steps) = (Toy::EightGaussians, setting.either(100, 1000));
    let rows = toy.sample(ROWS, &mut stream(setting.seed, "counted"));
    let penalties = Penalties { kinetic: weight, frobenius: weight, ..Penalties::default() };
    let flow = flow(2, penalties, setting.seed)?;
    let mut learner = Learner::new(flow, 1e-2, steps, setting.seed);
    let mut curve = vec![[0.0, evaluations(learner.flow()?, &rows)?]];
    for _ in 0..10 {
        learner.learn(steps / 10, Aim::Likelihood, |rows, rng| toy.sample(rows, rng))?;
        curve.push([learner.steps as f64, evaluations(learner.flow()?, &rows)?]);
    }
    let test = toy.sample(4096, &mut stream(setting.seed, "test"));
    Ok(Course { curve, divergence: divergence(learner.flow()?, toy, &test)?.0 })
}
