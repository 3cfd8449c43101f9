//! Draws of the exact density from a file, and how far means and deviations are from theirs.

use std::path::Path;

use anyhow::{Result, bail};
use flows_bench::posteriors::read_draws;
use flows_bench::table;
use serde::Serialize;

use crate::{Usage, say};

/// Reference draws of all parameters.
#[derive(Debug)]
pub(crate) struct ReferenceDraws {
    /// Row after row.
    pub(crate) rows: Vec<f64>,
    columns: usize,
}

/// How far the moments of a parameter are from those of the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OffReference {
    name: String,
    /// Difference of the means in standard deviations of the reference.
    mean_off_deviations: f64,
    /// Difference of the standard deviations in percent of the reference's.
    deviation_off_percent: f64,
}

impl ReferenceDraws {
    /// Reads a table, or an archive of posteriordb, `.json.zip`. Columns are found by their names, or,
    /// where a table has others, by their places.
    ///
    /// # Errors
    /// A file that cannot be read; [`Usage`] for another number of columns.
    pub(crate) fn read(path: &Path, names: &[String]) -> Result<Self> {
        let columns = names.len();
        if path.to_string_lossy().to_lowercase().ends_with(".json.zip") {
            return Ok(Self { rows: read_draws(path, names)?.into_values(), columns });
        }
        let table = table::read(path)?;
        let place = |name: &String| table.names().iter().position(|other| other == name);
        if let Some(places) = names.iter().map(place).collect::<Option<Vec<usize>>>() {
            let of_row =
                |row| places.iter().map(|&place| table.row(row)[place]).collect::<Vec<_>>();
            return Ok(Self { rows: (0..table.rows()).flat_map(of_row).collect(), columns });
        }
        if table.columns() != columns {
            let (path, got) = (path.display(), table.columns());
            bail!(Usage(format!(
                "{path}: expected {columns} columns of reference draws, or columns named {}, got {got}",
                names.join(", ")
            )));
        }
        Ok(Self { rows: table.into_values(), columns })
    }

    /// Compares the moments of rows, which have a weight each.
    pub(crate) fn compare(
        &self,
        names: &[String],
        rows: &[f64],
        weights: impl Fn(usize) -> f64,
    ) -> Vec<OffReference> {
        let of = |(column, name): (usize, &String)| {
            let own = moments(rows, (column, self.columns), &weights);
            let reference = moments(&self.rows, (column, self.columns), |_| 1.0);
            OffReference {
                name: name.clone(),
                mean_off_deviations: (own.0 - reference.0) / reference.1,
                deviation_off_percent: 100.0 * (own.1 / reference.1 - 1.0),
            }
        };
        names.iter().enumerate().map(of).collect()
    }
}

/// Prints a line a parameter.
pub(crate) fn print(of_parameters: &[OffReference]) -> Result<()> {
    say(&format!("{:<16} {:>22} {:>14}", "off reference", "mean (deviations)", "deviation (%)"))?;
    for OffReference { name, mean_off_deviations, deviation_off_percent } in of_parameters {
        say(&format!("{name:<16} {mean_off_deviations:>22.4} {deviation_off_percent:>14.2}"))?;
    }
    Ok(())
}

/// Weighted mean and standard deviation of a column.
fn moments(
    rows: &[f64],
    (column, columns): (usize, usize),
    weights: impl Fn(usize) -> f64,
) -> (f64, f64) {
    let values = || rows.iter().skip(column).step_by(columns).enumerate();
    let total: f64 = values().map(|(row, _)| weights(row)).sum();
    let mean = values().map(|(row, x)| weights(row) * x).sum::<f64>() / total;
    let variance = values().map(|(row, x)| weights(row) * (x - mean).powi(2)).sum::<f64>() / total;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_compared_in_units_of_the_reference() {
        let reference = ReferenceDraws { rows: vec![0.0, 10.0, 2.0, 30.0], columns: 2 };
        let names = ["a".to_owned(), "b".to_owned()];
        let off = reference
            .compare(&names, &[1.0, 20.0, 5.0, 40.0, 1.0, 20.0], |row| [1.0, 0.0, 1.0][row]);
        let expected = [("a", 0.0, -100.0), ("b", 0.0, -100.0)];
        for (off, (name, mean, deviation)) in off.iter().zip(expected) {
            assert_eq!(off.name, name);
            assert_eq!((off.mean_off_deviations, off.deviation_off_percent), (mean, deviation));
        }
        let off = reference.compare(&names, &[1.0, 20.0, 5.0, 40.0], |_| 1.0);
        assert_eq!((off[0].mean_off_deviations, off[0].deviation_off_percent), (2.0, 100.0));
        assert_eq!((off[1].mean_off_deviations, off[1].deviation_off_percent), (1.0, 0.0));
    }
}
