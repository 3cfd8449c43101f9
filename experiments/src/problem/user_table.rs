//! A table of the user's as a problem of a comparison.

use std::path::Path;

use anyhow::{Result, bail};
use flows_bench::table::{self, TableError};

use crate::config::{DataConfig, Support, TableFile};
use crate::data::{TableData, may_hold_words};

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
    /// An unusable file or columns; another file than the one whose hash the config has.
    pub fn read(
        path: &Path,
        (config, supports): (&DataConfig, &[Support]),
        seed: u64,
    ) -> Result<Self> {
        let title = path.display().to_string();
        let mut config = config.clone();
        config.seed_split(seed);
        let words = |index: usize, name: &str| may_hold_words(&config, index, name);
        let table = table::read_with_words(path, &words).map_err(|error| match error {
            TableError::Text { .. } => {
                let column = "or leave the column out (drop), or condition on it (context)";
                anyhow::anyhow!("{error}, {column}")
            }
            other => other.into(),
        })?;
        let file = TableFile::at(path)?;
        let before = config.table.as_ref().and_then(|before| before.sha256.as_ref());
        if before.is_some_and(|hash| file.is_other(hash)) {
            bail!(
                "{title}: expected the table that the run began with, got another; resume with that one"
            );
        }
        config.table = Some(file);
        let data = TableData::new(&table, &title, (&config, supports), seed)?;
        for note in table.notes() {
            eprintln!("note: {note}");
        }
        for oddity in &data.oddities {
            eprintln!("warning: {title}: {}", oddity.message);
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

    /// What was done to it, with its path and hash.
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
