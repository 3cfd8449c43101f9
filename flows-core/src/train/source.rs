//! Sources of minibatches. Each minibatch is a function of the seed and the step, so that a resumed
//! run sees the same rows as an uninterrupted one.

use std::sync::{Mutex, PoisonError};

use rand::seq::SliceRandom;

use crate::{Error, Real, Result, Stream, stream};

/// The rows of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Minibatch<E> {
    /// Row by row.
    pub values: Vec<E>,
    /// Conditioning features of the same rows, row by row; empty without conditioning.
    pub context: Vec<E>,
}

/// A source of minibatches.
pub trait Source<E: Real> {
    /// Columns of the values.
    fn dim(&self) -> usize;

    /// Columns of the context, 0 without conditioning.
    fn context_dim(&self) -> usize {
        0
    }

    /// The rows of step `step`: at most `rows`, fewer if there are not as many.
    ///
    /// # Errors
    /// Errors of the source.
    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<E>>;
}

/// Minibatches of a table: every row once an epoch, in a new order each epoch; the last rows of an
/// epoch that do not fill a batch are left out.
#[derive(Debug)]
pub struct TableSource<E> {
    values: Vec<E>,
    dim: usize,
    context: Vec<E>,
    context_dim: usize,
    seed: u64,
    /// The order of the latest epoch, cached.
    latest: Mutex<(u64, Vec<usize>)>,
}

impl<E: Real> TableSource<E> {
    /// A table of `dim` columns, stored row by row.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the values fill one or more whole rows.
    pub fn new(values: Vec<E>, dim: usize, seed: u64) -> Result<Self> {
        if values.is_empty() || dim == 0 || !values.len().is_multiple_of(dim) {
            let got = values.len();
            return Err(Error::Dimension { op: "rows of a table", expected: dim, got });
        }
        let latest = Mutex::new((0, Vec::new()));
        Ok(Self { values, dim, context: Vec::new(), context_dim: 0, seed, latest })
    }

    /// With `context_dim` conditioning features for every row.
    ///
    /// # Errors
    /// [`Error::Rows`] unless there are as many rows of context as of values.
    pub fn with_context(mut self, context: Vec<E>, context_dim: usize) -> Result<Self> {
        let expected = self.values.len() / self.dim;
        if context_dim == 0 || context.len() != expected * context_dim {
            let got = context.len() / context_dim.max(1);
            return Err(Error::Rows { op: "context of a table", expected, got });
        }
        (self.context, self.context_dim) = (context, context_dim);
        Ok(self)
    }
}

impl<E: Real> Source<E> for TableSource<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<E>> {
        let total = self.values.len() / self.dim;
        let rows = rows.clamp(1, total);
        let batches = (total / rows) as u64;
        let (epoch, place) = (step / batches, (step % batches) as usize);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.0 != epoch || latest.1.is_empty() {
            let mut order: Vec<usize> = (0..total).collect();
            order.shuffle(&mut stream(self.seed, &format!("epoch {epoch}")));
            *latest = (epoch, order);
        }
        let order = &latest.1;
        let mut values = Vec::with_capacity(rows * self.dim);
        let mut context = Vec::with_capacity(rows * self.context_dim);
        for &row in &order[place * rows..(place + 1) * rows] {
            values.extend_from_slice(&self.values[row * self.dim..(row + 1) * self.dim]);
            let its = row * self.context_dim..(row + 1) * self.context_dim;
            context.extend_from_slice(&self.context[its]);
        }
        Ok(Minibatch { values, context })
    }
}

/// Fresh draws for every step.
pub struct SamplerSource<F> {
    sample: F,
    dim: usize,
    seed: u64,
}

impl<F> std::fmt::Debug for SamplerSource<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SamplerSource").field("dim", &self.dim).field("seed", &self.seed).finish()
    }
}

impl<F> SamplerSource<F> {
    /// `sample` draws a number of rows of `dim` columns.
    pub fn new(sample: F, dim: usize, seed: u64) -> Self {
        Self { sample, dim, seed }
    }
}

impl<E: Real, F: Fn(usize, &mut Stream) -> Vec<E>> Source<E> for SamplerSource<F> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<E>> {
        let values = (self.sample)(rows, &mut stream(self.seed, &format!("step {step}")));
        Ok(Minibatch { values, context: Vec::new() })
    }
}
