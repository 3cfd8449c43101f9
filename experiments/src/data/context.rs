//! Contexts of a table as a flow reads them.

use anyhow::{Context as _, Result};
use flows_bench::table::{Standardiser, Table, TableError};
use serde::{Deserialize, Serialize};

/// A column that conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ContextColumn {
    /// A number, standardised by the training rows.
    Number {
        /// Name of the column.
        name: String,
        /// Mean of the training rows.
        mean: f64,
        /// Their standard deviation.
        scale: f64,
    },
}

impl ContextColumn {
    /// How the columns of a table condition, by its training rows.
    ///
    /// # Errors
    /// A column with one value.
    pub fn fit(table: &Table, training: &[usize]) -> Result<Vec<Self>> {
        let moments = Standardiser::fit(table, training).map_err(|error| match error {
            TableError::Constant { name, value, .. } => anyhow::anyhow!(
                "context {name}: expected values that vary, got {value} in every training row; \
                 leave it out of context"
            ),
            other => other.into(),
        })?;
        let moments = moments.mean().iter().zip(moments.scale());
        let column = |(name, (&mean, &scale)): (&String, _)| Self::Number {
            name: name.clone(),
            mean,
            scale,
        };
        Ok(table.names().iter().zip(moments).map(column).collect())
    }

    /// Name of the column.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Number { name, .. } => name,
        }
    }

    /// Conditioning features that it makes.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 1,
        }
    }

    fn push(&self, value: f64, features: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Number { mean, scale, .. } => features.push((value - mean) / scale),
        }
        Ok(())
    }
}

/// Number of conditioning features of some columns.
#[must_use]
pub fn width(columns: &[ContextColumn]) -> usize {
    columns.iter().map(ContextColumn::width).sum()
}

/// The conditioning features of values of exactly these columns, row by row.
///
/// # Errors
/// A value that the training rows did not allow for, with its row.
pub fn features(columns: &[ContextColumn], values: &[f64]) -> Result<Vec<f64>> {
    let mut features = Vec::new();
    for (row, values) in values.chunks_exact(columns.len().max(1)).enumerate() {
        for (column, &value) in columns.iter().zip(values) {
            let place = || format!("row {row} (from 0), context {}", column.name());
            column.push(value, &mut features).with_context(place)?;
        }
    }
    Ok(features)
}
