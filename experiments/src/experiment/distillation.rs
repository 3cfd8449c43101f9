//! A flow that is fast in densities distilled into one that is fast in draws (review, Section 6.1).

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context as _, Result};
use flows_claims::{Check, Claim, Setting};
use flows_core::tensor::cast;
use flows_core::train::{Budget, Trainer, TrainingData, Validation};
use flows_core::{Context, Flow, Target, Values, normals, stream};
use flows_inference::{FlowTarget, Weighted};
use flows_report::Estimate;
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};
use nalgebra::{DMatrix, DVector};

use crate::CHUNK;
use crate::config::RunConfig;
use crate::preset::Preset;
use crate::problem::{Problem, ProblemData};
use crate::training::for_reports;

pub(super) const PART: Claim = Claim {
    id: "distillation",
    title: "A masked autoregressive flow as the teacher of an inverse one",
    review: "A masked autoregressive flow has its density in one pass and its draws in as many as there are \
             features; an inverse one the other way about. The second, fitted to the first by the reverse \
             divergence, needs densities of its own draws alone (Sections 3.1.2 and 6.1; van den Oord et al. \
             2018).",
    method: "MAF trained on a table or on a density in the plane, and IAF trained on its density for the same seconds. Both divergences \
             over 10,000 draws, with the exact log Z = 0; both likelihoods of held-out rows; seconds for 10,000 \
             draws. For comparison the normal with the moments of the teacher's draws.",
    check: Check::Run(check),
};

const TEACHER: &str = "maf";
const STUDENT: &str = "iaf";

/// Draws that are timed, and that divergences are means over.
const DRAWS: usize = 10_000;

/// Timings, of which the least disturbed counts.
const TIMES: usize = 3;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Student and teacher.",
        &[
            "table",
            "features",
            "reverse KL (nats)",
            "before training (nats)",
            "reverse KL of the normal (nats)",
            "forward KL (nats)",
            "held-out rows, teacher (nats)",
            "held-out rows, student (nats)",
            "10,000 draws, teacher (s)",
            "10,000 draws, student (s)",
        ],
    );
    let mut plot = Plot::new(
        "Reverse divergence of the student from its teacher during training.",
        Scale::linear("training (seconds)"),
        Scale::log("reverse KL (nats)"),
    );
    for name in setting.either(&["red-wine"][..], &["pinwheel", "red-wine"]) {
        let problem = Problem::named(name)?;
        let data = problem.data(setting.seed)?.context("a table has rows")?;
        let teacher = FlowTarget::new(taught(&data, setting)?)?;
        let (student, curve) =
            distilled(&teacher, setting).with_context(|| problem.name().to_owned())?;
        let pair = Pair { data: &data, teacher, student };
        let found = pair.compare(setting)?;
        table.row([
            problem.title().into(),
            data.dim().into(),
            estimate(found.reverse).into(),
            estimate(found.start).into(),
            estimate(found.normal).into(),
            of_gaps(&found.forward),
            estimate(found.held_out[0]).into(),
            estimate(found.held_out[1]).into(),
            found.seconds[0].into(),
            found.seconds[1].into(),
        ]);
        plot.series(problem.title(), Stroke::Line, curve);
        found.demand(problem.title(), &mut findings);
    }
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

fn estimate(e: Estimate) -> (f64, f64) {
    (e.mean, e.standard_error)
}

/// The mean, or how many have none: so far out that one of the flows has no number for its density.
fn of_gaps(gaps: &[f64]) -> Cell {
    match gaps.iter().filter(|gap| !gap.is_finite()).count() {
        0 => estimate(Estimate::of(gaps.iter().copied())).into(),
        without => format!("not finite for {without} of {} draws", gaps.len()).into(),
    }
}

fn budget(setting: &Setting) -> Budget {
    let seconds = setting.seconds.unwrap_or(setting.either(4.0, 60.0));
    Budget::Seconds { seconds }
}

/// The teacher, trained on rows.
fn taught(data: &ProblemData, setting: &Setting) -> Result<Flow<f32>> {
    let preset = Preset::named(Some(TEACHER))?;
    let config = RunConfig { seed: setting.seed, ..RunConfig::of(preset) };
    let flow = config.build(data.dim(), 0)?;
    let mut trainer = Trainer::new(flow, config.train, budget(setting), setting.seed)?;
    let values = cast(data.validation.values());
    let validation = Validation { values, context: Context::none() };
    let source = data.source()?;
    let stopped = trainer.run(&*source, Some(&validation), |_, _| Ok(ControlFlow::Continue(())))?;
    for_reports(trainer, stopped)
}

/// How the student is built and trained.
fn student(teacher: &FlowTarget<f32>, setting: &Setting) -> Result<RunConfig> {
    let preset = Preset::named(Some(STUDENT))?;
    Ok(RunConfig {
        seed: setting.seed,
        flow: preset.flow_on_target().into(),
        train: preset.train_on_target(teacher.dim()),
        ..RunConfig::of(preset)
    })
}

/// The student, trained on the density of the teacher, with its divergence by seconds.
fn distilled(teacher: &FlowTarget<f32>, setting: &Setting) -> Result<(Flow<f32>, Vec<[f64; 2]>)> {
    let config = student(teacher, setting)?;
    let flow = config.build(teacher.dim(), 0)?;
    let mut trainer = Trainer::new(flow, config.train, budget(setting), setting.seed)?;
    let mut curve = Vec::new();
    let density = TrainingData::Density(teacher);
    let stopped = trainer.run(density, None, |_, progress| {
        curve.extend(progress.validation_nats.map(|nats| [progress.seconds, nats]));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((for_reports(trainer, stopped)?, curve))
}

/// Both flows, and the rows that the teacher was trained on.
struct Pair<'a> {
    data: &'a ProblemData,
    teacher: FlowTarget<f32>,
    student: Flow<f32>,
}

/// What the two came to.
struct Found {
    /// E_q[log q - log p] of the student q and the teacher p.
    reverse: Estimate,
    /// The same of the student before its training.
    start: Estimate,
    /// The same of the normal with the moments of the teacher's draws.
    normal: Estimate,
    /// log p - log q of the teacher's draws.
    forward: Vec<f64>,
    /// Negative log-likelihood of teacher and student in the table's units.
    held_out: [Estimate; 2],
    /// For the draws of teacher and student.
    seconds: [f64; 2],
}

impl Pair<'_> {
    fn compare(&self, setting: &Setting) -> Result<Found> {
        let Self { teacher, student, .. } = self;
        let reverse = |flow: &Flow<f32>| -> Result<Estimate> {
            let rng = &mut stream(setting.seed, "student");
            let weights = Weighted::draw(flow, teacher, DRAWS, rng)?.log_weights;
            let gaps: Vec<f64> = weights.values().iter().map(|weight| -weight).collect();
            Ok(Estimate::of(gaps.into_iter()))
        };
        let start = self::student(teacher, setting)?.build(teacher.dim(), 0)?;
        let drawn = draws(teacher.flow(), setting.seed)?;
        let log_p = teacher.log_densities(&drawn)?;
        let log_q = student.evaluate(&cast(&drawn), &Context::none())?.0;
        let held_out = [teacher.flow(), student].map(|flow| self.held_out(flow));
        let [of_teacher, of_student] = held_out;
        let time = |flow| seconds(flow, setting.seed);
        Ok(Found {
            reverse: reverse(student)?,
            start: reverse(&start)?,
            normal: self.normal(&drawn, setting.seed)?,
            forward: log_p.iter().zip(&log_q).map(|(p, q)| p - q).collect(),
            held_out: [of_teacher?, of_student?],
            seconds: [time(teacher.flow())?, time(student)?],
        })
    }

    fn held_out(&self, flow: &Flow<f32>) -> Result<Estimate> {
        let log_prob = self.data.test.log_prob(flow)?;
        let nll = log_prob.iter().zip(&self.data.test_log_det).map(|(p, log_det)| -p - log_det);
        Ok(Estimate::of(nll))
    }

    /// The reverse divergence of the normal with the mean and the covariance of these draws.
    fn normal(&self, drawn: &[f64], seed: u64) -> Result<Estimate> {
        let dim = self.teacher.dim();
        let rows = DMatrix::from_row_slice(drawn.len() / dim, dim, drawn);
        let mean = rows.row_mean();
        let centred = DMatrix::from_fn(rows.nrows(), dim, |i, j| rows[(i, j)] - mean[j]);
        let covariance = centred.transpose() * &centred / rows.nrows() as f64;
        let factor = covariance.cholesky().context("a covariance that is not positive")?.unpack();
        let log_det: f64 = factor.diagonal().iter().map(|v| v.ln()).sum();
        let constant = 0.5 * dim as f64 * std::f64::consts::TAU.ln() + log_det;
        let noise = normals::<f64>(DRAWS * dim, &mut stream(seed, "normal"));
        let mut points = Vec::with_capacity(noise.len());
        let mut log_q = Vec::with_capacity(DRAWS);
        for noise in noise.chunks(dim) {
            let noise = DVector::from_row_slice(noise);
            log_q.push(-0.5 * noise.norm_squared() - constant);
            points.extend((&factor * noise + mean.transpose()).iter());
        }
        let log_p = self.teacher.log_densities(&points)?;
        Ok(Estimate::of(log_q.iter().zip(&log_p).map(|(q, p)| q - p)))
    }
}

impl Found {
    fn demand(&self, name: &str, findings: &mut Findings) {
        let Estimate { mean, standard_error } = self.reverse;
        findings.demand(
            &format!("{name}: reverse KL of the student from the teacher (nats)"),
            (mean, Some(standard_error)),
            Criterion::Between(-4.0 * standard_error, 0.5 * self.start.mean),
            "no divergence is negative, within four standard errors; and training on the teacher takes off half of \
             what the student began with",
        );
        findings.at_least(
            &format!("{name}: seconds of the teacher for 10,000 draws over those of the student"),
            self.seconds[0] / self.seconds[1],
            1.0,
            "what is distilled for: the teacher's layers take a pass for each feature, the student's one",
        );
    }
}

/// Draws of a flow, row by row.
fn draws(flow: &Flow<f32>, seed: u64) -> Result<Vec<f64>> {
    let (mut rng, mut all) = (stream(seed, "draws"), Vec::new());
    for first in (0..DRAWS).step_by(CHUNK) {
        let (drawn, _) = flow.sample(CHUNK.min(DRAWS - first), &Context::none(), &mut rng)?;
        all.extend(drawn.values().into_iter().map(f64::from));
    }
    Ok(all)
}

/// The least time of a few for all draws.
fn seconds(flow: &Flow<f32>, seed: u64) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..TIMES {
        let clock = Instant::now();
        draws(flow, seed)?;
        least = least.min(clock.elapsed().as_secs_f64());
    }
    Ok(least)
}
