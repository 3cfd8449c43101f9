//! A table of the user's as a problem of a comparison.

use std::path::Path;

use anyhow::{Context, Result, bail};
use flows_bench::table::{self, Dequantisation, EveryTenth, SplitRule, Table};
use flows_core::stream;

use crate::Usage;
use crate::config::Dequantise;

/// A table read from a file, with its noise.
#[derive(Clone, Debug)]
pub struct UserTable {
    name: String,
    title: String,
    dequantise: Dequantise,
    table: Table,
}

impl UserTable {
    /// Reads a file and adds the noise that is asked for; its training rows decide which columns get
    /// any.
    ///
    /// # Errors
    /// An unusable file; [`Usage`] if nothing of its name can be used for a folder.
    pub fn read(path: &Path, dequantise: Dequantise) -> Result<Self> {
        let title = path.display().to_string();
        let name = name(path);
        if name.is_empty() {
            bail!(Usage(format!(
                "{title}: expected a file name with letters or digits; rename it"
            )));
        }
        let table = table::read(path)?;
        let split = SplitRule::EveryTenth(EveryTenth {}).split(table.rows());
        let training = split.with_context(|| title.clone())?.training;
        let noise = dequantise.noise(&table, &training)?;
        if dequantise == Dequantise::None {
            warn_of_integers(&table, &training, "add --dequantise integers")?;
        }
        let table = noise.apply(&table, &mut stream(0, "dequantise"))?;
        Ok(Self { name, title, dequantise, table })
    }

    /// Name of folders: that of the file without its endings.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name for readers: the path.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What `compare` is told to have it.
    pub fn arguments(&self) -> String {
        match self.dequantise {
            Dequantise::None => format!("--data {}", self.title),
            Dequantise::Integers => format!("--data {} --dequantise integers", self.title),
            Dequantise::Grids => format!("--data {} --dequantise grids", self.title),
        }
    }

    /// Its rows, with noise.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

/// Letters, digits, `-` and `_` of a file's name before its first dot.
fn name(path: &Path) -> String {
    let whole = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = whole.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    stem.chars().map(kept).collect::<String>().trim_matches('-').to_owned()
}

/// A column of integers has no density: a flow that finds that out gains likelihood without bound.
///
/// # Errors
/// Those of reading the table's columns.
pub fn warn_of_integers(table: &Table, training: &[usize], advice: &str) -> Result<()> {
    let columns = Dequantisation::integers(table, training)?.columns;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if !names.is_empty() {
        eprintln!(
            "warning: {} hold integers only; {advice} to add noise, or likelihoods mean little",
            names.join(", ")
        );
    }
    Ok(())
}
