//! The problems of a comparison: toys with known densities, tables that come along, and the user's.

mod user_table;

use std::sync::Arc;

use anyhow::{Context, Result};
use flows_bench::table::{EveryTenth, Split, SplitRule, Standardiser, Table, digits, red_wine};
use flows_bench::toys::Toy;
use flows_core::tensor::cast;
use flows_core::train::{SamplerSource, Source, TableSource};
use flows_core::{Real, Stream, stream};

use crate::Usage;

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
            Self::File(table) => table.table().columns(),
        }
    }

    /// One line for `list`.
    pub fn description(&self) -> String {
        match self {
            Self::Toy(toy) => format!("2-D density, entropy {:.4} nats", toy.entropy().nats),
            Self::RedWine => "table of 1,599 x 11 measurements, dequantised".into(),
            Self::Digits => "table of 1,797 x 64 pixels of digits, dequantised".into(),
            Self::File(table) => format!("{} x {}", table.table().rows(), self.dim()),
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
            Self::RedWine => ProblemData::table(&red_wine(&mut noise)?.table, seed),
            Self::Digits => ProblemData::table(&digits(&mut noise)?.table, seed),
            Self::File(table) => {
                ProblemData::table(table.table(), seed).with_context(|| table.title().to_owned())
            }
        }
    }
}

/// Rows to validate and test on, and where to get rows to train on.
#[derive(Debug)]
pub struct ProblemData {
    /// Number of features.
    pub dim: usize,
    /// Names of the features; empty for toys.
    pub columns: Vec<String>,
    /// Validation rows, standardised for tables.
    pub validation: Vec<f64>,
    /// What to add to a mean negative log-likelihood of the validation rows, so that it is in the
    /// data's own units, and for toys varies only by the flow and not by the draws: their own
    /// mean log-density plus the entropy.
    pub validation_offset: f64,
    /// Test rows, standardised for tables.
    pub test: Vec<f64>,
    /// True log-density of the test rows, for toys.
    pub test_log_density: Option<Vec<f64>>,
    /// Moves between the data's own units and those of the flow; the identity for toys.
    pub standardiser: Option<Standardiser>,
    /// Rows to train on, standardised; a toy draws fresh ones.
    training: Option<Vec<f64>>,
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
            dim: 2,
            columns: Vec::new(),
            validation,
            validation_offset: mean + toy.entropy().nats,
            test_log_density: Some(log_density(&test)),
            test,
            standardiser: None,
            training: None,
            toy: Some(toy),
            seed,
        }
    }

    fn table(table: &Table, seed: u64) -> Result<Self> {
        let split = SplitRule::EveryTenth(EveryTenth {}).split(table.rows())?;
        Self::of_table(table, &split, seed)
    }

    /// A table with its split, standardised by the training rows.
    ///
    /// # Errors
    /// A constant column, or fewer than two training rows.
    pub fn of_table(table: &Table, split: &Split, seed: u64) -> Result<Self> {
        let standardiser = Standardiser::fit(table, &split.training)?;
        let part = |rows: &[usize]| -> Result<Vec<f64>> {
            let mut values = table.select_rows(rows)?.into_values();
            standardiser.apply(&mut values)?;
            Ok(values)
        };
        Ok(Self {
            dim: table.columns(),
            columns: table.names().to_vec(),
            validation: part(&split.validation)?,
            validation_offset: -standardiser.log_det(),
            test: part(&split.test)?,
            test_log_density: None,
            training: Some(part(&split.training)?),
            standardiser: Some(standardiser),
            toy: None,
            seed,
        })
    }

    /// Number of rows to train on; `None` where every batch is drawn anew.
    pub fn training_rows(&self) -> Option<usize> {
        self.training.as_ref().map(|values| values.len() / self.dim)
    }

    /// Nats to add to a log-density in the flow's units to have it in the data's.
    pub fn log_det(&self) -> f64 {
        self.standardiser.as_ref().map_or(0.0, Standardiser::log_det)
    }

    /// Where training gets its minibatches.
    ///
    /// # Errors
    /// [`flows_core::Error::Dimension`] without training rows.
    pub fn source<E: Real>(&self) -> Result<Box<dyn Source<E>>> {
        if let Some(training) = &self.training {
            return Ok(Box::new(TableSource::new(cast(training), self.dim, self.seed)?));
        }
        let toy = self.toy.context("a problem is a toy or a table")?;
        let draw = move |rows: usize, rng: &mut Stream| cast(&toy.sample(rows, rng));
        Ok(Box::new(SamplerSource::new(draw, self.dim, self.seed)))
    }
}
