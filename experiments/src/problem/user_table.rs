//! A table of the user's as a problem of a comparison.

use std::path::Path;

use anyhow::Result;
use flows_bench::table::{self, Dequantisation, Table};

use crate::config::{DataConfig, Dequantise, Support};
use crate::data::TableData;

/// A table read from a file and prepared.
#[derive(Clone, Debug)]
pub struct UserTable {
    name: String,
    title: String,
    config: DataConfig,
    data: TableData,
}

impl UserTable {
    /// Reads a file and prepares it; `seed` is that of a random split without a seed of its own, and
    /// of the noise.
    ///
    /// # Errors
    /// An unusable file or columns.
    pub fn read(
        path: &Path,
        (config, supports): (&DataConfig, &[Support]),
        seed: u64,
    ) -> Result<Self> {
        let title = path.display().to_string();
        let mut config = config.clone();
        config.seed_split(seed);
        let table = table::read(path)?;
        let data = TableData::new(&table, &title, (&config, supports), seed)?;
        if config.dequantise == Dequantise::None {
            warn_of_integers(&table, &data.record.columns, "add --dequantise integers")?;
        }
        Ok(Self { name: name(path), title, config, data })
    }

    /// Name of folders: that of the file without its ending; empty if nothing of it can be used.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name for readers: the path.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What was done to it.
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// What `compare` is told to have it.
    pub fn arguments(&self) -> String {
        format!("--data {}{}", self.title, self.config.arguments())
    }

    /// Its rows, prepared.
    pub fn data(&self) -> &TableData {
        &self.data
    }
}

/// Letters, digits, `-` and `_` of a file's name without its ending; other characters are `-`.
fn name(path: &Path) -> String {
    let whole = path.file_name().unwrap_or_default().to_string_lossy();
    let lower = whole.to_lowercase();
    let ending = [".csv.gz", ".csv", ".npy", ".npz"].iter().find(|e| lower.ends_with(**e));
    let stem = &whole[..whole.len() - ending.map_or(0, |ending| ending.len())];
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    stem.chars().map(kept).collect::<String>().trim_matches('-').to_owned()
}

/// A column of integers has no density: a flow that finds that out gains likelihood without bound.
fn warn_of_integers(table: &Table, columns: &[String], advice: &str) -> Result<()> {
    let all: Vec<usize> = (0..table.rows()).collect();
    let found = Dequantisation::integers(table, &all)?.columns;
    let names: Vec<&str> = found
        .iter()
        .map(|column| column.name.as_str())
        .filter(|n| columns.iter().any(|c| c == n))
        .collect();
    if !names.is_empty() {
        eprintln!(
            "warning: {} hold integers only; {advice} to add noise, or likelihoods mean little",
            names.join(", ")
        );
    }
    Ok(())
}
