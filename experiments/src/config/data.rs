//! What is done to a table before training.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use flows_bench::table::{self, Dequantisation, RandomSplit, SplitRule};
use flows_core::Shape;
use serde::{Deserialize, Serialize};

use super::ColumnName;
use crate::Usage;

/// What is done to a table before training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The file, once a run has read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableFile>,
    /// Columns whose density is learned; empty for all that are neither dropped nor contexts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnName>,
    /// Columns that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<ColumnName>,
    /// Columns that the density is conditional on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<ColumnName>,
    /// Which rows train, validate and test.
    pub split: SplitRule,
    /// Noise on columns of discrete values.
    pub dequantise: Dequantise,
    /// Size of the image whose pixels the features are, channel by channel and row by row, so that
    /// pictures show images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Shape>,
}

/// The file that a run was trained on, or the folder of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    /// Path; absolute, once a run has read it.
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal digits, once a run has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl TableFile {
    /// The file as it is now.
    ///
    /// # Errors
    /// The system's reason.
    pub fn at(path: &Path) -> Result<Self> {
        Self::of(path, &[path])
    }

    /// The folder `path` as it is now, by the bytes of some of its files one after another.
    ///
    /// # Errors
    /// The system's reason.
    pub fn of(path: &Path, files: &[impl AsRef<Path>]) -> Result<Self> {
        let mut hash = <sha2::Sha256 as sha2::Digest>::new();
        for file in files.iter().map(AsRef::as_ref) {
            let unreadable = || format!("{}: cannot be read; check the path", file.display());
            let mut file = std::fs::File::open(file).with_context(unreadable)?;
            std::io::copy(&mut file, &mut hash).with_context(unreadable)?;
        }
        let hash = sha2::Digest::finalize(hash);
        let digits = hash.iter().map(|byte| format!("{byte:02x}"));
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self { path, sha256: Some(digits.collect()) })
    }

    /// Whether its bytes have another hash.
    #[must_use]
    pub fn is_other(&self, hash: &str) -> bool {
        self.sha256.as_deref() != Some(hash)
    }
}

/// Which columns get uniform noise of one step of their grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dequantise {
    /// None: the data are used as they are.
    #[default]
    None,
    /// Columns whose training values are all integers.
    Integers,
    /// Columns on a grid of few values.
    Grids,
}

impl Dequantise {
    /// The noise for a table, by its training rows.
    ///
    /// # Errors
    /// Those of reading the table's columns.
    pub fn noise(self, table: &table::Table, training: &[usize]) -> Result<Dequantisation> {
        Ok(match self {
            Self::None => Dequantisation::default(),
            Self::Integers => Dequantisation::integers(table, training)?,
            Self::Grids => Dequantisation::grids(table, training)?,
        })
    }
}

/// Which rows train, validate and test, where nothing more is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// A tenth of the rows, drawn by the seed, tests, and another tenth validates
    Random,
    /// Rows 0, 10, 20, .. test and rows 1, 11, 21, .. validate
    EveryTenth,
}

impl SplitName {
    /// The rule, with its other settings at their defaults.
    #[must_use]
    pub fn rule(self) -> SplitRule {
        match self {
            Self::Random => SplitRule::Random(RandomSplit::default()),
            Self::EveryTenth => SplitRule::EveryTenth(table::EveryTenth {}),
        }
    }
}

impl DataConfig {
    /// Puts a seed into a random split that has none of its own, so that the config records it.
    pub fn seed_split(&mut self, seed: u64) {
        if let SplitRule::Random(RandomSplit { seed: own, .. }) = &mut self.split {
            own.get_or_insert(seed);
        }
    }

    /// The size of the image that `features` columns are, if they are one.
    ///
    /// # Errors
    /// [`Usage`] where they are not as many.
    pub fn image_of(&self, features: usize) -> Result<Option<Shape>, Usage> {
        match self.image {
            Some(shape) if shape.dim() != features => {
                let Shape { channels, height, width } = shape;
                Err(Usage(format!(
                    "data.image: expected {features} pixels, one a feature, got {channels} x {height} x \
                     {width}; choose the columns, or another size"
                )))
            }
            image => Ok(image),
        }
    }

    /// The arguments that ask for it beside `--data`, each after a blank.
    #[must_use]
    pub fn arguments(&self) -> String {
        let mut arguments = String::new();
        for (option, columns) in
            [("columns", &self.columns), ("drop", &self.drop), ("context", &self.context)]
        {
            if !columns.is_empty() {
                let names: Vec<&str> = columns.iter().map(ColumnName::as_str).collect();
                arguments += &format!(" --{option} {}", names.join(","));
            }
        }
        if let SplitRule::EveryTenth(_) = self.split {
            arguments += " --split every-tenth";
        }
        match self.dequantise {
            Dequantise::None => {}
            Dequantise::Integers => arguments += " --dequantise integers",
            Dequantise::Grids => arguments += " --dequantise grids",
        }
        arguments
    }
}
