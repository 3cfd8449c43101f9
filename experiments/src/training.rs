//! Training: a flow fitted in the folder of a run, with checkpoints and a learning curve.

mod density;
mod for_reports;
mod refit;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flows_core::tensor::cast;
use flows_core::train::{Checkpoint, Progress, StopReason, Trainer, TrainingData, Validation};
use flows_core::{Flow, Real};
use flows_report::record::MetricsRow;
use indicatif::ProgressBar;

use crate::Usage;
use crate::config::RunConfig;
use crate::interrupt;
use crate::problem::ProblemData;
use crate::run::{RunFolder, write_csv};

pub use density::on_density;
pub(crate) use for_reports::for_reports;
pub(crate) use refit::refit;

/// Steps between rows of the learning curve.
const LOG_EVERY: u64 = 20;

/// Time between checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// A run that has been trained, as far as it came.
#[derive(Debug)]
pub struct Trained<E: Real> {
    /// The flow with the weights to be used.
    pub flow: Flow<E>,
    /// How training ended.
    pub outcome: StopReason,
    /// Seconds of training.
    pub seconds: f64,
    /// Optimiser steps.
    pub steps: u64,
    /// Network passes and evaluations of vector fields times their rows.
    pub work: u64,
    /// How often the discretisation of an ODE in training was made finer.
    pub refinements: u32,
}

impl<E: Real> Trained<E> {
    /// That the discretisation was made finer, if it was: what a reader of the numbers has to know.
    pub fn warning(&self) -> Option<String> {
        let times = 2u64.pow(self.refinements);
        let fewer = "with fewer, its log-likelihoods came apart from the reported ones";
        let advice = "set flow.training.solver accordingly to have them from the start";
        (self.refinements > 0).then(|| {
            format!(
                "training ended with {times} times the solver's steps, or its tolerance divided \
                     by as much: {fewer}; {advice}"
            )
        })
    }
}

/// Where a training happens and how it is shown.
#[derive(Debug)]
pub struct Place<'a> {
    /// Folder of the run.
    pub folder: &'a RunFolder,
    /// Whether it goes on from the folder's checkpoint.
    pub resume: bool,
    /// Bar of its progress.
    pub bar: &'a ProgressBar,
    /// What the model file says of itself.
    pub metadata: HashMap<String, String>,
}

/// Trains a flow on rows.
///
/// # Errors
/// Of the config, the data or the file system; divergence is a [`StopReason`].
pub fn on_rows<E: Real>(
    config: &RunConfig,
    flow: Flow<E>,
    data: &ProblemData,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let source = data.source::<E>()?;
    let (values, context) = (cast(data.validation.values()), data.validation.context()?);
    let validation = Validation { values, context };
    let units = Units { validation: data.validation_offset, own: -data.log_det };
    train(config, flow, (TrainingData::Rows(&*source), Some(&validation)), units, place)
}

fn train<E: Real>(
    config: &RunConfig,
    flow: Flow<E>,
    (material, validation): (TrainingData<'_, E>, Option<&Validation<E>>),
    units: Units,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let Place { folder, resume, bar, .. } = *place;
    let made = Trainer::new(flow, config.train.clone(), config.budget, config.seed);
    let mut trainer = made.map_err(|error| Usage(format!("train: {error}")))?;
    let mut curve = Curve::new(folder, units);
    let checkpoint = folder.file("checkpoint.safetensors");
    if resume {
        let resumed = trainer.resume(&checkpoint);
        resumed.with_context(|| format!("resuming {}", checkpoint.display()))?;
        curve.resume(trainer.steps())?;
    }
    let outcome = trainer.run(material, validation, |trainer, progress| {
        bar.set_position((progress.fraction * 1000.0) as u64);
        curve.note(progress, bar);
        if curve.is_due() {
            curve.write()?;
            trainer.save(&checkpoint)?;
        }
        Ok(go_on())
    })?;
    curve.write()?;
    // Neither checkpoint nor model is replaced by what diverged.
    if !matches!(outcome, StopReason::Diverged { .. }) {
        trainer.save(&checkpoint)?;
    }
    trained(trainer, outcome, place)
}

/// Whether training goes on, as far as the user has asked for nothing else.
fn go_on() -> ControlFlow<()> {
    if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What is left of a training, with the weights written, unless they diverged.
fn trained<E: Real>(
    trainer: Trainer<E>,
    outcome: StopReason,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let (seconds, steps, work) = (trainer.seconds(), trainer.steps(), trainer.work());
    let refinements = trainer.refinements();
    let flow = trainer.into_flow()?;
    if !matches!(outcome, StopReason::Diverged { .. }) {
        let mut model = Checkpoint::new();
        model.metadata.clone_from(&place.metadata);
        model.add_model("flow", &flow);
        model.write(&place.folder.file("model.safetensors"))?;
    }
    Ok(Trained { flow, outcome, seconds, steps, work, refinements })
}

/// Nats to add to the trainer's losses.
#[derive(Clone, Copy)]
struct Units {
    /// To those of the validation rows, as they are reported.
    validation: f64,
    /// To any, for the data's own units in place of standardised ones.
    own: f64,
}

impl Units {
    /// A row with the loss of its training batch standardised and no other, as rows once were
    /// written, in both units.
    fn both(self, row: MetricsRow) -> MetricsRow {
        MetricsRow {
            train_nats: row.train_nats.map(|nats| nats + self.own),
            train_standardised_nats: row.train_nats,
            validation_standardised_nats: row.validation_nats.map(|nats| nats - self.own),
            ..row
        }
    }
}

/// The learning curve, written before each checkpoint, whose later rows a resumed run drops.
struct Curve<'a> {
    folder: &'a RunFolder,
    units: Units,
    rows: Vec<MetricsRow>,
    saved: Instant,
}

impl<'a> Curve<'a> {
    fn new(folder: &'a RunFolder, units: Units) -> Self {
        Self { folder, units, rows: Vec::new(), saved: Instant::now() }
    }

    /// Takes over the rows up to `steps`.
    fn resume(&mut self, steps: u64) -> Result<()> {
        let path = self.folder.file("metrics.csv");
        let mut reader = csv::Reader::from_path(&path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        for row in reader.deserialize() {
            let mut row: MetricsRow = row.with_context(|| format!("{}", path.display()))?;
            if row.train_standardised_nats.or(row.validation_standardised_nats).is_none() {
                row = self.units.both(row);
            }
            if row.step <= steps {
                self.rows.push(row);
            }
        }
        if steps > 0 && self.rows.is_empty() {
            bail!("{}: expected rows up to step {steps}, got none", path.display());
        }
        Ok(())
    }

    fn note(&mut self, progress: &Progress, bar: &ProgressBar) {
        let row = MetricsRow {
            step: progress.step,
            seconds: progress.seconds,
            train_nats: progress.train_nats,
            matching_loss: progress.matching_loss,
            reverse_nats: progress.reverse_nats,
            discrepancy: progress.discrepancy,
            proposal_loss: progress.step_loss,
            validation_nats: progress.validation_nats,
            learning_rate: Some(progress.learning_rate),
            gradient_norm: Some(progress.gradient_norm),
            evaluations: Some(progress.work.evaluations() as f64),
            ..MetricsRow::default()
        };
        if row.validation_nats.is_some() || row.step.is_multiple_of(LOG_EVERY) || row.step == 1 {
            self.add(row, bar);
        }
    }

    /// Adds a row whose validation is as the trainer has it.
    fn add(&mut self, row: MetricsRow, bar: &ProgressBar) {
        let validation_nats = row.validation_nats.map(|nats| nats + self.units.validation);
        if let Some(nats) = validation_nats {
            bar.set_message(format!("step {}, validation {nats:.4} nats", row.step));
        }
        self.rows.push(self.units.both(MetricsRow { validation_nats, ..row }));
    }

    /// Whether it is time for a checkpoint.
    fn is_due(&self) -> bool {
        self.saved.elapsed() > CHECKPOINT_EVERY
    }

    fn write(&mut self) -> flows_core::Result<()> {
        self.saved = Instant::now();
        write_csv(&self.folder.file("metrics.csv"), &self.rows)
            .map_err(|error| flows_core::Error::Caller(format!("{error:#}")))
    }
}
