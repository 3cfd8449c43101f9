//! The files of a single run, as `fit` leaves them.

use std::path::Path;

use anyhow::{Context, Result};
use flows_core::Shape;
use serde::Deserialize;

use super::folder::Files;
use super::{Matrix, MetricsRow, RunSummary};

/// The folder of one run. Errors name files relative to it.
#[derive(Clone, Debug)]
pub struct RunFiles(Files);

/// What a page needs of `data.json`.
#[derive(Clone, Debug)]
pub struct RunColumns {
    /// Names of the features.
    pub columns: Vec<String>,
    /// Names of the columns that condition.
    pub context: Vec<String>,
    /// Rows that trained, validated and tested.
    pub rows: [u64; 3],
    /// Size of the image whose pixels the features are.
    pub image: Option<Shape>,
}

#[derive(Deserialize)]
struct Stored {
    columns: Vec<String>,
    #[serde(default)]
    context: Vec<Named>,
    rows: [u64; 3],
    #[serde(default)]
    image: Option<Shape>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl RunFiles {
    /// The run in `root`; nothing is read yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(Files::new(root))
    }

    /// Whether `root` is a run, and not a comparison.
    #[must_use]
    pub fn are_in(root: &Path) -> bool {
        root.join("summary.json").exists() && !root.join("comparison.json").exists()
    }

    /// Reads `summary.json`.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn summary(&self) -> Result<RunSummary> {
        self.0.json(Path::new("summary.json"))
    }

    /// Reads the columns of `data.json`.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn data(&self) -> Result<RunColumns> {
        let Stored { columns, context, rows, image } = self.0.json(Path::new("data.json"))?;
        let context = context.into_iter().map(|column| column.name).collect();
        Ok(RunColumns { columns, context, rows, image })
    }

    /// Reads `config.toml` as text.
    ///
    /// # Errors
    /// When the file is missing or not UTF-8.
    pub fn config(&self) -> Result<String> {
        let file = self.0.open(Path::new("config.toml"))?;
        std::io::read_to_string(file).context("cannot read config.toml")
    }

    /// Reads the learning curve.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn metrics(&self) -> Result<Vec<MetricsRow>> {
        self.0.csv(Path::new("metrics.csv"))
    }

    /// Reads a matrix of the run.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn matrix(&self, name: &str) -> Result<Matrix> {
        self.0.matrix(Path::new(name))
    }
}
