//! Classifiers on the base variables of flows of digits (review, Section 6.3).

use std::ops::ControlFlow;

use anyhow::{Context as _, Result, bail};
use flows_claims::{Check, Claim, Setting};
use flows_core::Flow;
use flows_core::tensor::cast;
use flows_core::train::{Budget, StopReason, TrainConfig, Trainer, Validation};
use flows_inference::hybrid::{Hybrid, HybridTrainer, HybridTraining};
use flows_report::Estimate;
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};

use super::labelled_digits::LabelledDigits;
use crate::config::RunConfig;
use crate::preset::Preset;
use crate::training::for_reports;

pub(super) const PART: Claim = Claim {
    id: "hybrid",
    title: "Digits: classes and density by one network",
    review: "A flow's base variables can feed a classifier that shares its weights, trained for both by \
             log p(y | x) + weight log p(x) (Section 6.3).",
    method: "A linear classifier on z of a finite and of a continuous flow, on 1,797 digits of 8 x 8 pixels, \
             dequantised, a fifth of them held out. The weight is divided by the 64 pixels. All train for the \
             same seconds; the weights that validate best by the objective are kept.",
    check: Check::Run(check),
};

const FLOWS: [&str; 2] = ["nsf-coupling", "rnode"];

const DIGITS: usize = 10;

fn check(setting: &Setting) -> Result<Findings> {
    let digits = LabelledDigits::new(setting.seed)?;
    let weights = setting.either(vec![0.0, 1.0], vec![0.0, 0.01, 0.1, 1.0, 10.0]);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Accuracy and negative log-likelihood of held-out digits by weight of log p(x).",
        &[
            "flow",
            "family",
            "weight",
            "accuracy (%)",
            "-log p(x) (nats a digit)",
            "bits a pixel",
            "mean confidence",
            "steps",
        ],
    );
    let mut plot = Plot::new(
        "Accuracy against negative log-likelihood of held-out digits as the weight of log p(x) changes.",
        Scale::linear("-log p(x) (nats a digit)"),
        Scale::linear("accuracy (%)"),
    );
    for name in FLOWS {
        let preset = Preset::named(Some(name))?;
        let task = Task { preset, digits: &digits, setting };
        let mut results = Vec::new();
        for &weight in &weights {
            let result = task.hybrid(weight).with_context(|| format!("{name}, weight {weight}"))?;
            table.row(result.cells(preset, &weight.to_string(), &digits));
            results.push(result);
        }
        let alone = task.density().with_context(|| format!("{name}, density alone"))?;
        table.row(alone.cells(preset, "density alone", &digits));
        let point = |result: &Judged| Some([result.nll().mean, 100.0 * result.accuracy()?.mean]);
        plot.series(preset.title, Stroke::Measured, results.iter().filter_map(point));
        demand(name, &weights, &results, &alone, &mut findings);
    }
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

/// What holds for any flow that learns.
fn demand(
    name: &str,
    weights: &[f64],
    results: &[Judged],
    alone: &Judged,
    findings: &mut Findings,
) {
    let of = |wanted: f64| {
        weights.iter().zip(results).find(|(weight, _)| **weight == wanted).map(|(_, result)| result)
    };
    let (Some(classes), Some(both)) = (of(0.0), of(1.0)) else { return };
    for (weight, result) in [(0, classes), (1, both)] {
        let Some(accuracy) = result.accuracy() else { continue };
        findings.demand(
            &format!("{name}: accuracy at weight {weight}"),
            (accuracy.mean, accuracy.known_error()),
            Criterion::AtLeast(0.5),
            "more than half of the digits, of which a guess finds a tenth",
        );
    }
    let gained = Estimate::of(classes.nll.iter().zip(&both.nll).map(|(zero, one)| zero - one));
    findings.demand(
        &format!("{name}: log p(x) gained by weight 1 over weight 0 (nats a digit)"),
        (gained.mean, gained.known_error()),
        Criterion::AtLeast(4.0 * gained.standard_error),
        "a density is what weight 0 does not ask for; four standard errors over the same digits",
    );
    let lost = Estimate::of(both.nll.iter().zip(&alone.nll).map(|(one, alone)| one - alone));
    findings.observed(
        &format!("{name}: log p(x) lost by weight 1 to the density alone (nats a digit)"),
        lost.mean,
        lost.known_error(),
    );
}

/// A flow on the digits.
struct Task<'a> {
    preset: &'a Preset,
    digits: &'a LabelledDigits,
    setting: &'a Setting<'a>,
}

/// A trained model on the held-out digits.
struct Judged {
    /// Whether each is found, 1 or 0; empty without a classifier.
    hits: Vec<f64>,
    confidence: Vec<f64>,
    /// -log p(x) in units of levels, nats.
    nll: Vec<f64>,
    steps: u64,
}

impl Task<'_> {
    fn flow(&self) -> Result<Flow<f32>> {
        let config = RunConfig { seed: self.setting.seed, ..RunConfig::of(self.preset) };
        config.build(self.digits.data.dim(), 0)
    }

    /// As the preset is trained on tables. Averaged weights are for maximum likelihood alone, so no flow here
    /// has them.
    fn train(&self) -> (TrainConfig, Budget) {
        let train = TrainConfig {
            batch_rows: 256,
            ema: None,
            objective: Default::default(),
            ..RunConfig::of(self.preset).train
        };
        let seconds = self.setting.seconds.unwrap_or(self.setting.either(1.5, 20.0));
        (train, Budget::Seconds { seconds })
    }

    fn hybrid(&self, weight: f64) -> Result<Judged> {
        let Self { digits: LabelledDigits { data, .. }, setting, .. } = self;
        let (train, budget) = self.train();
        let settings = HybridTraining { train, budget, weight };
        let mut trainer =
            HybridTrainer::new(Hybrid::new(self.flow()?, DIGITS)?, settings, setting.seed)?;
        let (values, context) = (cast(data.validation.values()), data.validation.context()?);
        let validation = Validation { values, context };
        let source = data.source()?;
        let stopped =
            trainer.run(&*source, Some(&validation), |_, _| Ok(ControlFlow::Continue(())))?;
        if let StopReason::Diverged { reason, .. } = stopped {
            bail!(reason);
        }
        let steps = trainer.steps();
        let found = trainer.into_model()?.evaluate(&cast(data.test.values()))?;
        let classes = data.test.context_values().iter().map(|&class| class as usize);
        let hits = found.predictions().into_iter().zip(classes);
        Ok(Judged {
            hits: hits.map(|(found, class)| f64::from(u8::from(found == class))).collect(),
            confidence: found.confidence(),
            nll: self.in_levels(&found.log_prob),
            steps,
        })
    }

    /// The same flow without a classifier, by maximum likelihood.
    fn density(&self) -> Result<Judged> {
        let Self { digits, setting, .. } = self;
        let (train, budget) = self.train();
        let mut trainer = Trainer::new(self.flow()?, train, budget, setting.seed)?;
        let source = digits.unlabelled()?;
        let values = cast(digits.data.validation.values());
        let validation = Validation { values, context: flows_core::Context::none() };
        let stopped =
            trainer.run(&source, Some(&validation), |_, _| Ok(ControlFlow::Continue(())))?;
        let steps = trainer.steps();
        let flow = for_reports(trainer, stopped)?;
        let test = cast(digits.data.test.values());
        let log_prob = flow.evaluate(&test, &flows_core::Context::none())?.0;
        let (hits, confidence) = (Vec::new(), Vec::new());
        Ok(Judged { hits, confidence, nll: self.in_levels(&log_prob), steps })
    }

    fn in_levels(&self, log_prob: &[f64]) -> Vec<f64> {
        let log_det = &self.digits.data.test_log_det;
        log_prob.iter().zip(log_det).map(|(log_prob, log_det)| -log_prob - log_det).collect()
    }
}

impl Judged {
    fn nll(&self) -> Estimate {
        Estimate::of(self.nll.iter().copied())
    }

    fn accuracy(&self) -> Option<Estimate> {
        (!self.hits.is_empty()).then(|| Estimate::of(self.hits.iter().copied()))
    }

    fn cells(&self, preset: &Preset, weight: &str, digits: &LabelledDigits) -> [Cell; 8] {
        let nll = self.nll();
        let pair = |e: Estimate, unit: f64| (unit * e.mean, unit * e.standard_error).into();
        let accuracy = self.accuracy().map_or("".into(), |accuracy| pair(accuracy, 100.0));
        let confidence = match &self.confidence[..] {
            [] => "".into(),
            all => pair(Estimate::of(all.iter().copied()), 1.0),
        };
        let bits = digits.data.record.bits_per_dimension(nll.mean);
        [
            preset.title.into(),
            preset.family.to_string().into(),
            weight.into(),
            accuracy,
            pair(nll, 1.0),
            bits.map_or("".into(), Cell::from),
            confidence,
            self.steps.into(),
        ]
    }
}
