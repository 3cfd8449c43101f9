//! Tables of numbers and words.

use serde::{Deserialize, Serialize};

use super::number;

/// A table with one kind of thing a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its caption: one sentence.
    pub title: String,
    /// Heads of the columns, with units.
    pub columns: Vec<String>,
    /// As many cells a row as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number.
    Number(#[serde(with = "number")] f64),
    /// A number with its standard error.
    Estimate(#[serde(with = "number")] f64, #[serde(with = "number")] f64),
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&c| c.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Number(value as f64)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::Number(value as f64)
    }
}

impl From<(f64, f64)> for Cell {
    fn from((value, error): (f64, f64)) -> Self {
        Self::Estimate(value, error)
    }
}

impl From<(f64, Option<f64>)> for Cell {
    fn from((value, error): (f64, Option<f64>)) -> Self {
        error.map_or(Self::Number(value), |error| Self::Estimate(value, error))
    }
}
