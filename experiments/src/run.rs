//! A run: a folder with its config, learning curve, checkpoint, model and results.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flows_bench::table::{Dequantisation, Standardiser};
use flows_bench::targets::KnownTarget;
use flows_core::train::{Checkpoint, Material, Outcome, Trainer, Validation, write_atomically};
use flows_core::{Flow, Real, Target};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::Usage;
use crate::config::{RunConfig, advice, line_of};
use crate::problem::{ProblemData, cast};
use crate::record::MetricsRow;

/// Steps between rows of the learning curve.
const LOG_EVERY: u64 = 20;

/// Time between checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// The folder of a run and the names of its files.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

/// What was done to a table before training, so that results come back in its own units.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunData {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows that trained, validated and tested.
    pub rows: [usize; 3],
    /// Moments of the training rows.
    pub standardiser: Standardiser,
    /// Noise that was added.
    pub dequantisation: Dequantisation,
}

impl RunFolder {
    /// The folder at `path`; nothing is read or made yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// The system's reason.
    pub fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.0)
            .with_context(|| format!("{}: the folder cannot be made", self.0.display()))
    }

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// The system's reason.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.file(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a run has written here.
    pub fn is_taken(&self) -> bool {
        ["config.toml", "checkpoint.safetensors", "model.safetensors"]
            .iter()
            .any(|name| self.file(name).exists())
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// The system's reason.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.file(name), value)
    }

    /// Reads the config that a run left.
    ///
    /// # Errors
    /// If there is no run here, or the file was changed.
    pub fn config(&self) -> Result<RunConfig> {
        let path = self.file("config.toml");
        let missing =
            || format!("{}: cannot be read; is this the folder of a run?", path.display());
        let text = std::fs::read_to_string(&path).with_context(missing)?;
        toml::from_str(&text).map_err(|error| {
            let line = line_of(&error, &text);
            let reason = advice(&text).unwrap_or_else(|| error.message().to_owned());
            Usage(format!("{}, line {line}: {reason}", path.display())).into()
        })
    }

    /// Writes the resolved config.
    ///
    /// # Errors
    /// The system's reason.
    pub fn write_config(&self, config: &RunConfig) -> Result<()> {
        let text = toml::to_string(config).context("writing the config as TOML")?;
        Ok(write_atomically(&self.file("config.toml"), text.as_bytes())?)
    }

    /// Reads what was done to the data.
    ///
    /// # Errors
    /// If there is no such file, or it was changed.
    pub fn data(&self) -> Result<RunData> {
        let path = self.file("data.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let damaged = || format!("{}: damaged or of another version", path.display());
        let data: RunData = serde_json::from_str(&text).with_context(damaged)?;
        let (columns, moments) = (data.columns.len(), data.standardiser.mean().len());
        if columns != moments {
            bail!("{}: {columns} columns, but means of {moments}", damaged());
        }
        Ok(data)
    }

    /// Reads the trained flow.
    ///
    /// # Errors
    /// If the file is missing, damaged, or does not fit the config.
    pub fn flow<E: Real>(&self, config: &RunConfig, dim: usize) -> Result<Flow<E>> {
        let path = self.file("model.safetensors");
        let name = path.display();
        let mut flow = config.build::<E>(dim)?;
        if !path.exists() {
            bail!("{name}: no model yet; let the run end, or go on with fit --resume");
        }
        let file = Checkpoint::read(&path)?;
        file.restore_model("flow", &mut flow).with_context(|| name.to_string())?;
        Ok(flow)
    }
}

/// Writes `value` as JSON, atomically.
///
/// # Errors
/// The system's reason.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing JSON")?;
    Ok(write_atomically(path, text.as_bytes())?)
}

/// Writes `rows` as CSV, atomically.
///
/// # Errors
/// The system's reason.
pub fn write_csv<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    let bytes = writer.into_inner().context("writing CSV")?;
    Ok(write_atomically(path, &bytes)?)
}

/// A run that has been trained, as far as it came.
#[derive(Debug)]
pub struct Trained<E: Real> {
    /// The flow with the weights to be used.
    pub flow: Flow<E>,
    /// How training ended.
    pub outcome: Outcome,
    /// Seconds of training.
    pub seconds: f64,
    /// Optimiser steps.
    pub steps: u64,
    /// Network passes and evaluations of vector fields times their rows.
    pub work: u64,
}

/// What a flow is fitted to.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Rows.
    Data(&'a ProblemData),
    /// A density, for reverse KL.
    Target(KnownTarget),
}

impl Subject<'_> {
    fn dim(&self) -> usize {
        match self {
            Self::Data(data) => data.dim,
            Self::Target(target) => target.dim(),
        }
    }

    /// What to add to a validation, so that it is in the data's own units, or above the least that
    /// a density allows.
    fn offset(&self) -> f64 {
        match self {
            Self::Data(data) => data.validation_offset,
            Self::Target(target) => target.log_normaliser().nats,
        }
    }
}

impl<'a> From<&'a ProblemData> for Subject<'a> {
    fn from(data: &'a ProblemData) -> Self {
        Self::Data(data)
    }
}

impl From<KnownTarget> for Subject<'_> {
    fn from(target: KnownTarget) -> Self {
        Self::Target(target)
    }
}

fn validation<E: Real>(data: &ProblemData) -> Validation<E> {
    Validation { values: cast(&data.validation), context: flows_core::Context::none() }
}

/// Trains a flow in `folder`, from its checkpoint if `resume`.
///
/// # Errors
/// Of the config, the data or the file system; divergence is an [`Outcome`].
pub fn train<'a, E: Real>(
    config: &RunConfig,
    subject: impl Into<Subject<'a>>,
    folder: &RunFolder,
    resume: bool,
    bar: &ProgressBar,
) -> Result<Trained<E>> {
    let subject = subject.into();
    let flow = config.build::<E>(subject.dim())?;
    let made = Trainer::new(flow, config.train.clone(), config.budget, config.seed);
    let mut trainer = made.map_err(|error| Usage(format!("train: {error}")))?;
    let mut curve = Curve::new(folder, subject.offset());
    if resume {
        let resumed = trainer.resume(&folder.file("checkpoint.safetensors"));
        resumed.with_context(|| format!("resuming {}", folder.0.display()))?;
        curve.resume(trainer.steps())?;
    }
    let (source, validation) = match subject {
        Subject::Data(data) => (Some(data.source::<E>()?), Some(validation(data))),
        Subject::Target(_) => (None, None),
    };
    let material = match (&source, &subject) {
        (Some(source), _) => Material::Rows(&**source),
        (None, Subject::Target(target)) => Material::Density(target),
        (None, Subject::Data(_)) => bail!("a problem is a toy or a table"),
    };
    let outcome = trainer.run(material, validation.as_ref(), |trainer, progress| {
        bar.set_position((progress.fraction * 1000.0) as u64);
        curve
            .note(trainer, progress, bar)
            .map_err(|e| flows_core::Error::Caller(format!("{e:#}")))?;
        Ok(ControlFlow::Continue(()))
    })?;
    let (seconds, steps, work) = (trainer.seconds(), trainer.steps(), trainer.work());
    if matches!(outcome, Outcome::Diverged { .. }) {
        // Neither checkpoint nor model is replaced by what diverged.
        curve.write()?;
        return Ok(Trained { flow: trainer.into_flow()?, outcome, seconds, steps, work });
    }
    curve.save(&trainer)?;
    let flow = trainer.into_flow()?;
    let mut model = Checkpoint::new();
    model.add_model("flow", &flow);
    model.write(&folder.file("model.safetensors"))?;
    Ok(Trained { flow, outcome, seconds, steps, work })
}

/// The learning curve, written together with checkpoints so that the two agree.
struct Curve<'a> {
    folder: &'a RunFolder,
    offset: f64,
    rows: Vec<MetricsRow>,
    saved: Instant,
}

impl<'a> Curve<'a> {
    fn new(folder: &'a RunFolder, offset: f64) -> Self {
        Self { folder, offset, rows: Vec::new(), saved: Instant::now() }
    }

    /// Takes over the rows up to `steps`.
    fn resume(&mut self, steps: u64) -> Result<()> {
        let path = self.folder.file("metrics.csv");
        let mut reader = csv::Reader::from_path(&path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        for row in reader.deserialize() {
            let row: MetricsRow = row.with_context(|| format!("{}", path.display()))?;
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
        let validation = progress.validation_nats.map(|nats| nats + self.offset);
        if validation.is_some() || progress.step.is_multiple_of(LOG_EVERY) || progress.step == 1 {
            self.rows.push(MetricsRow {
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
            });
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
