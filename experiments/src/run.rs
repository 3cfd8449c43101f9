//! A run: a folder with its config, learning curve, checkpoint, model and results.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flows_core::train::{Checkpoint, write_atomically};
use flows_core::{Flow, Purpose, Real};
use flows_report::record::RunSummary;
use serde::Serialize;

use crate::Usage;
use crate::config::{RunConfig, advice, line_of};
use crate::data::RunData;

/// The folder of a run and the names of its files.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The folder at `path`; nothing is read or made yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The summary that a run left, if it did.
    #[must_use]
    pub fn summary(&self) -> Option<RunSummary> {
        let text = std::fs::read_to_string(self.file("summary.json")).ok()?;
        serde_json::from_str(&text).ok()
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
        let (columns, moments) = (data.columns.len(), data.units.columns());
        if columns != moments {
            bail!("{}: {columns} columns, but means of {moments}", damaged());
        }
        Ok(data)
    }

    /// Reads the trained flow, set for reports.
    ///
    /// # Errors
    /// If the file is missing, damaged, or does not fit the config.
    pub fn flow<E: Real>(&self, config: &RunConfig, data: &RunData) -> Result<Flow<E>> {
        let path = self.file("model.safetensors");
        let name = path.display();
        let mut flow = config.build::<E>(data.columns.len(), data.context_dim())?;
        if !path.exists() {
            bail!("{name}: no model yet; let the run end, or go on with fit --resume");
        }
        let file = Checkpoint::read(&path)?;
        file.restore_model("flow", &mut flow).with_context(|| name.to_string())?;
        flow.bijector_mut().set_purpose(Purpose::Reporting)?;
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
