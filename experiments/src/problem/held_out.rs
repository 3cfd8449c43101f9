//! Held-out draws of a density that is known: the same for every flow and every seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use flows_bench::table::Table;
use flows_core::{Stream, stream};

use crate::data::{ContextColumn, RunData};
use crate::rows::Rows;

/// Draws that reported numbers are means over.
pub const TEST_DRAWS: usize = 100_000;

/// Draws for learning curves.
const VALIDATION_DRAWS: usize = 4_096;

/// Draws to validate and test on, with their true log-densities.
#[derive(Clone, Debug)]
pub(super) struct HeldOut {
    /// Validation rows.
    pub(super) validation: Rows,
    /// Their mean log-density plus the entropy.
    pub(super) validation_offset: f64,
    /// Test rows.
    pub(super) test: Rows,
    /// True log-density of each test row.
    pub(super) test_log_density: Vec<f64>,
    /// Columns and contexts.
    pub(super) record: RunData,
}

/// A density that can be drawn from and evaluated.
pub(super) struct Known<D, L> {
    /// A number of draws, with the contexts that they are given.
    pub(super) draw: D,
    /// Log-density of a row given its context.
    pub(super) log_density: L,
    /// Its entropy, nats.
    pub(super) entropy: f64,
    /// Names of features and contexts.
    pub(super) columns: [Vec<String>; 2],
}

impl HeldOut {
    /// Those of the problem called `name`, which are made once in the life of the program: the runs of
    /// a comparison share them.
    ///
    /// # Errors
    /// A context that does not vary.
    pub(super) fn of<D, L>(name: &str, known: impl FnOnce() -> Known<D, L>) -> Result<Arc<Self>>
    where
        D: Fn(usize, &mut Stream) -> Rows,
        L: Fn(&[f64], &[f64]) -> f64,
    {
        static MADE: Mutex<BTreeMap<String, Arc<HeldOut>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.get(name) {
            return Ok(Arc::clone(made));
        }
        let held_out = Arc::new(Self::draw(known())?);
        made.insert(name.to_owned(), Arc::clone(&held_out));
        Ok(held_out)
    }

    fn draw<D, L>(Known { draw, log_density, entropy, columns }: Known<D, L>) -> Result<Self>
    where
        D: Fn(usize, &mut Stream) -> Rows,
        L: Fn(&[f64], &[f64]) -> f64,
    {
        let test = draw(TEST_DRAWS, &mut stream(0, "test"));
        let validation = draw(VALIDATION_DRAWS, &mut stream(0, "validation"));
        let log_densities =
            |rows: &Rows| -> Vec<f64> { rows.iter().map(|(x, c)| log_density(x, c)).collect() };
        let mean = log_densities(&validation).iter().sum::<f64>() / VALIDATION_DRAWS as f64;
        let test_log_density = log_densities(&test);
        let [columns, contexts] = columns;
        let context = match contexts.len() {
            0 => Vec::new(),
            width => {
                let values = validation.context_values().to_vec();
                let all: Vec<usize> = (0..VALIDATION_DRAWS).collect();
                ContextColumn::fit(&Table::new(contexts, width, values)?, &all)?
            }
        };
        let record = RunData::of_columns(columns, context)?;
        Ok(Self {
            validation: record.with_features(validation)?,
            validation_offset: mean + entropy,
            test: record.with_features(test)?,
            test_log_density,
            record,
        })
    }
}
