//! The digits with their classes, dequantised and standardised, in random parts.

use anyhow::Result;
use flows_bench::table::{RandomSplit, SplitRule, digits};
use flows_core::Real;
use flows_core::train::{Minibatch, Source};

use crate::data::TableData;
use crate::problem::ProblemData;
use crate::rows::Rows;

/// Share of the rows that test. The tenth of the file that tests elsewhere has too few for an accuracy.
const TEST: f64 = 0.2;

/// Digits to train, validate and test on; a row's class is its context.
pub(super) struct LabelledDigits {
    /// In the units of a flow.
    pub(super) data: ProblemData,
    /// Levels 0 to 16 of the test rows' pixels, without noise.
    pub(super) test_levels: Vec<f64>,
}

impl LabelledDigits {
    pub(super) fn new(seed: u64) -> Result<Self> {
        let all = digits()?;
        let split = RandomSplit { seed: Some(seed), test: TEST, ..RandomSplit::default() };
        let split = SplitRule::Random(split).split(all.table.rows())?;
        let mut data = TableData::plain(&all.table, all.dequantisation, &split)?;
        let given = |rows: Rows, indices: &[usize]| {
            rows.given(indices.iter().map(|&row| all.classes[row] as f64).collect(), 1)
        };
        data.training = given(data.training, &split.training);
        data.validation = given(data.validation, &split.validation);
        data.test = given(data.test, &split.test);
        let test_levels = all.table.select_rows(&split.test)?.into_values();
        Ok(Self { data: ProblemData::of_table(data, seed), test_levels })
    }

    /// Minibatches for a flow that does not see the classes.
    pub(super) fn unlabelled<E: Real>(&self) -> Result<Unlabelled<'_, E>> {
        Ok(Unlabelled(self.data.source()?))
    }
}

/// Minibatches without their contexts.
pub(super) struct Unlabelled<'a, E: Real>(Box<dyn Source<E> + 'a>);

impl<E: Real> Source<E> for Unlabelled<'_, E> {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn minibatch(&self, step: u64, rows: usize) -> flows_core::Result<Minibatch<E>> {
        let Minibatch { values, .. } = self.0.minibatch(step, rows)?;
        Ok(Minibatch { values, context: Vec::new() })
    }
}
