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
    context_dim: usize,
    seed: u64,
}

impl<F> std::fmt::Debug for SamplerSource<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SamplerSource")
            .field("dim", &self.dim)
            .field("context_dim", &self.context_dim)
            .field("seed", &self.seed)
            .finish()
    }
}

impl<F> SamplerSource<F> {
    /// `sample` draws a number of rows of `dim` columns.
    pub fn new(sample: F, dim: usize, seed: u64) -> Self {
        Self { sample, dim, context_dim: 0, seed }
    }
}

/// A sampler that draws values with contexts, as a [`Minibatch`].
#[derive(Clone, Copy, Debug)]
pub struct WithContext<F>(F);

impl<F> SamplerSource<WithContext<F>> {
    /// `sample` draws a number of rows as a [`Minibatch`]: `dim` columns of values with
    /// `context_dim` conditioning features for every row.
    pub fn conditional<E: Real>(sample: F, dim: usize, context_dim: usize, seed: u64) -> Self
    where
        F: Fn(usize, &mut Stream) -> Minibatch<E>,
    {
        Self { sample: WithContext(sample), dim, context_dim, seed }
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

impl<E, F> Source<E> for SamplerSource<WithContext<F>>
where
    E: Real,
    F: Fn(usize, &mut Stream) -> Minibatch<E>,
{
    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    /// # Errors
    /// [`Error::Dimension`] unless the draws of values fill whole rows; [`Error::Rows`] unless
    /// there are as many rows of context.
    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<E>> {
        let rng = &mut stream(self.seed, &format!("step {step}"));
        let batch = (self.sample.0)(rows, rng);
        let got = batch.values.len();
        if self.dim == 0 || !got.is_multiple_of(self.dim) {
            return Err(Error::Dimension { op: "rows of a sampler", expected: self.dim, got });
        }
        let expected = got / self.dim;
        if batch.context.len() != expected * self.context_dim {
            let got = batch.context.len() / self.context_dim.max(1);
            return Err(Error::Rows { op: "context of a sampler", expected, got });
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::{Minibatch, SamplerSource, Source};
    use crate::{Error, Stream, normals};

    #[test]
    fn a_conditional_sampler_gives_each_row_its_context_and_each_step_the_same_rows_again() {
        let draw = |rows, rng: &mut Stream| {
            let context = normals::<f64>(2 * rows, rng);
            let values = context.chunks(2).flat_map(|c| [c[0], c[1], c[0] + c[1]]).collect();
            Minibatch { values, context }
        };
        let source = SamplerSource::conditional(draw, 3, 2, 5);
        assert_eq!((source.dim(), source.context_dim()), (3, 2));
        let batch = source.minibatch(4, 10).unwrap();
        assert_eq!((batch.values.len(), batch.context.len()), (30, 20));
        for (x, c) in batch.values.chunks(3).zip(batch.context.chunks(2)) {
            assert_eq!(x, [c[0], c[1], c[0] + c[1]]);
        }
        assert_eq!(batch, source.minibatch(4, 10).unwrap());
        assert_ne!(batch, source.minibatch(5, 10).unwrap());

        let error = SamplerSource::conditional(draw, 3, 1, 5).minibatch(0, 10).unwrap_err();
        assert!(matches!(error, Error::Rows { expected: 10, got: 20, .. }), "{error}");
        let error = SamplerSource::conditional(draw, 4, 2, 5).minibatch(0, 10).unwrap_err();
        assert!(matches!(error, Error::Dimension { expected: 4, got: 30, .. }), "{error}");
    }
}
