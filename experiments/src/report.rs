//! The report of a comparison or a study: one HTML file that needs nothing beside it, written from result files.

mod album;
mod cost;
mod date;
mod estimate;
#[cfg(test)]
mod fixture;
mod format;
mod gallery;
mod gather;
mod leaders;
mod learning;
mod numbers;
mod page;
mod problem;
mod reading;
mod source;
mod standing;
mod study;
mod table;
#[cfg(test)]
mod tests;
mod transport;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flows_core::train::write_atomically;

use crate::record::Folder;

/// Reads the comparison or the study in `dir` and writes `dir/report.html`, and its figures to `dir/figures`.
///
/// A run that failed or a file that is missing is named in the place where it would have been shown.
///
/// # Errors
/// When `comparison.json` or `study.json` cannot be read, a name in it is not fit for a file name, or a file cannot be
/// written.
pub fn write(dir: &Path) -> Result<PathBuf> {
    if dir.join("study.json").exists() {
        return study::write(dir);
    }
    let folder = Folder::new(dir);
    let results = gather::gather(&folder)?;
    let mut album = album::Album::of(dir, &results.comparison)?;
    let html = page::render(&folder, &results, &mut album)?;
    let path = dir.join("report.html");
    write_atomically(&path, html.as_bytes())
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
