//! How far draws of an estimated posterior are from reference draws.

use anyhow::Result;
use flows_bench::metrics::{Distance, Pooled, c2st};

/// Rows of either sample that the classifier sees.
const ROWS: usize = 5_000;

/// Seed of rows, folds and networks of the classifier.
const SEED: u64 = 0;

/// The classifier two-sample test between draws and a reference, both row after row: 0.5 where nothing
/// tells them apart, 1 where everything does.
///
/// # Errors
/// If a network cannot be trained.
pub fn distance_to_reference(draws: &[f64], reference: &[f64], dim: usize) -> Result<Distance> {
    let rows = ROWS.min(draws.len() / dim).min(reference.len() / dim);
    Ok(c2st(&Pooled::standardised([draws, reference], dim, rows, SEED), SEED)?)
}
