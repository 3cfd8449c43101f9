//! Inputs that are no digits, told by the log-likelihood of flows of digits and by its typicality
//! (review, Section 6.1).

use std::ops::ControlFlow;

use anyhow::{Context as _, Result};
use flows_bench::metrics::auroc;
use flows_bench::table::Dequantisation;
use flows_claims::{Check, Claim, Setting};
use flows_core::tensor::cast;
use flows_core::train::{Budget, Trainer, Validation};
use flows_core::{Context, Flow, stream};
use flows_report::Estimate;
use flows_report::finding::{Criterion, Findings, Plot, Scale, Stroke, Table};

use super::foreign_images::Foreign;
use super::labelled_digits::LabelledDigits;
use crate::config::RunConfig;
use crate::preset::Preset;
use crate::training::for_reports;

pub(super) const PART: Claim = Claim {
    id: "out-of-distribution",
    title: "Digits and what is none",
    review: "A density finds anomalies as what is unlikely (Section 6.1), with a warning: flows of images can \
             give inputs of another kind a higher likelihood than the data (Nalisnick et al. 2019).",
    method: "Flows trained on digits of 8 x 8 pixels, dequantised, score held-out digits and images of five other \
             kinds, with noise of one level as for the digits. AUROC is the probability that a held-out \
             digit scores higher than a foreign image, by log p(x) and by typicality, minus the distance of \
             log p(x) from its mean over the training digits: 1/2 for a guess, less where the foreign is preferred.",
    check: Check::Run(check),
};

/// The best table flow, one of images, and a continuous one.
const FLOWS: [&str; 3] = ["nsf-coupling", "rnode", "glow-image"];

/// Bins of a histogram.
const BINS: usize = 60;

/// Standard deviations of held-out digits below their mean at which histograms end.
const SHOWN: f64 = 12.0;

fn check(setting: &Setting) -> Result<Findings> {
    let digits = LabelledDigits::new(setting.seed)?;
    let images = Images::new(&digits, setting.seed)?;
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Foreign images against held-out digits. Independent normals, one a pixel, for comparison.",
        &[
            "density",
            "family",
            "images",
            "mean log p(x) (nats)",
            "AUROC by log p(x)",
            "AUROC by typicality",
        ],
    );
    let normal = |values: &[f64]| -> Result<Vec<f64>> { Ok(standard_normal(values, images.dim)) };
    let normals = Scores::new(&normal, &images)?;
    normals.rows(["independent normals", ""], &mut table);
    findings.remark(normals.sentence("The product of independent normals"));
    let flows = &FLOWS[..setting.either(2, 3)];
    for name in flows {
        let preset = Preset::named(Some(name))?;
        let flow = trained(preset, &digits, setting).with_context(|| (*name).to_owned())?;
        let density = |values: &[f64]| Ok(flow.evaluate(&cast(values), &Context::none())?.0);
        let scores = Scores::new(&density, &images)?;
        scores.rows([preset.title, &preset.family.to_string()], &mut table);
        let gain = scores.test.iter().zip(&normals.test).map(|(flow, normal)| flow - normal);
        let gain = Estimate::of(gain.collect::<Vec<_>>().into_iter());
        findings.demand(
            &format!("{name}: log p(x) of held-out digits above independent normals (nats)"),
            (gain.mean, gain.known_error()),
            Criterion::AtLeast(4.0 * gain.standard_error),
            "a flow that is no better than one normal a pixel says nothing of digits; four standard errors",
        );
        findings.remark(scores.sentence(preset.title));
        findings.plots.push(scores.histograms(preset.title));
    }
    findings.tables.push(table);
    Ok(findings)
}

/// The flow of a preset, trained on digits for the same time as any other.
fn trained(preset: &Preset, digits: &LabelledDigits, setting: &Setting) -> Result<Flow<f32>> {
    let config = RunConfig { seed: setting.seed, ..RunConfig::of(preset) };
    let seconds = setting.seconds.unwrap_or(setting.either(2.0, 40.0));
    let flow = config.build(digits.data.dim(), 0)?;
    let mut trainer = Trainer::new(flow, config.train, Budget::Seconds { seconds }, setting.seed)?;
    let values = cast(digits.data.validation.values());
    let validation = Validation { values, context: Context::none() };
    let source = digits.unlabelled()?;
    let stopped = trainer.run(&source, Some(&validation), |_, _| Ok(ControlFlow::Continue(())))?;
    for_reports(trainer, stopped)
}

/// Digits and foreign images in the units of a flow.
struct Images {
    dim: usize,
    training: Vec<f64>,
    test: Vec<f64>,
    foreign: Vec<(Foreign, Vec<f64>)>,
    /// What a log-density in units of levels has more, nats.
    log_det: f64,
}

impl Images {
    fn new(digits: &LabelledDigits, seed: u64) -> Result<Self> {
        let (data, dim) = (&digits.data, digits.data.dim());
        let in_units = |mut levels: Vec<f64>, name: &str| -> Result<Vec<f64>> {
            let noise: &Dequantisation = &data.record.dequantisation;
            noise.add(&mut levels, dim, &mut stream(seed, &format!("noise {name}")));
            data.record.units.apply(&mut levels)?;
            Ok(levels)
        };
        let foreign = |kind: Foreign| {
            let rng = &mut stream(seed, kind.name());
            let levels = kind.images(&digits.test_levels, rng);
            Ok((kind, in_units(levels, kind.name())?))
        };
        Ok(Self {
            dim,
            training: in_units(data.training_in_own_units()?, "training")?,
            test: in_units(digits.test_levels.clone(), "test")?,
            foreign: Foreign::ALL.into_iter().map(foreign).collect::<Result<_>>()?,
            log_det: data.log_det,
        })
    }
}

/// Log-densities of rows of features in the units of a flow.
type LogDensity<'a> = &'a dyn Fn(&[f64]) -> Result<Vec<f64>>;

/// log p(x) of the standard normal: in standardised units the best of all normals whose pixels are
/// independent.
fn standard_normal(values: &[f64], dim: usize) -> Vec<f64> {
    let constant = dim as f64 * std::f64::consts::TAU.ln();
    let log_p = |x: &[f64]| -0.5 * (x.iter().map(|v| v * v).sum::<f64>() + constant);
    values.chunks(dim).map(log_p).collect()
}

/// log p(x) in units of levels, nats.
struct Scores {
    training: Vec<f64>,
    test: Vec<f64>,
    foreign: Vec<(Foreign, Vec<f64>)>,
}

/// How held-out digits are told from foreign images.
struct Told {
    likelihood: (f64, f64),
    typicality: (f64, f64),
}

impl Scores {
    fn new(density: LogDensity<'_>, images: &Images) -> Result<Self> {
        let score = |values: &[f64]| -> Result<Vec<f64>> {
            Ok(density(values)?.into_iter().map(|log_p| log_p + images.log_det).collect())
        };
        let foreign = images.foreign.iter();
        Ok(Self {
            training: score(&images.training)?,
            test: score(&images.test)?,
            foreign: foreign.map(|(kind, x)| Ok((*kind, score(x)?))).collect::<Result<_>>()?,
        })
    }

    fn told(&self, foreign: &[f64]) -> Told {
        let centre = mean(&self.training).mean;
        let typical = |log_p: &[f64]| -> Vec<f64> {
            log_p.iter().map(|log_p| -(log_p - centre).abs()).collect()
        };
        Told {
            likelihood: auroc(&self.test, foreign),
            typicality: auroc(&typical(&self.test), &typical(foreign)),
        }
    }

    fn rows(&self, [title, family]: [&str; 2], table: &mut Table) {
        for (name, log_p) in [("training digits", &self.training), ("held-out digits", &self.test)]
        {
            let nats = mean(log_p);
            table.row([
                title.into(),
                family.into(),
                name.into(),
                (nats.mean, nats.standard_error).into(),
                "".into(),
                "".into(),
            ]);
        }
        for (kind, log_p) in &self.foreign {
            let (nats, told) = (mean(log_p), self.told(log_p));
            table.row([
                title.into(),
                family.into(),
                kind.name().into(),
                (nats.mean, nats.standard_error).into(),
                told.likelihood.into(),
                told.typicality.into(),
            ]);
        }
    }

    /// What is taken for digits, by either score.
    fn sentence(&self, title: &str) -> String {
        let missed = |area: fn(&Told) -> f64| {
            let kinds = self.foreign.iter().filter(|(_, log_p)| area(&self.told(log_p)) < 0.5);
            let names: Vec<&str> = kinds.map(|(kind, _)| kind.name()).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        format!(
            "{title} prefers to held-out digits, with an AUROC below 1/2: by log p(x) {}; by typicality {}.",
            missed(|told| told.likelihood.0),
            missed(|told| told.typicality.0)
        )
    }

    fn histograms(&self, title: &str) -> Plot {
        let (centre, all) = (mean(&self.test), self.foreign.iter().flat_map(|(_, log_p)| log_p));
        let deviation = centre.standard_error * (self.test.len() as f64).sqrt();
        let low = centre.mean - SHOWN * deviation;
        let high = all.chain(&self.test).chain(&self.training).copied().fold(low, f64::max);
        let width = (high - low) / BINS as f64;
        let mut plot = Plot::new(
            &format!(
                "{title}: histograms of log p(x); what is below the left end is in the bin there."
            ),
            Scale::linear("log p(x) (nats)"),
            Scale::linear("share of the images"),
        );
        let mut add = |name: &str, log_p: &[f64]| {
            let mut counts = [0.0; BINS];
            for value in log_p {
                // A cast of a negative number is 0: the bin of what lies below.
                counts[(((value - low) / width) as usize).min(BINS - 1)] += 1.0;
            }
            let share = |(bin, count): (usize, &f64)| {
                [low + width * (bin as f64 + 0.5), count / log_p.len() as f64]
            };
            plot.series(name, Stroke::Line, counts.iter().enumerate().map(share));
        };
        add("training digits", &self.training);
        add("held-out digits", &self.test);
        for (kind, log_p) in &self.foreign {
            add(kind.name(), log_p);
        }
        plot
    }
}

fn mean(values: &[f64]) -> Estimate {
    Estimate::of(values.iter().copied())
}
