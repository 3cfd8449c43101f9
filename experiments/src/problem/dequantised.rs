//! Training rows of discrete values, with noise drawn anew for every batch.

use flows_bench::table::Dequantisation;
use flows_core::tensor::cast;
use flows_core::train::{Minibatch, Source, TableSource};
use flows_core::{Error, Real, stream};

use crate::data::Units;

/// Uniform dequantisation: minibatches of discrete rows, each with its own noise of one step.
///
/// The noise of a batch depends on the seed and the number of the step alone, so that a run that is
/// resumed goes on with the same. Training on the noise of a table once dequantised, a flow with many
/// weights learns that noise by heart.
///
/// # Reference
/// Theis, van den Oord, Bethge, *A note on the evaluation of generative models*, ICLR 2016, section
/// 3.1; review, Section 5.3.
#[derive(Debug)]
pub(super) struct Dequantised<'a> {
    /// Rows without noise, in the table's units, with their conditioning features.
    pub(super) rows: TableSource<f64>,
    /// The noise.
    pub(super) noise: &'a Dequantisation,
    /// From the table's units to the flow's.
    pub(super) units: &'a Units,
    /// Of the noise.
    pub(super) seed: u64,
}

impl<E: Real> Source<E> for Dequantised<'_> {
    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn context_dim(&self) -> usize {
        self.rows.context_dim()
    }

    fn minibatch(&self, step: u64, rows: usize) -> flows_core::Result<Minibatch<E>> {
        let Minibatch { mut values, context } = self.rows.minibatch(step, rows)?;
        let mut rng = stream(self.seed, &format!("noise {step}"));
        self.noise.add(&mut values, self.rows.dim(), &mut rng);
        self.units.apply(&mut values).map_err(|error| Error::Caller(error.to_string()))?;
        Ok(Minibatch { values: cast(&values), context: cast(&context) })
    }
}
