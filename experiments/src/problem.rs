//! The problems of a comparison: toys with known densities, tables that come along, and the user's.

mod user_table;

use std::sync::Arc;

use anyhow::{Context, Result};
use flows_bench::table::{EveryTenth, SplitRule, Table, digits, red_wine};
use flows_bench::toys::Toy;
use flows_core::tensor::cast;
use flows_core::train::{SamplerSource, Source, TableSource};
use flows_core::{Real, Stream, stream};

use crate::Usage;
use crate::data::{RunData, TableData};
use crate::rows::Rows;

pub use user_table::{UserTable, warn_of_integers};

/// Held-out draws of a toy that reported numbers are means over.
pub const TEST_DRAWS: usize = 100_000;

/// Held-out draws of a toy for learning curves.
const VALIDATION_DRAWS: usize = 4_096;

/// Something to learn.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A density in the plane that is known.
    Toy(Toy),
    /// 1,599 red wines, 11 measurements each, dequantised.
    RedWine,
    /// 1,797 handwritten digits, 8 x 8 pixels each, dequantised.
    Digits,
    /// A table of the user's.
    File(Arc<UserTable>),
}

const RED_WINE: &str = "red-wine";
const DIGITS: &str = "digits";

impl Problem {
    /// All problems that need no file.
    pub fn all() -> impl Iterator<Item = Self> {
        Toy::ALL.into_iter().map(Self::Toy).chain([Self::RedWine, Self::Digits])
    }

    /// The problem called `name`.
    ///
    /// # Errors
    /// [`Usage`] with all names, if there is none.
    pub fn named(name: &str) -> Result<Self> {
        let names = || Self::all().map(|p| p.name().to_owned()).collect::<Vec<_>>().join(", ");
        Self::all()
            .find(|problem| problem.name() == name)
            .ok_or_else(|| Usage(format!("unknown problem {name:?}; there are {}", names())).into())
    }

    /// Name on the command line and of folders.
    pub fn name(&self) -> &str {
        match self {
            Self::Toy(toy) => toy.name(),
            Self::RedWine => RED_WINE,
            Self::Digits => DIGITS,
            Self::File(table) => table.name(),
        }
    }

    /// Name for readers.
    pub fn title(&self) -> &str {
        match self {
            Self::RedWine => "red wine",
            Self::File(table) => table.title(),
            _ => self.name(),
        }
    }

    /// What `compare` is told to have this table of the user's.
    pub fn arguments(&self) -> Option<String> {
        let Self::File(table) = self else { return None };
        Some(table.arguments())
    }

    /// The density, where it is known.
    pub fn toy(&self) -> Option<Toy> {
        match self {
            Self::Toy(toy) => Some(*toy),
            _ => None,
        }
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        match self {
            Self::Toy(_) => 2,
            Self::RedWine => 11,
            Self::Digits => 64,
            Self::File(table) => table.data().test.dim(),
        }
    }

    /// Number of conditioning features.
    pub fn context_dim(&self) -> usize {
        match self {
            Self::Toy(_) | Self::RedWine | Self::Digits => 0,
            Self::File(table) => table.data().test.context_dim(),
        }
    }

    /// One line for `list`.
    pub fn description(&self) -> String {
        match self {
            Self::Toy(toy) => format!("2-D density, entropy {:.4} nats", toy.entropy().nats),
            Self::RedWine => "table of 1,599 x 11 measurements, dequantised".into(),
            Self::Digits => "table of 1,797 x 64 pixels of digits, dequantised".into(),
            Self::File(table) => {
                let rows: usize = table.data().record.rows.iter().sum();
                format!("{rows} x {}", self.dim())
            }
        }
    }

    /// The data of a run with this seed.
    ///
    /// # Errors
    /// Never for toys; those of the table otherwise.
    pub fn data(&self, seed: u64) -> Result<ProblemData> {
        // The noise is part of the problem: the same for every flow and every seed.
        let mut noise = stream(0, "dequantise");
        match self {
            Self::Toy(toy) => Ok(ProblemData::toy(*toy, seed)),
            Self::RedWine => ProblemData::built_in(&red_wine(&mut noise)?.table, seed),
            Self::Digits => ProblemData::built_in(&digits(&mut noise)?.table, seed),
            Self::File(table) => Ok(ProblemData::of_table(table.data().clone(), seed)),
        }
    }
}

/// Rows to validate and test on, and where to get rows to train on.
#[derive(Debug)]
pub struct ProblemData {
    /// Names of the features; empty for toys.
    pub columns: Vec<String>,
    /// Validation rows, in the flow's units as all.
    pub validation: Rows,
    /// What to add to a mean negative log-likelihood of the validation rows, so that it is in the
    /// data's own units, and for toys varies only by the flow and not by the draws: their own
    /// mean log-density plus the entropy.
    pub validation_offset: f64,
    /// Test rows.
    pub test: Rows,
    /// What to add to the log-density of each test row, so that it is in the data's own units.
    pub test_log_det: Vec<f64>,
    /// True log-density of the test rows, where it is known.
    pub test_log_density: Option<Vec<f64>>,
    /// What was done to a table; nothing to a toy.
    pub record: Option<RunData>,
    /// Rows to train on; a toy draws fresh ones.
    training: Option<Rows>,
    toy: Option<Toy>,
    seed: u64,
}

fn row(x: &[f64]) -> [f64; 2] {
    [x[0], x[1]]
}

impl ProblemData {
    fn toy(toy: Toy, seed: u64) -> Self {
        // The same held-out draws for every flow and every seed.
        let test = toy.sample(TEST_DRAWS, &mut stream(0, "test"));
        let validation = toy.sample(VALIDATION_DRAWS, &mut stream(0, "validation"));
        let log_density = |rows: &[f64]| -> Vec<f64> {
            rows.chunks_exact(2).map(|x| toy.log_density(row(x))).collect()
        };
        let mean = log_density(&validation).iter().sum::<f64>() / VALIDATION_DRAWS as f64;
        Self {
            columns: Vec::new(),
            validation: Rows::new(validation, 2),
            validation_offset: mean + toy.entropy().nats,
            test_log_density: Some(log_density(&test)),
            test_log_det: vec![0.0; TEST_DRAWS],
            test: Rows::new(test, 2),
            record: None,
            training: None,
            toy: Some(toy),
            seed,
        }
    }

    fn built_in(table: &Table, seed: u64) -> Result<Self> {
        let split = SplitRule::EveryTenth(EveryTenth {}).split(table.rows())?;
        Ok(Self::of_table(TableData::plain(table, &split)?, seed))
    }

    /// A table that is ready to train on.
    #[must_use]
    pub fn of_table(data: TableData, seed: u64) -> Self {
        let rows = data.validation_log_det.len() as f64;
        Self {
            columns: data.record.columns.clone(),
            validation: data.validation,
            validation_offset: -data.validation_log_det.iter().sum::<f64>() / rows,
            test: data.test,
            test_log_det: data.test_log_det,
            test_log_density: None,
            training: Some(data.training),
            record: Some(data.record),
            toy: None,
            seed,
        }
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.test.dim()
    }

    /// Number of conditioning features.
    pub fn context_dim(&self) -> usize {
        self.test.context_dim()
    }

    /// Number of rows to train on; `None` where every batch is drawn anew.
    pub fn training_rows(&self) -> Option<usize> {
        self.training.as_ref().map(Rows::count)
    }

    /// Draws, row by row, moved to the data's own units.
    ///
    /// # Errors
    /// Values that do not fill whole rows.
    pub fn in_own_units(&self, mut draws: Vec<f64>) -> Result<Vec<f64>> {
        if let Some(record) = &self.record {
            record.units.undo(&mut draws)?;
        }
        Ok(draws)
    }

    /// Where training gets its minibatches.
    ///
    /// # Errors
    /// [`flows_core::Error::Dimension`] without training rows.
    pub fn source<E: Real>(&self) -> Result<Box<dyn Source<E>>> {
        if let Some(rows) = &self.training {
            let source = TableSource::new(cast(rows.values()), rows.dim(), self.seed)?;
            return Ok(Box::new(match rows.context_dim() {
                0 => source,
                width => source.with_context(cast(rows.context_values()), width)?,
            }));
        }
        let toy = self.toy.context("a problem is a toy or a table")?;
        let draw = move |rows: usize, rng: &mut Stream| cast(&toy.sample(rows, rng));
        Ok(Box::new(SamplerSource::new(draw, self.dim(), self.seed)))
    }
}
