//! Rows to train, validate and test on.

use anyhow::Result;
use flows_bench::conditional::ConditionalToy;
use flows_bench::table::{Dequantisation, EveryTenth, SplitRule, Table};
use flows_bench::toys::Toy;
use flows_core::tensor::cast;
use flows_core::train::{Minibatch, SamplerSource, Source, TableSource};
use flows_core::{Real, Stream};

use super::dequantised::Dequantised;
use super::held_out::{HeldOut, Known};
use super::row;
use crate::data::{RunData, TableData, context_features};
use crate::rows::Rows;

/// Rows to validate and test on, and where to get rows to train on.
#[derive(Debug)]
pub struct ProblemData {
    /// Validation rows, in the flow's units as all.
    pub validation: Rows,
    /// What to add to a mean negative log-likelihood of the validation rows, so that it is in the
    /// data's own units, and where the density is known varies only by the flow and not by the
    /// draws: their own mean log-density plus the entropy.
    pub validation_offset: f64,
    /// Test rows.
    pub test: Rows,
    /// What to add to the log-density of each test row, so that it is in the data's own units.
    pub test_log_det: Vec<f64>,
    /// True log-density of the test rows, where it is known.
    pub test_log_density: Option<Vec<f64>>,
    /// Mean of what is added to a log-density for the data's own units.
    pub log_det: f64,
    /// What was done to the data, and their columns.
    pub record: RunData,
    /// The rows of the table that the test rows are; empty for draws.
    test_rows: Vec<usize>,
    training: Training,
    seed: u64,
}

/// Where rows to train on come from.
#[derive(Debug)]
enum Training {
    Rows {
        rows: Rows,
        /// Without noise, in the table's units, where columns got noise.
        discrete: Option<Vec<f64>>,
    },
    Toy(Toy),
    Conditional(ConditionalToy),
}

impl ProblemData {
    /// Draws of a density in the plane.
    ///
    /// # Errors
    /// Never.
    pub(super) fn of_toy(toy: Toy, seed: u64) -> Result<Self> {
        let held_out = HeldOut::of(toy.name(), || Known {
            draw: |rows: usize, rng: &mut Stream| Rows::new(toy.sample(rows, rng), 2),
            log_density: |x: &[f64], _: &[f64]| toy.log_density(row(x)),
            entropy: toy.entropy().nats,
            columns: [["x0", "x1"].map(str::to_owned).to_vec(), Vec::new()],
        })?;
        Ok(Self::of_known(&held_out, Training::Toy(toy), seed))
    }

    /// Draws of a conditional density, with the contexts that they are given.
    ///
    /// # Errors
    /// Never.
    pub(super) fn of_conditional(toy: ConditionalToy, seed: u64) -> Result<Self> {
        let held_out = HeldOut::of(toy.name(), || Known {
            draw: |rows: usize, rng: &mut Stream| {
                let (values, context) = toy.sample(rows, rng);
                Rows::new(values, toy.dim()).given(context, toy.context_dim())
            },
            log_density: |x: &[f64], c: &[f64]| toy.log_density(x, c),
            entropy: toy.entropy().nats,
            columns: [toy.columns(), toy.context_columns()],
        })?;
        Ok(Self::of_known(&held_out, Training::Conditional(toy), seed))
    }

    fn of_known(held_out: &HeldOut, training: Training, seed: u64) -> Self {
        let HeldOut { validation, validation_offset, test, test_log_density, record } =
            held_out.clone();
        Self {
            validation,
            validation_offset,
            test_log_det: vec![0.0; test.count()],
            test,
            test_log_density: Some(test_log_density),
            log_det: 0.0,
            record,
            test_rows: Vec::new(),
            training,
            seed,
        }
    }

    /// A table that comes along, and the noise for it.
    ///
    /// # Errors
    /// Those of the table.
    pub(super) fn built_in(table: &Table, noise: Dequantisation, seed: u64) -> Result<Self> {
        let split = SplitRule::EveryTenth(EveryTenth {}).split(table.rows())?;
        Ok(Self::of_table(TableData::plain(table, noise, &split)?, seed))
    }

    /// A table that is ready to train on.
    #[must_use]
    pub fn of_table(data: TableData, seed: u64) -> Self {
        let count = data.validation_log_det.len() as f64;
        let log_det = data.validation_log_det.iter().sum::<f64>() / count;
        Self {
            validation: data.validation,
            validation_offset: -log_det,
            test: data.test,
            test_log_det: data.test_log_det,
            test_log_density: None,
            log_det,
            record: data.record,
            test_rows: data.test_rows,
            training: Training::Rows { rows: data.training, discrete: data.discrete },
            seed,
        }
    }

    /// The row of the table that a test row is, both from 0.
    #[must_use]
    pub fn row_of_test(&self, row: usize) -> usize {
        self.test_rows.get(row).copied().unwrap_or(row)
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.test.dim()
    }

    /// Number of conditioning features.
    pub fn context_dim(&self) -> usize {
        self.test.context_dim()
    }

    /// Rows that simple models are fitted to: the training rows, or the validation rows where every
    /// batch is drawn anew.
    pub fn rows_to_fit(&self) -> &Rows {
        match &self.training {
            Training::Rows { rows, .. } => rows,
            Training::Toy(_) | Training::Conditional(_) => &self.validation,
        }
    }

    /// The rows to train on in the data's own units, without noise; none where every batch is drawn anew.
    ///
    /// # Errors
    /// Never: they come from those units.
    pub fn training_in_own_units(&self) -> Result<Vec<f64>> {
        match &self.training {
            Training::Rows { discrete: Some(discrete), .. } => Ok(discrete.clone()),
            Training::Rows { rows, discrete: None } => self.in_own_units(rows.values().to_vec()),
            Training::Toy(_) | Training::Conditional(_) => Ok(Vec::new()),
        }
    }

    /// Number of rows to train on; `None` where every batch is drawn anew.
    pub fn training_rows(&self) -> Option<usize> {
        match &self.training {
            Training::Rows { rows, .. } => Some(rows.count()),
            Training::Toy(_) | Training::Conditional(_) => None,
        }
    }

    /// Draws, row by row, moved to the data's own units.
    ///
    /// # Errors
    /// Values that do not fill whole rows.
    pub fn in_own_units(&self, mut draws: Vec<f64>) -> Result<Vec<f64>> {
        self.record.units.undo(&mut draws)?;
        Ok(draws)
    }

    /// Where training gets its minibatches.
    ///
    /// # Errors
    /// [`flows_core::Error::Dimension`] without training rows.
    pub fn source<E: Real>(&self) -> Result<Box<dyn Source<E> + '_>> {
        let (dim, seed) = (self.dim(), self.seed);
        Ok(match &self.training {
            Training::Rows { rows, discrete: None } => {
                Box::new(table_source(cast(rows.values()), rows, seed)?)
            }
            Training::Rows { rows, discrete: Some(discrete) } => {
                let RunData { dequantisation: noise, units, .. } = &self.record;
                let rows = table_source(discrete.clone(), rows, seed)?;
                Box::new(Dequantised { rows, noise, units, seed })
            }
            &Training::Toy(toy) => {
                let draw = move |rows: usize, rng: &mut Stream| cast(&toy.sample(rows, rng));
                Box::new(SamplerSource::new(draw, dim, seed))
            }
            &Training::Conditional(toy) => {
                let columns = self.record.context.clone();
                let draw = move |rows: usize, rng: &mut Stream| {
                    let (values, context) = toy.sample(rows, rng);
                    // Numbers can always be standardised.
                    let table = Table::new(Vec::new(), columns.len(), context);
                    let context = table.map(|table| context_features(&columns, &table));
                    let context = context.ok().and_then(Result::ok).unwrap_or_default();
                    Minibatch { values: cast(&values), context: cast(&context) }
                };
                Box::new(SamplerSource::conditional(draw, dim, toy.context_dim(), seed))
            }
        })
    }
}

/// Minibatches of these values, with the contexts of `rows`.
fn table_source<E: Real>(values: Vec<E>, rows: &Rows, seed: u64) -> Result<TableSource<E>> {
    let source = TableSource::new(values, rows.dim(), seed)?;
    Ok(match rows.context_dim() {
        0 => source,
        width => source.with_context(cast(rows.context_values()), width)?,
    })
}
