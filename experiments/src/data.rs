//! From a table to rows of a flow: columns chosen, split, dequantised, in the units of the flow.

mod columns;
mod context;
mod density;
mod units;

use std::f64::consts::LN_2;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{
    Benchmark, Dequantisation, Oddity, OddityKind, Split, Table, TableError, inspect,
};
use flows_core::{Shape, stream};
use serde::{Deserialize, Serialize};

use crate::Usage;
use crate::config::{DataConfig, Support, support};
use crate::rows::Rows;

pub use columns::{Selection, locate, may_hold_words};
pub use context::{ContextColumn, features as context_features, width as context_width};
pub use density::log_densities;
pub use units::Units;

/// `data.json` of a run: what was done to a table before training, so that results come back in its
/// own units and other files are read alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunData {
    /// All columns of the table.
    pub table_columns: Vec<String>,
    /// Names of the features.
    pub columns: Vec<String>,
    /// The columns that condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<ContextColumn>,
    /// Rows that trained, validated and tested.
    pub rows: [usize; 3],
    /// Units of the features.
    pub units: Units,
    /// Noise that was added.
    pub dequantisation: Dequantisation,
    /// Size of the image whose pixels the features are, channel by channel and row by row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Shape>,
}

/// A table, ready to train on.
#[derive(Clone, Debug)]
pub struct TableData {
    /// What was done.
    pub record: RunData,
    /// Rows to train on, in the flow's units as all.
    pub training: Rows,
    /// The same without noise, in the table's units; none where no column got noise.
    pub discrete: Option<Vec<f64>>,
    /// Rows to validate on.
    pub validation: Rows,
    /// log |det| of the change of units at the validation rows, nats.
    pub validation_log_det: Vec<f64>,
    /// Rows to test on.
    pub test: Rows,
    /// log |det| of the change of units at the test rows, nats.
    pub test_log_det: Vec<f64>,
    /// The rows of the file that the test rows are; empty where they are a file or a part of their own.
    pub test_rows: Vec<usize>,
    /// What makes its likelihood mean little.
    pub oddities: Vec<Oddity>,
}

impl TableData {
    /// Prepares a table as a config says; `name` is that of its file and `seed` that of the noise.
    ///
    /// # Errors
    /// [`Usage`] for columns or shares that do not fit; unusable values.
    pub fn new(
        table: &Table,
        name: &str,
        (config, supports): (&DataConfig, &[Support]),
        seed: u64,
    ) -> Result<Self> {
        let named = |error: Usage| Usage(format!("{name}: {}", error.0));
        let selection = Selection::of(config, table.names()).map_err(named)?;
        let split = config.split.split(table.rows()).map_err(|error| match error {
            TableError::Fraction { .. } => Usage(format!("{name}: data: {error}")).into(),
            other => anyhow::Error::from(other).context(name.to_owned()),
        })?;
        let raw = table.select_columns(&selection.features)?;
        let words = (0..raw.columns()).find_map(|column| Some((column, raw.classes(column)?)));
        if let Some((column, classes)) = words {
            let (column, class) = (&raw.names()[column], &classes[0]);
            bail!(Usage(format!(
                "{name}: column {column} holds words such as {class:?}; make it a context, or drop it"
            )));
        }
        let noise = config.dequantise.noise(&raw, &split.training)?;
        let ends: Vec<[f64; 2]> = supports.iter().map(|support| support.ends()).collect();
        let noisy: Vec<usize> = noise.columns.iter().map(|noise| noise.column).collect();
        let oddities = inspect(&raw, &split, &ends, &noisy);
        if let Some(end) = oddities.iter().find(|oddity| oddity.kind == OddityKind::SupportEnd) {
            bail!("{name}: {}", end.message);
        }
        let features = noise.apply(&raw, &mut stream(seed, "dequantise"))?;
        support::check(supports, &features, name)?;
        let context = match &selection.context[..] {
            [] => None,
            columns => Some(table.select_columns(columns)?),
        };
        let columns = table.names().to_vec();
        let parts = (&raw, &features, context.as_ref());
        let data = Self::assemble(parts, (columns, noise), &split, supports);
        let mut data = data.with_context(|| name.to_owned())?;
        data.record.image = config.image_of(raw.columns()).map_err(named)?;
        Ok(Self { oddities, ..data })
    }

    /// A table all of whose columns are features, without supports, and the noise for it.
    ///
    /// # Errors
    /// A constant column, or fewer than two training rows.
    pub fn plain(table: &Table, noise: Dequantisation, split: &Split) -> Result<Self> {
        let columns = table.names().to_vec();
        // The noise is part of the problem: the same for every flow and every seed.
        let features = noise.apply(table, &mut stream(0, "dequantise"))?;
        Self::assemble((table, &features, None), (columns, noise), split, &[])
    }

    /// A table that comes in three parts, prepared: nothing is changed.
    ///
    /// # Errors
    /// Never for parts with a column.
    pub fn in_parts(Benchmark { training, validation, test }: Benchmark) -> Result<Self> {
        let columns = training.names().to_vec();
        let dim = columns.len();
        let rows = [&training, &validation, &test].map(Table::rows);
        let record = RunData { rows, ..RunData::of_columns(columns, Vec::new())? };
        let part = |table: Table| Rows::new(table.into_values(), dim);
        Ok(Self {
            record,
            training: part(training),
            discrete: None,
            validation: part(validation),
            validation_log_det: vec![0.0; rows[1]],
            test: part(test),
            test_log_det: vec![0.0; rows[2]],
            test_rows: Vec::new(),
            oddities: Vec::new(),
        })
    }

    /// From a table without noise and with it.
    fn assemble(
        (discrete, features, context): (&Table, &Table, Option<&Table>),
        (table_columns, dequantisation): (Vec<String>, Dequantisation),
        split: &Split,
        supports: &[Support],
    ) -> Result<Self> {
        let context_columns = match context {
            None => Vec::new(),
            Some(context) => ContextColumn::fit(context, &split.training)?,
        };
        let record = RunData {
            table_columns,
            columns: features.names().to_vec(),
            context: context_columns,
            rows: [split.training.len(), split.validation.len(), split.test.len()],
            units: Units::fit(features, &split.training, supports)?,
            dequantisation,
            image: None,
        };
        let part = |rows: &[usize]| record.rows_of(features, context, rows);
        let (training, _) = part(&split.training)?;
        let (validation, validation_log_det) = part(&split.validation)?;
        let (test, test_log_det) = part(&split.test)?;
        let (test_rows, oddities) = (split.test.clone(), Vec::new());
        let discrete = match record.dequantisation.columns[..] {
            [] => None,
            _ => Some(discrete.select_rows(&split.training)?.into_values()),
        };
        Ok(Self {
            record,
            training,
            discrete,
            validation,
            validation_log_det,
            test,
            test_log_det,
            test_rows,
            oddities,
        })
    }
}

impl RunData {
    /// Columns that are used as they are.
    ///
    /// # Errors
    /// For no columns.
    pub fn of_columns(columns: Vec<String>, context: Vec<ContextColumn>) -> Result<Self> {
        let contexts = context.iter().map(|column| column.name().to_owned());
        let mut table_columns: Vec<String> = contexts.collect();
        table_columns.extend(columns.iter().cloned());
        let (units, dequantisation) = (Units::none(columns.len())?, Dequantisation::default());
        Ok(Self {
            table_columns,
            columns,
            context,
            rows: [0; 3],
            units,
            dequantisation,
            image: None,
        })
    }

    /// Bits per dimension of a negative log-likelihood in own units, nats: where every feature is discrete and got
    /// noise of one step, the bound on -log of its probability, over the number of features.
    ///
    /// With steps h_j the probability of a row is its density times their product, so that it is
    /// (nll - sum_j ln h_j) / (D ln 2).
    #[must_use]
    pub fn bits_per_dimension(&self, nll: f64) -> Option<f64> {
        let noise = &self.dequantisation.columns;
        let dim = self.columns.len();
        let steps: f64 = noise.iter().map(|noise| noise.step.ln()).sum();
        (dim > 0 && noise.len() == dim).then(|| (nll - steps) / (dim as f64 * LN_2))
    }

    /// Rows whose contexts are as they stand in a file, words as indices of the run's classes, with their
    /// conditioning features in place.
    ///
    /// # Errors
    /// A context that the training rows did not allow for.
    pub fn with_features(&self, rows: Rows) -> Result<Rows> {
        if self.context.is_empty() {
            return Ok(rows);
        }
        let width = self.context.len();
        let mut table = Table::new(Vec::new(), width, rows.context_values().to_vec())?;
        for (index, column) in self.context.iter().enumerate() {
            if let ContextColumn::Classes { classes, .. } = column {
                table = table.with_classes(index, classes.clone());
            }
        }
        Ok(rows.given(context_features(&self.context, &table)?, self.context_dim()))
    }

    /// Names of the columns that condition.
    #[must_use]
    pub fn context_names(&self) -> Vec<&str> {
        self.context.iter().map(ContextColumn::name).collect()
    }

    /// Number of conditioning features.
    #[must_use]
    pub fn context_dim(&self) -> usize {
        context_width(&self.context)
    }

    /// Some rows in the flow's units, with log |det| of the change of units.
    fn rows_of(
        &self,
        features: &Table,
        context: Option<&Table>,
        rows: &[usize],
    ) -> Result<(Rows, Vec<f64>)> {
        let mut values = features.select_rows(rows)?.into_values();
        let log_det = self.units.apply(&mut values)?;
        let context = match context {
            None => Vec::new(),
            Some(context) => context_features(&self.context, &context.select_rows(rows)?)?,
        };
        let rows = Rows::new(values, self.columns.len()).given(context, self.context_dim());
        Ok((rows, log_det))
    }
}
