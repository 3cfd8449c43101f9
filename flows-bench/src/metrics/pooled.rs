//! Two samples side by side, and the random relabellings of their rows.

use flows_core::{Stream, stream};
use rand::seq::SliceRandom;
use rayon::prelude::*;

/// Two samples, row by row, the draws first.
#[derive(Clone, Debug)]
pub struct Pooled {
    values: Vec<f64>,
    dim: usize,
    draws: usize,
}

impl Pooled {
    /// Draws and reference of `dim` features, row by row, as they are.
    #[must_use]
    pub fn new(draws: &[f64], reference: &[f64], dim: usize) -> Self {
        Self { values: [draws, reference].concat(), dim, draws: draws.len() / dim }
    }

    /// At most `most` rows of each sample, drawn by the seed where there are more, moved to the means of
    /// the pooled rows and divided by their standard deviations, which no relabelling changes.
    #[must_use]
    pub fn standardised(samples: [&[f64]; 2], dim: usize, most: usize, seed: u64) -> Self {
        let [draws, reference] = samples;
        let draws = some_rows(draws, dim, most, &mut stream(seed, "rows of draws"));
        let reference = some_rows(reference, dim, most, &mut stream(seed, "rows of reference"));
        let mut pooled = Self::new(&draws, &reference, dim);
        pooled.standardise();
        pooled
    }

    /// Features.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Rows of both samples.
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    /// All values, row by row.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// Whether each row is a draw.
    #[must_use]
    pub fn labels(&self) -> Vec<bool> {
        (0..self.rows()).map(|row| row < self.draws).collect()
    }

    /// The labels as they are, and after them `count` random orders of them.
    #[must_use]
    pub fn labellings(&self, count: usize, seed: u64) -> Vec<Vec<bool>> {
        let relabelled = |index: usize| {
            let mut labels = self.labels();
            labels.shuffle(&mut stream(seed, &format!("relabelling {index}")));
            labels
        };
        let mut all = vec![self.labels()];
        all.par_extend((0..count).into_par_iter().map(relabelled));
        all
    }

    /// A feature that does not vary keeps its scale.
    fn standardise(&mut self) {
        let rows = self.rows() as f64;
        for feature in 0..self.dim {
            let column = || self.values.iter().skip(feature).step_by(self.dim);
            let mean = column().sum::<f64>() / rows;
            let variance = column().map(|value| (value - mean).powi(2)).sum::<f64>() / rows;
            let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            for value in self.values.iter_mut().skip(feature).step_by(self.dim) {
                *value = (*value - mean) / scale;
            }
        }
    }
}

/// At most `most` rows, drawn where there are more.
fn some_rows(values: &[f64], dim: usize, most: usize, rng: &mut Stream) -> Vec<f64> {
    let rows = values.len() / dim;
    if rows <= most {
        return values.to_vec();
    }
    let mut chosen: Vec<usize> = (0..rows).collect();
    let (chosen, _) = chosen.partial_shuffle(rng, most);
    chosen.iter().flat_map(|row| &values[row * dim..(row + 1) * dim]).copied().collect()
}
