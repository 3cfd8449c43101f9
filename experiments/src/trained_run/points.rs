//! Points and contexts for a trained run, from files whose columns are found by name.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table};

use crate::Usage;
use crate::data::{RunData, context_features, locate};
use crate::rows::Rows;

/// The features of a table, in its own units, with the conditioning features of its rows: from the
/// table itself or from a file of their own.
pub(super) fn read(path: &Path, of_context: Option<&Path>, data: &RunData) -> Result<Rows> {
    let table = read_table(path, data)?;
    let mut wanted: Vec<&str> = data.columns.iter().map(String::as_str).collect();
    let dim = wanted.len();
    if of_context.is_none() {
        wanted.extend(data.context_names());
    }
    let name = path.display().to_string();
    let columns = locate(&table, &name, &wanted, &data.table_columns)?;
    let values = table.select_columns(&columns[..dim])?.into_values();
    let rows = Rows::new(values, dim);
    match (of_context, &columns[dim..]) {
        (Some(path), _) => given(rows, path, data),
        (None, []) => Ok(rows),
        (None, columns) => {
            let features = context_features(&data.context, &table.select_columns(columns)?);
            Ok(rows.given(features.with_context(|| name)?, data.context_dim()))
        }
    }
}

/// A table that may have words where the run has no feature.
fn read_table(path: &Path, data: &RunData) -> Result<Table> {
    let is_in = |columns: &[String], name: &str| columns.iter().any(|column| column == name);
    let words =
        |_: usize, name: &str| is_in(&data.table_columns, name) && !is_in(&data.columns, name);
    Ok(table::read_with_words(path, &words)?)
}

/// Rows with the contexts of a file, one for each row.
pub(super) fn given(rows: Rows, path: &Path, data: &RunData) -> Result<Rows> {
    let Contexts { table, features } = Contexts::read(path, data)?;
    if table.rows() != rows.count() {
        let (name, expected, got) = (path.display(), rows.count(), table.rows());
        bail!("{name}: expected a context for each of {expected} rows, got {got}");
    }
    Ok(rows.given(features, data.context_dim()))
}

/// Contexts of a conditional run.
pub(super) struct Contexts {
    /// As they stand in the file.
    pub(super) table: Table,
    /// As the flow reads them, row by row.
    pub(super) features: Vec<f64>,
}

impl Contexts {
    /// Reads the columns of a file that condition.
    pub(super) fn read(path: &Path, data: &RunData) -> Result<Self> {
        let (table, name) = (read_table(path, data)?, path.display().to_string());
        if data.context.is_empty() {
            let advice = "leave --context out";
            bail!(Usage(format!("{name}: the run's density is not conditional; {advice}")));
        }
        let columns = locate(&table, &name, &data.context_names(), &data.table_columns)?;
        let table = table.select_columns(&columns)?;
        let features = context_features(&data.context, &table).with_context(|| name)?;
        Ok(Self { table, features })
    }

    /// Each row `count` times in a row.
    pub(super) fn repeated(&self, count: usize, width: usize) -> Result<Self> {
        let rows = 0..self.table.rows();
        let each: Vec<usize> = rows.flat_map(|row| std::iter::repeat_n(row, count)).collect();
        let of_row = |row: &usize| self.features[row * width..(row + 1) * width].to_vec();
        let features = each.iter().flat_map(of_row).collect();
        Ok(Self { table: self.table.select_rows(&each)?, features })
    }
}
