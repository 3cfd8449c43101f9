//! C40: a continuous flow trained without solving it, against maximum likelihood (review, Section 4;
//! the method is later than the review).

use anyhow::Result;
use flows_bench::toys::Toy;
use flows_continuous::{Adaptive, Solver};
use flows_core::matching::FlowMatching;
use flows_core::{Architecture, Base, Flow, stream};
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};

use crate::helper::small_field::{STEPS, small_field};
use crate::helper::training::{Aim, Learner, divergence};
use crate::{Check, Claim, Setting};

pub(crate) const C40: Claim = Claim {
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

/// Measurements along a training.
const STOPS: u64 = 10;

const TOY: Toy = Toy::Moons;

fn check(setting: &Setting) -> Result<Findings> {
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
    let nats = Scale::log("divergence (nats)");
    let mut learning = Plot::new("Divergence from the exact density.", seconds(), nats);
    let count = Scale::linear("evaluations");
    let mut solving = Plot::new("Evaluations of a density pass.", seconds(), count);
    let steps = setting.either(50, 500);
    for (name, aim, steps, expected) in [
        ("likelihood", Aim::Likelihood, steps, 4 * STEPS),
        ("flow matching", Aim::Matching(FlowMatching::default()), 8 * steps, 1),
    ] {
        let course = course(aim, steps, setting)?;
        let [seconds, nats, error, count] = course.stops[course.stops.len() - 1];
        demand(name, course.a_step, expected, (nats, error), &mut findings);
        let [seconds, a_step, count] = [seconds, course.a_step, count].map(Cell::from);
        table.row([name.into(), course.steps.into(), seconds, a_step, (nats, error).into(), count]);
        let stops = || course.stops.iter();
        let curve = stops().map(|&[seconds, nats, error, _]| [seconds, nats, error]);
        learning.series_with_errors(name, Stroke::Measured, curve);
        solving.series(name, Stroke::Measured, stops().map(|stop| [stop[0], stop[3]]));
    }
    findings.tables.push(table);
    findings.plots.extend([learning, solving]);
    Ok(findings)
}

fn demand(
    name: &str,
    a_step: f64,
    expected: usize,
    (nats, error): (f64, f64),
    findings: &mut Findings,
) {
    findings.between(
        &format!("{name}: evaluations of the field a step"),
        a_step,
        [expected as f64; 2],
        "four evaluations for each of eight steps of RK4, or the one that is regressed",
    );
    findings.demand(
        &format!("{name}: divergence from the target after training (nats)"),
        (nats, Some(error)),
        Criterion::AtLeast(-3.0 * error),
        "a divergence is not negative; three standard errors",
    );
}

/// A training with its measurements.
struct Course {
    steps: u64,
    /// Evaluations of the field a step.
    a_step: f64,
    /// Seconds, divergence and its standard error, evaluations of a density pass.
    stops: Vec<[f64; 4]>,
}

fn course(aim: Aim, steps: u64, setting: &Setting) -> Result<Course> {
    let test = TOY.sample(setting.either(1024, 4096), &mut stream(setting.seed, "test"));
    let field = small_field(64, Solver::Dopri5(Adaptive::new(1e-5, 1e-5)));
    let bijector = field.build(2, 0, &mut stream(setting.seed, "init"))?;
    let flow: Flow<f32> = Flow::new(Base::standard_normal(2), Box::new(bijector))?;
    let mut learner = Learner::new(flow, 1e-2, steps, setting.seed);
    let mut stops = Vec::new();
    for _ in 0..STOPS {
        learner.learn(steps / STOPS, aim, |rows, rng| TOY.sample(rows, rng))?;
        let ((nats, error), work) = divergence(learner.flow()?, TOY, &test)?;
        stops.push([learner.seconds, nats, error, work.field_evaluations as f64]);
    }
    let a_step = learner.work.field_evaluations as f64 / learner.steps as f64;
    Ok(Course { steps: learner.steps, a_step, stops })
}
