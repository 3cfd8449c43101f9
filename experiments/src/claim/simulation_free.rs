//! C40: a continuous flow trained without solving it, against maximum likelihood (review, Section 4;
//! the method is later than the review).

use std::num::NonZeroUsize;

use anyhow::Result;
use flows_bench::toys::Toy;
use flows_continuous::{
    Accuracy, Adaptive, ContinuousFlow, Divergence, EqualSteps, FieldConfig, PerceptronField,
    Solver,
};
use flows_core::matching::FlowMatching;
use flows_core::{Base, Context, Flow, stream};

use super::statistic::mean;
use super::training::{Aim, Learner};
use super::{Check, Claim, Setting};
use crate::finding::{Criterion, Findings, Plot, Scale, Stroke, Table};
use crate::problem::cast;

pub(super) const C40: Claim = Claim {
    id: "C40",
    title: "Training without simulation",
    review: "Maximum likelihood solves an ODE in every step (Section 4); flow matching, which is later \
             than the review, regresses the same field on velocities of random paths and solves nothing.",
    method: "The same perceptron field from the same start on two moons, trained both ways: \
             evaluations of the field a step, divergence from the exact density and evaluations of a \
             density pass at tolerance 1e-5, by seconds of training. Matching takes as many steps \
             more as it has fewer evaluations, up to eight times.",
    check: Check::Run(check),
};

/// Equal RK4 steps of a training solve.
const SOLVE: usize = 8;

/// Measurements along a training.
const STOPS: u64 = 10;

fn check(setting: &Setting) -> Result<Findings> {
    let toy = Toy::Moons;
    let test = toy.sample(setting.either(1024, 8192), &mut stream(setting.seed, "test"));
    let truth: Vec<f64> = test.chunks_exact(2).map(|x| toy.log_density([x[0], x[1]])).collect();
    let mut findings = Findings::default();
    let mut table = Table::new(
        "After training.",
        &[
            "aim",
            "steps",
            "seconds",
            "evaluations a step",
            "divergence (nats)",
            "evaluations of a pass",
        ],
    );
    let seconds = || Scale::log("seconds of training");
    let mut learning =
        Plot::new("Divergence from the exact density.", seconds(), Scale::log("divergence (nats)"));
    let mut solving =
        Plot::new("Evaluations of a density pass.", seconds(), Scale::linear("evaluations"));
    let steps = setting.either(50, 500);
    for (name, aim, steps, expected) in [
        ("likelihood", Aim::Likelihood, steps, 4 * SOLVE),
        ("flow matching", Aim::Matching(FlowMatching::default()), 8 * steps, 1),
    ] {
        let mut learner = Learner::new(flow(setting.seed)?, 1e-2, steps, setting.seed);
        let (mut curve, mut counts, mut last) = (Vec::new(), Vec::new(), [0.0; 3]);
        for _ in 0..STOPS {
            learner.learn(steps / STOPS, aim, |rows, rng| toy.sample(rows, rng))?;
            let (log_density, work) = learner.flow().evaluate(&cast(&test), &Context::none())?;
            let gaps: Vec<f64> = truth.iter().zip(&log_density).map(|(p, q)| p - q).collect();
            let (divergence, error) = mean(&gaps);
            let passes = test.len().div_ceil(2 * 4096) as f64;
            last = [divergence, error, work.field_evaluations as f64 / passes];
            curve.push([learner.seconds, divergence, error]);
            counts.push([learner.seconds, last[2]]);
        }
        let a_step = learner.work.field_evaluations as f64 / learner.steps as f64;
        findings.between(
            &format!("{name}: evaluations of the field a step"),
            a_step,
            [expected as f64; 2],
            "four evaluations for each of eight steps of RK4, or the one that is regressed",
        );
        findings.demand(
            &format!("{name}: divergence from the target after training (nats)"),
            (last[0], Some(last[1])),
            Criterion::AtLeast(-3.0 * last[1]),
            "a divergence is not negative; three standard errors",
        );
        let divergence = (last[0], last[1]).into();
        let seconds = learner.seconds.into();
        table.row([
            name.into(),
            learner.steps.into(),
            seconds,
            a_step.into(),
            divergence,
            last[2].into(),
        ]);
        learning.series_with_errors(name, Stroke::Measured, curve);
        solving.series(name, Stroke::Measured, counts);
    }
    findings.tables.push(table);
    findings.plots.extend([learning, solving]);
    Ok(findings)
}

fn flow(seed: u64) -> Result<Flow<f32>> {
    let steps = EqualSteps { steps: NonZeroUsize::MIN.saturating_add(SOLVE - 1) };
    let (hidden, divergence) = (vec![64, 64], Divergence::Exact);
    let config = ContinuousFlow {
        field: FieldConfig::Perceptron(PerceptronField { hidden, ..PerceptronField::default() }),
        training: Accuracy { solver: Solver::Rk4(steps), divergence },
        reporting: Accuracy { solver: Solver::Dopri5(Adaptive::new(1e-5, 1e-5)), divergence },
        ..ContinuousFlow::default()
    };
    let bijector = config.build(2, 0, &mut stream(seed, "init"))?;
    Ok(Flow::new(Base::standard_normal(2), bijector)?)
}
