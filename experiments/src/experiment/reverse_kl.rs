//! Flows fitted to densities that are known up to a constant (review, Section 2.3.2).

use std::ops::ControlFlow;

use anyhow::{Context as _, Result, bail};
use flows_bench::targets::KnownTarget;
use flows_claims::{Check, Claim, Setting};
use flows_core::tensor::cast;
use flows_core::train::{Budget, Objective, Progress, StopReason, Trainer};
use flows_core::{Context, Estimator, Flow, Parameters, Role, Tape, Target, reverse_kl, stream};
use flows_report::Estimate;
use flows_report::finding::{
    Cell, Content, Criterion, Findings, Panel, Panels, Plot, Scale, Stroke, Table,
};
use flows_report::grid::IMAGE_CELLS;
use flows_report::grid::centres;

use crate::config::RunConfig;
use crate::evaluate::target::{TargetEvaluation, evaluate};
use crate::preset::Preset;

pub(super) const PART: Claim = Claim {
    id: "reverse-kl",
    title: "Densities without data",
    review: "The reverse divergence fits a flow to a density that can be evaluated up to a constant, \
             by gradients through the flow's own draws (Section 2.3.2).",
    method: "A finite and a continuous flow fitted to the energies of Rezende and Mohamed, those \
             without decay along z1 held to |z1| <= 4, by the reparameterised and by the path \
             gradient, for equal seconds. With the exact log Z, the divergence is known above \
             zero. The spread of either gradient is measured during the same training.",
    check: Check::Run(check),
};

/// The best of either family here.
const FLOWS: [&str; 2] = ["nsf-coupling", "rnode"];

const ESTIMATORS: [(&str, Estimator); 2] =
    [("reparameterised", Estimator::Reparameterised), ("path", Estimator::Path)];

/// Minibatches that the spread of a gradient is estimated from.
const BATCHES: usize = 12;

/// Times during a training that it is measured.
const MOMENTS: f64 = 8.0;

fn check(setting: &Setting) -> Result<Findings> {
    let targets = setting.either(
        vec![KnownTarget::U1],
        vec![KnownTarget::U1, KnownTarget::U2, KnownTarget::U3, KnownTarget::U4],
    );
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Both divergences, importance sampling and training of every fit.",
        &[
            "target",
            "flow",
            "gradient",
            "reverse KL (nats)",
            "forward KL (nats)",
            "effective sample size (%)",
            "log Z",
            "exact log Z",
            "steps",
        ],
    );
    for target in targets {
        let mut page = Page::new(target)?;
        for name in FLOWS {
            for (words, estimator) in ESTIMATORS {
                let preset = Preset::named(Some(name))?;
                let fit = Fit::new(preset, target, estimator, setting)
                    .with_context(|| format!("{name} on {target}, {words}"))?;
                let e = &fit.evaluation;
                let pair = |e: Option<Estimate>| {
                    e.map_or(Cell::from("unknown"), |e| (e.mean, e.standard_error).into())
                };
                let on = e.on_target;
                table.row([
                    target.name().into(),
                    preset.title.into(),
                    words.into(),
                    on.reverse_kl_nats
                        .map_or("unknown".into(), |kl| (kl, on.reverse_kl_standard_error).into()),
                    pair(e.forward_kl),
                    (100.0 * on.effective_sample_size).into(),
                    (on.log_normaliser_nats, on.log_normaliser_standard_error).into(),
                    target.log_normaliser().nats.into(),
                    fit.steps.into(),
                ]);
                demand(&mut findings, &format!("{target}, {name}, {words}"), target, e);
                page.add(&format!("{}, {words}", preset.title), fit)?;
            }
        }
        page.close(&mut findings);
    }
    findings.tables.push(table);
    Ok(findings)
}

/// What holds for any flow, however far it is trained.
fn demand(findings: &mut Findings, name: &str, target: KnownTarget, e: &TargetEvaluation) {
    let on = e.on_target;
    if let (Some(mean), Some(standard_error)) = (on.reverse_kl_nats, on.reverse_kl_standard_error) {
        findings.demand(
            &format!("{name}: reverse KL (nats)"),
            (mean, Some(standard_error)),
            Criterion::AtLeast(-4.0 * standard_error),
            "a divergence is not negative: so far within four standard errors",
        );
    }
    // Weights that a flow never draws are not in its standard error either.
    if let (Some(standard_error), true) =
        (on.log_normaliser_standard_error, on.effective_sample_size > 0.5)
    {
        let apart = (on.log_normaliser_nats - target.log_normaliser().nats).abs() / standard_error;
        findings.at_most(
            &format!(
                "{name}: log Z by importance sampling, distance from the exact (standard errors)"
            ),
            apart,
            4.0,
            "the mean weight is unbiased and, at half the draws effective, nearly normal",
        );
    }
}

/// A trained flow with its course.
struct Fit {
    flow: Flow<f32>,
    evaluation: TargetEvaluation,
    steps: u64,
    /// Seconds and divergence above zero.
    curve: Vec<[f64; 2]>,
    /// Steps and the spread of both gradients.
    spreads: Vec<[f64; 3]>,
}

impl Fit {
    fn new(
        preset: &Preset,
        target: KnownTarget,
        estimator: Estimator,
        setting: &Setting,
    ) -> Result<Self> {
        let mut config = RunConfig::of_target(preset, &target.into());
        config.seed = setting.seed;
        if let Objective::ReverseKl(settings) = &mut config.train.objective {
            settings.estimator = estimator;
        }
        let budget = Budget::Seconds { seconds: setting.either(1.5, 20.0) };
        let flow = config.build::<f32>(target.dim(), 0)?;
        let mut trainer = Trainer::new(flow, config.train.clone(), budget, setting.seed)?;
        let (mut curve, mut spreads, mut due) = (Vec::new(), Vec::new(), 0.0);
        let rows = config.train.batch_rows;
        let report = |trainer: &Trainer<f32>, progress: &Progress| {
            if let Some(nats) = progress.validation_nats {
                curve.push([progress.seconds, nats + target.log_normaliser().nats]);
            }
            if progress.fraction >= due {
                due += 1.0 / MOMENTS;
                let [a, b] = [Estimator::Reparameterised, Estimator::Path]
                    .map(|estimator| spread(trainer.flow(), target, rows, estimator));
                spreads.push([progress.step as f64, a?, b?]);
            }
            Ok(ControlFlow::Continue(()))
        };
        let outcome = trainer.run(&target as &dyn Target, None, report)?;
        if let StopReason::Diverged { reason, .. } = outcome {
            bail!(reason);
        }
        let steps = trainer.steps();
        let mut flow = trainer.into_flow()?;
        let evaluation = evaluate(&mut flow, &config, &target.into())?;
        Ok(Self { flow, evaluation, steps, curve, spreads })
    }
}

/// The trace of the covariance of a minibatch's gradient.
fn spread(
    flow: &Flow<f32>,
    target: KnownTarget,
    rows: usize,
    estimator: Estimator,
) -> flows_core::Result<f64> {
    let mut sums: Vec<[f64; 2]> = Vec::new();
    for index in 0..BATCHES {
        let rng = &mut stream(index as u64, "spread");
        let (none, tape) = (Context::none(), Tape::recording());
        let mut loss = reverse_kl(flow, &target, rows, 1.0, estimator, (&none, tape), rng)?;
        let mut tensors = Vec::new();
        flow.visit(&mut |_, role, tensor| {
            if role == Role::Learned {
                tensors.push(tensor.clone());
            }
        });
        let mut place = 0;
        for tensor in &tensors {
            let slopes = loss.gradient.of(tensor)?;
            sums.resize(sums.len().max(place + slopes.len()), [0.0; 2]);
            for slope in slopes {
                let slope = f64::from(*slope);
                sums[place][0] += slope;
                sums[place][1] += slope * slope;
                place += 1;
            }
        }
    }
    let count = BATCHES as f64;
    Ok(sums.iter().map(|[sum, squares]| (squares - sum * sum / count) / (count - 1.0)).sum())
}

/// The figures of one target.
struct Page {
    target: KnownTarget,
    courses: Plot,
    spreads: Plot,
    panels: Vec<Panel>,
}

impl Page {
    fn new(target: KnownTarget) -> Result<Self> {
        let truth = target.log_densities(&centres(target.window(), IMAGE_CELLS))?;
        let log_z = target.log_normaliser().nats;
        let truth: Vec<f64> = truth.iter().map(|l| l - log_z).collect();
        Ok(Self {
            target,
            courses: Plot::new(
                &format!("{target}: reverse KL during training."),
                Scale::linear("training (seconds)"),
                Scale::log("reverse KL (nats)"),
            ),
            spreads: Plot::new(
                &format!(
                    "{target}: total variance of a minibatch's gradient, at the same weights."
                ),
                Scale::linear("optimiser steps"),
                Scale::log("trace of the covariance"),
            ),
            panels: vec![Panel { title: "target".into(), content: Content::log_density(&truth) }],
        })
    }

    fn add(&mut self, name: &str, fit: Fit) -> Result<()> {
        self.courses.series(name, Stroke::Line, fit.curve.iter().copied());
        // Measured during one training of each flow, by either gradient at the same weights.
        if name.ends_with("reparameterised") {
            let flow = name.trim_end_matches("reparameterised");
            for (index, (words, _)) in ESTIMATORS.iter().enumerate() {
                let points = fit.spreads.iter().map(|row| [row[0], row[index + 1]]);
                self.spreads.series(format!("{flow}{words}"), Stroke::Measured, points);
            }
        }
        let cells = centres(self.target.window(), IMAGE_CELLS);
        let density = fit.flow.evaluate(&cast(&cells), &Context::none())?.0;
        self.panels.push(Panel { title: name.into(), content: Content::log_density(&density) });
        Ok(())
    }

    fn close(self, findings: &mut Findings) {
        findings.plots.push(self.courses);
        findings.plots.push(self.spreads);
        findings.panels.push(Panels {
            title: format!("{}: the target and the fitted densities.", self.target),
            window: self.target.window(),
            axes: ["z1".into(), "z2".into()],
            panels: self.panels,
        });
    }
}
