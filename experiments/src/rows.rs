//! Rows of features, each with its conditioning features.

use anyhow::Result;
use flows_core::tensor::{batch, cast};
use flows_core::{Batch, Context, Flow, Real};

use crate::CHUNK;

/// Rows of a conditional density p(x | c): the features x and, where there are any, the conditioning
/// features c of each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    values: Vec<f64>,
    dim: usize,
    context: Vec<f64>,
    context_dim: usize,
}

impl Rows {
    /// Rows of `dim` features without a context, one after another.
    #[must_use]
    pub fn new(values: Vec<f64>, dim: usize) -> Self {
        Self { values, dim, ..Self::default() }
    }

    /// With `context_dim` conditioning features for every row; none if that is 0.
    #[must_use]
    pub fn given(self, context: Vec<f64>, context_dim: usize) -> Self {
        Self { context, context_dim, ..self }
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of conditioning features.
    #[must_use]
    pub fn context_dim(&self) -> usize {
        self.context_dim
    }

    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    /// The features, row by row.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The conditioning features, row by row.
    #[must_use]
    pub fn context_values(&self) -> &[f64] {
        &self.context
    }

    /// Features and conditioning features of each row.
    pub fn iter(&self) -> impl Iterator<Item = (&[f64], &[f64])> {
        (0..self.count()).map(|row| {
            let context = row * self.context_dim..(row + 1) * self.context_dim;
            (&self.values[row * self.dim..(row + 1) * self.dim], &self.context[context])
        })
    }

    /// The first `count` rows, or all if there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.count());
        let values = self.values[..count * self.dim].to_vec();
        Self::new(values, self.dim)
            .given(self.context[..count * self.context_dim].to_vec(), self.context_dim)
    }

    /// The rows with these indices, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let part = |values: &[f64], width: usize| {
            rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
        };
        Self::new(part(&self.values, self.dim), self.dim)
            .given(part(&self.context, self.context_dim), self.context_dim)
    }

    /// `count` rows: these, over and over.
    #[must_use]
    pub fn repeated(&self, count: usize) -> Self {
        let cycle = |values: &[f64], width: usize| {
            values.iter().copied().cycle().take(count * width).collect()
        };
        Self::new(cycle(&self.values, self.dim), self.dim)
            .given(cycle(&self.context, self.context_dim), self.context_dim)
    }

    /// The conditioning features as a flow takes them.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn context<E: Real>(&self) -> Result<Context<E>> {
        context(&self.context, self.context_dim)
    }

    /// The rows in batches of a few thousand, with the number of the first row of each.
    ///
    /// # Errors
    /// Each, if memory runs out.
    pub fn batches<E: Real>(
        &self,
    ) -> impl Iterator<Item = Result<(usize, Batch<E>, Context<E>)>> + '_ {
        (0..self.count()).step_by(CHUNK).map(|first| {
            let count = CHUNK.min(self.count() - first);
            let values = &self.values[first * self.dim..(first + count) * self.dim];
            let (from, to) = (first * self.context_dim, (first + count) * self.context_dim);
            let context = context(&self.context[from..to], self.context_dim)?;
            Ok((first, batch(cast(values), count, self.dim)?, context))
        })
    }

    /// The log-density of each row under a flow, nats.
    ///
    /// # Errors
    /// As [`Flow::evaluate`].
    pub fn log_prob<E: Real>(&self, flow: &Flow<E>) -> Result<Vec<f64>> {
        Ok(flow.evaluate(&cast::<E>(&self.values), &self.context()?)?.0)
    }
}

/// Conditioning features, row by row, as a flow takes them.
///
/// # Errors
/// If memory runs out.
pub fn context<E: Real>(values: &[f64], width: usize) -> Result<Context<E>> {
    if width == 0 {
        return Ok(Context::none());
    }
    Ok(Context::of(batch(cast(values), values.len() / width, width)?))
}
