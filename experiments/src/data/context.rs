//! Contexts of a table as a flow reads them.

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{Standardiser, Table, TableError};
use serde::{Deserialize, Serialize};

/// Most classes of a context; each of them is a conditioning feature.
const MOST_CLASSES: usize = 1_000;

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
    /// A word, as one conditioning feature a class that is 1 for its own class and 0 for the others
    /// (one-hot).
    Classes {
        /// Name of the column.
        name: String,
        /// The words.
        classes: Vec<String>,
    },
}

impl ContextColumn {
    /// How the columns of a table condition, by its training rows.
    ///
    /// # Errors
    /// A column with one value or too many classes.
    pub fn fit(table: &Table, training: &[usize]) -> Result<Vec<Self>> {
        (0..table.columns()).map(|column| Self::fit_one(table, training, column)).collect()
    }

    fn fit_one(table: &Table, training: &[usize], column: usize) -> Result<Self> {
        let name = table.names()[column].clone();
        if let Some(classes) = table.classes(column) {
            let (classes, count) = (classes.to_vec(), classes.len());
            if !(2..=MOST_CLASSES).contains(&count) {
                bail!(
                    "context {name}: expected words of 2 to {MOST_CLASSES} classes, got {count}; \
                     leave it out of context"
                );
            }
            return Ok(Self::Classes { name, classes });
        }
        let moments = Standardiser::fit(&table.select_columns(&[column])?, training);
        let moments = moments.map_err(|error| match error {
            TableError::Constant { value, .. } => anyhow::anyhow!(
                "context {name}: expected values that vary, got {value} in every training row; \
                 leave it out of context"
            ),
            other => other.into(),
        })?;
        Ok(Self::Number { name, mean: moments.mean()[0], scale: moments.scale()[0] })
    }

    /// Name of the column.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Number { name, .. } | Self::Classes { name, .. } => name,
        }
    }

    /// Conditioning features that it makes.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 1,
            Self::Classes { classes, .. } => classes.len(),
        }
    }

    /// The conditioning features of a value: a number, or the index of one of `classes`, which are
    /// those of the file at hand.
    fn push(&self, value: f64, of_file: Option<&[String]>, features: &mut Vec<f64>) -> Result<()> {
        let class = of_file.and_then(|classes| classes.get(value as usize));
        match (self, class) {
            (Self::Number { .. }, Some(class)) => {
                bail!("expected a number, got {class:?}; give numbers as in the run's table");
            }
            (Self::Number { mean, scale, .. }, None) => features.push((value - mean) / scale),
            (Self::Classes { classes, .. }, class) => {
                let class = class.cloned().unwrap_or_else(|| value.to_string());
                if !classes.contains(&class) {
                    let classes = classes.join(", ");
                    bail!("expected one of the run's classes ({classes}), got {class:?}");
                }
                features.extend(classes.iter().map(|other| f64::from(u8::from(*other == class))));
            }
        }
        Ok(())
    }
}

/// Number of conditioning features of some columns.
#[must_use]
pub fn width(columns: &[ContextColumn]) -> usize {
    columns.iter().map(ContextColumn::width).sum()
}

/// The conditioning features of a table that has exactly these columns, row by row.
///
/// # Errors
/// A value that the training rows did not allow for, with its row.
pub fn features(columns: &[ContextColumn], table: &Table) -> Result<Vec<f64>> {
    let mut features = Vec::with_capacity(table.rows() * width(columns));
    for row in 0..table.rows() {
        for (index, (column, &value)) in columns.iter().zip(table.row(row)).enumerate() {
            let place = || format!("row {row} (from 0), context {}", column.name());
            let pushed = column.push(value, table.classes(index), &mut features);
            pushed.with_context(place)?;
        }
    }
    Ok(features)
}
