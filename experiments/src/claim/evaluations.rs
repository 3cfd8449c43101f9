//! C35: how many evaluations of the field a continuous flow takes (review, Section 4).

use std::num::NonZeroUsize;

use anyhow::Result;
use flows_bench::toys::Toy;
use flows_continuous::{
    Accuracy, Adaptive, ContinuousFlow, Divergence, EqualSteps, FieldConfig, Keep, Method,
    Penalties, PerceptronField, Solver,
};
use flows_core::matching::FlowMatching;
use flows_core::{Base, Context, Flow, normals, stream};

use super::statistic::{log_slope, mean};
use super::training::{Aim, Learner};
use super::{Check, Claim, Setting};
use crate::finding::{Findings, Plot, Scale, Stroke, Table};

pub(super) const C35: Claim = Claim {
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
    let steps = EqualSteps { steps: NonZeroUsize::MIN.saturating_add(7) };
    let (hidden, divergence) = (vec![32, 32], Divergence::Exact);
    let config = ContinuousFlow {
        field: FieldConfig::Perceptron(PerceptronField { hidden, ..PerceptronField::default() }),
        training: Accuracy { solver: Solver::Rk4(steps), divergence },
        reporting: Accuracy {
            solver: Solver::Dopri5(Adaptive::new(TOLERANCE, TOLERANCE)),
            divergence,
        },
        penalties,
        ..ContinuousFlow::default()
    };
    let bijector = config.build(dim, 0, &mut stream(seed, "init"))?;
    Ok(Flow::new(Base::standard_normal(dim), bijector)?)
}

/// Evaluations of one density pass.
fn evaluations(flow: &Flow<f32>, rows: &[f64]) -> Result<f64> {
    let (_, work) = flow.evaluate(&crate::problem::cast(rows), &Context::none())?;
    Ok(work.field_evaluations as f64)
}

fn by_dimension(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (deviation, steps) = (0.3_f64, setting.either(60, 400));
    let (mut exact, mut trained) = (Vec::new(), Vec::new());
    for dim in setting.either(vec![2, 8, 32], vec![2, 4, 8, 16, 32, 64]) {
        let row: Vec<f64> = normals(1, &mut stream(setting.seed, "state"));
        let solution = Adaptive::new(TOLERANCE, TOLERANCE).solve(
            Method::Dopri5,
            Keep::Last,
            [0.0, 1.0],
            row.repeat(dim),
            |_, state, velocity| {
                let each = velocity.iter_mut().zip(state);
                each.for_each(|(velocity, state)| *velocity = deviation.ln() * state);
                Ok(())
            },
        )?;
        exact.push([dim as f64, solution.evaluations as f64]);
        let flow = flow(dim, Penalties::default(), setting.seed)?;
        let mut learner = Learner::new(flow, 1e-2, steps, setting.seed);
        let draw = |rows: usize, rng: &mut flows_core::Stream| -> Vec<f64> {
            normals::<f64>(rows * dim, rng).iter().map(|n| deviation * n).collect()
        };
        learner.learn(steps, Aim::Matching(FlowMatching::default()), draw)?;
        let rows = draw(ROWS, &mut stream(setting.seed, "counted"));
        trained.push([dim as f64, evaluations(learner.flow(), &rows)?]);
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
        log_slope(&trained),
        [-0.25, 0.25],
        "0 where they do not depend on it; a step more or less of some ten changes counts by a \
         tenth, and trained fields differ by a factor of less than the fourth root of the \
         dimensions' range",
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

fn in_training(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (toy, steps) = (Toy::EightGaussians, setting.either(100, 1000));
    let rows = toy.sample(ROWS, &mut stream(setting.seed, "counted"));
    let test = toy.sample(4096, &mut stream(setting.seed, "test"));
    let truth: Vec<f64> = test.chunks_exact(2).map(|x| toy.log_density([x[0], x[1]])).collect();
    let mut plot = Plot::new(
        "Eight Gaussians: evaluations of a density pass along training.",
        Scale::linear("steps"),
        Scale::linear("evaluations"),
    );
    let mut table = Table::new(
        "After training.",
        &["penalties", "evaluations at first", "evaluations", "divergence from the target (nats)"],
    );
    let mut last = Vec::new();
    for (name, weight) in [("none", 0.0), ("0.05 on both", 0.05)] {
        let penalties = Penalties { kinetic: weight, frobenius: weight, ..Penalties::default() };
        let flow = flow(2, penalties, setting.seed)?;
        let mut learner = Learner::new(flow, 1e-2, steps, setting.seed);
        let mut curve = vec![[0.0, evaluations(learner.flow(), &rows)?]];
        for _ in 0..10 {
            learner.learn(steps / 10, Aim::Likelihood, |rows, rng| toy.sample(rows, rng))?;
            curve.push([learner.steps as f64, evaluations(learner.flow(), &rows)?]);
        }
        let (first, end) = (curve[0][1], curve[curve.len() - 1][1]);
        let (log_density, _) =
            learner.flow().evaluate(&crate::problem::cast(&test), &Context::none())?;
        let gaps: Vec<f64> = truth.iter().zip(&log_density).map(|(p, q)| p - q).collect();
        table.row([name.into(), first.into(), end.into(), mean(&gaps).into()]);
        plot.series(format!("penalties: {name}"), Stroke::Measured, curve);
        last.push([first, end]);
    }
    findings.at_least(
        "without penalties: evaluations after training over those before",
        last[0][1] / last[0][0],
        1.0,
        "the claim: they grow",
    );
    findings.at_most(
        "evaluations after training with penalties over those without",
        last[1][1] / last[0][1],
        1.0,
        "the claim: penalties reduce them",
    );
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(())
}
