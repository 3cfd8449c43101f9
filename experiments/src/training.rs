//! Training: a flow fitted in the folder of a run, with checkpoints and a learning curve.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flows_core::tensor::cast;
use flows_core::train::{Checkpoint, StopReason, Trainer, TrainingData, Validation};
use flows_core::{Flow, Real};
use flows_report::record::MetricsRow;
use indicatif::ProgressBar;

use crate::Usage;
use crate::config::RunConfig;
use crate::density::Density;
use crate::interrupt;
use crate::problem::ProblemData;
use crate::run::{RunFolder, write_csv};

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

/// Trains a flow on a density, by reverse KL; validations are above the least that it allows, where
/// its normaliser is known.
///
/// # Errors
/// As [`on_rows`].
pub fn on_density<E: Real>(
    config: &RunConfig,
    flow: Flow<E>,
    density: &Density,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let units = Units { validation: density.log_normaliser().unwrap_or(0.0), own: 0.0 };
    train(config, flow, (TrainingData::Density(density.target()), None), units, place)
}

fn train<E: Real>(
    config: &RunConfig,
    flow: Flow<E>,
    (material, validation): (TrainingData<'_, E>, Option<&Validation<E>>),
    units: Units,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let Place { folder, resume, bar, ref metadata } = *place;
    let made = Trainer::new(flow, config.train.clone(), config.budget, config.seed);
    let mut trainer = made.map_err(|error| Usage(format!("train: {error}")))?;
    let mut curve = Curve::new(folder, units);
    if resume {
        let checkpoint = folder.file("checkpoint.safetensors");
        let resumed = trainer.resume(&checkpoint);
        resumed.with_context(|| format!("resuming {}", checkpoint.display()))?;
        curve.resume(trainer.steps())?;
    }
    let outcome = trainer.run(material, validation, |trainer, progress| {
        bar.set_position((progress.fraction * 1000.0) as u64);
        curve
            .note(trainer, progress, bar)
            .map_err(|e| flows_core::Error::Caller(format!("{e:#}")))?;
        let go_on = !interrupt::asked();
        Ok(if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let (seconds, steps, work) = (trainer.seconds(), trainer.steps(), trainer.work());
    let refinements = trainer.refinements();
    if matches!(outcome, StopReason::Diverged { .. }) {
        // Neither checkpoint nor model is replaced by what diverged.
        curve.write()?;
        return Ok(Trained {
            flow: trainer.into_flow()?,
            outcome,
            seconds,
            steps,
            work,
            refinements,
        });
    }
    curve.save(&trainer)?;
    let flow = trainer.into_flow()?;
    let mut model = Checkpoint::new();
    model.metadata.clone_from(metadata);
    model.add_model("flow", &flow);
    model.write(&folder.file("model.safetensors"))?;
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

/// The learning curve, written together with checkpoints so that the two agree.
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

    fn note<E: Real>(
        &mut self,
        trainer: &Trainer<E>,
        progress: &flows_core::train::Progress,
        bar: &ProgressBar,
    ) -> Result<()> {
        let validation = progress.validation_nats.map(|nats| nats + self.units.validation);
        if validation.is_some() || progress.step.is_multiple_of(LOG_EVERY) || progress.step == 1 {
            let row = MetricsRow {
                step: progress.step,
                seconds: progress.seconds,
                train_nats: progress.train_nats,
                matching_loss: progress.matching_loss,
                reverse_nats: progress.reverse_nats,
                discrepancy: progress.discrepancy,
                validation_nats: validation,
                learning_rate: Some(progress.learning_rate),
                gradient_norm: Some(progress.gradient_norm),
                evaluations: Some(progress.work.evaluations() as f64),
                train_standardised_nats: None,
                validation_standardised_nats: None,
            };
            self.rows.push(self.units.both(row));
        }
        if let Some(nats) = validation {
            bar.set_message(format!("step {}, validation {nats:.4} nats", progress.step));
        }
        if self.saved.elapsed() > CHECKPOINT_EVERY {
            self.save(trainer)?;
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        write_csv(&self.folder.file("metrics.csv"), &self.rows)
    }

    fn save<E: Real>(&mut self, trainer: &Trainer<E>) -> Result<()> {
        self.write()?;
        trainer.save(&self.folder.file("checkpoint.safetensors"))?;
        self.saved = Instant::now();
        Ok(())
    }
}
