//! The corner plot of draws, beside those of a reference.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows_report::finding::Corner;
use flows_report::write_corner;

use crate::Usage;
use crate::reference_draws::ReferenceDraws;

/// Refuses a name of another kind of file, before any work is done.
pub(crate) fn check_name(path: Option<&Path>) -> Result<()> {
    match path {
        Some(path) if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("svg")) => {
            bail!(Usage(format!("--corner {}: expected a name that ends in .svg", path.display())))
        }
        _ => Ok(()),
    }
}

/// Writes the plot of equally weighted draws, given row after row.
pub(crate) fn write(
    path: &Path,
    (title, names): (&str, &[String]),
    rows: &[f64],
    reference: Option<&ReferenceDraws>,
) -> Result<()> {
    let mut samples = vec![("draws", rows)];
    samples.extend(reference.map(|reference| ("reference", reference.rows.as_slice())));
    let corner = Corner::new(title, names, &samples).with_context(|| {
        format!("{}: a parameter has one value in all draws, or none", path.display())
    })?;
    write_corner(path, &corner)
}
