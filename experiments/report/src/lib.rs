//! Results and how they are shown: the files that comparisons and studies write, their figures, and
//! HTML pages that are drawn from those files alone.
//!
//! - [`record`]: the result files of a comparison.
//! - [`finding`] and [`study`]: what a check found, and the result file of many.
//! - [`paired`]: differences of flows on the same rows.
//! - [`figure`]: charts as SVG.
//! - [`write()`]: the page of either, or of a single run.
//!
//! Nothing here needs a flow.

pub mod estimate;
pub mod figure;
pub mod finding;
pub mod grid;
mod page;
pub mod paired;
mod published;
pub mod record;
pub mod study;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flows_core::train::write_atomically;

pub use estimate::Estimate;
pub use study::Study;

/// Compares the comparison in `dir` with the one in `earlier` and writes `dir/baseline.csv`, which the
/// page of `dir` shows. Better and worse is what differs by more than `tolerance` standard errors.
///
/// # Errors
/// When `comparison.json` of either cannot be read, or the file cannot be written.
pub fn against(dir: &Path, earlier: &Path, tolerance: f64) -> Result<Vec<record::Change>> {
    let changes = page::baseline::changes(dir, earlier, tolerance)?;
    record::write_csv(&dir.join("baseline.csv"), &changes)?;
    Ok(changes)
}

/// Writes the page `dir/report.html` of the comparison, study or single run in `dir`, its figures to
/// `dir/figures`, and for a comparison the differences between flows to `dir/pairs.csv`; returns the
/// page's path.
///
/// A run that failed or a file that is missing is named in the place where it would have been shown.
///
/// # Errors
/// When `comparison.json`, `study.json` or `summary.json` cannot be read, a name in it is not fit for a file name, or
/// a file cannot be written.
pub fn write(dir: &Path) -> Result<PathBuf> {
    if dir.join("study.json").exists() {
        return page::study::write(dir);
    }
    if record::RunFiles::are_in(dir) {
        return page::run::write(dir);
    }
    page::comparison::write(dir)
}

/// Writes a corner plot as an SVG file.
///
/// # Errors
/// When it cannot be drawn or written.
pub fn write_corner(path: &Path, corner: &finding::Corner) -> Result<()> {
    let svg = figure::corner::draw(corner)?.document();
    write_atomically(path, svg.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
