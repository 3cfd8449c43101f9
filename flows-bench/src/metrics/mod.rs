//! Distances between two samples, each with what it is between samples of one distribution.
//!
//! Likelihoods mislead where a flow is good on rows and poor in its draws; these compare draws with held-out
//! rows directly. The null band of a distance is that of random relabellings of the pooled rows, which
//! are exchangeable if both samples have one distribution: above [`Distance::null_95`] a distance then lies
//! with probability 1/20, whatever the distribution, the dimension, and the sizes of the samples.

mod frechet;
mod sliced;

use flows_core::{Stream, normals, stream};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;

pub use frechet::frechet;
pub use sliced::Sliced;

/// Most rows of a sample that are looked at, drawn by the seed.
pub const MOST_ROWS: usize = 20_000;

/// Fewest rows of a sample.
pub const LEAST_ROWS: usize = 10;

/// Random directions of the sliced distances.
const DIRECTIONS: usize = 100;

/// Relabellings of the sliced distances: with the value in question 201, of which ten are above the 95 %
/// point.
const RELABELLINGS: usize = 200;

/// Features above which the Fréchet distance has fewer relabellings, each of which decomposes matrices.
const MANY_FEATURES: usize = 32;

/// Its relabellings then.
const FEW_RELABELLINGS: usize = 40;

/// Why two samples cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// Too few rows.
    #[error("{sample}: expected at least {LEAST_ROWS} rows, got {rows}; give more")]
    Rows {
        /// Which sample.
        sample: &'static str,
        /// How many it has.
        rows: usize,
    },
    /// A value that is no number.
    #[error("{sample}, row {row} (from 0): expected finite values, got {value}; leave the row out")]
    Value {
        /// Which sample.
        sample: &'static str,
        /// The row.
        row: usize,
        /// The value.
        value: f64,
    },
}

/// A distance between two samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Its name.
    pub name: &'static str,
    /// Between draws and reference.
    pub value: f64,
    /// Its median if both had one distribution.
    pub null_median: f64,
    /// What it exceeds with probability 0.05 then.
    pub null_95: f64,
}

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

    fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    /// Whether each row is a draw.
    #[must_use]
    pub fn labels(&self) -> Vec<bool> {
        (0..self.rows()).map(|row| row < self.draws).collect()
    }
}

/// The sliced Wasserstein, the sliced Kolmogorov-Smirnov and the Fréchet distance between draws and a
/// reference of `dim` features, in units of the standard deviations of the pooled rows; directions, rows of
/// large samples and relabellings are drawn by the seed.
///
/// # Errors
/// [`MetricError`] for too few rows or a value that is not finite.
pub fn distances(
    draws: &[f64],
    reference: &[f64],
    dim: usize,
    seed: u64,
) -> Result<Vec<Distance>, MetricError> {
    for (sample, values) in [("draws", draws), ("reference", reference)] {
        let rows = values.len() / dim.max(1);
        if rows < LEAST_ROWS {
            return Err(MetricError::Rows { sample, rows });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(MetricError::Value { sample, row: index / dim, value: values[index] });
        }
    }
    let [mut draws, mut reference] =
        [("draws", draws), ("reference", reference)].map(|(name, values)| {
            some_rows(values, dim, &mut stream(seed, &format!("rows of {name}")))
        });
    standardise(&mut draws, &mut reference, dim);
    let pooled = Pooled::new(&draws, &reference, dim);
    let sliced = Sliced::new(&pooled, &directions(dim, &mut stream(seed, "directions")));
    let labels = pooled.labels();
    let relabelled = |count: usize| {
        (0..count).into_par_iter().map(|index| {
            let mut labels = labels.clone();
            labels.shuffle(&mut stream(seed, &format!("relabelling {index}")));
            labels
        })
    };
    let [wasserstein, smirnov] = sliced.values(&labels);
    let nulls: Vec<[f64; 2]> =
        relabelled(RELABELLINGS).map(|labels| sliced.values(&labels)).collect();
    let null = |of: usize| nulls.iter().map(|values| values[of]).collect::<Vec<f64>>();
    let count = if dim > MANY_FEATURES { FEW_RELABELLINGS } else { RELABELLINGS };
    let of_moments = relabelled(count).map(|labels| frechet(&pooled, &labels)).collect();
    Ok(vec![
        distance("sliced_wasserstein", wasserstein, null(0)),
        distance("sliced_kolmogorov_smirnov", smirnov, null(1)),
        distance("frechet", frechet(&pooled, &labels), of_moments),
    ])
}

fn distance(name: &'static str, value: f64, mut null: Vec<f64>) -> Distance {
    null.sort_by(f64::total_cmp);
    // Of n + 1 exchangeable values, the one in question is above the k-th smallest of the others with
    // probability 1 - k / (n + 1).
    let at = |share: f64| {
        let rank = (share * (null.len() + 1) as f64).ceil() as usize;
        null[rank.clamp(1, null.len()) - 1]
    };
    Distance { name, value, null_median: at(0.5), null_95: at(0.95) }
}

/// At most [`MOST_ROWS`] rows, drawn where there are more.
fn some_rows(values: &[f64], dim: usize, rng: &mut Stream) -> Vec<f64> {
    let rows = values.len() / dim;
    if rows <= MOST_ROWS {
        return values.to_vec();
    }
    let mut chosen: Vec<usize> = (0..rows).collect();
    let (chosen, _) = chosen.partial_shuffle(rng, MOST_ROWS);
    chosen.iter().flat_map(|row| &values[row * dim..(row + 1) * dim]).copied().collect()
}

/// Moves both to the means of the pooled rows and divides by their standard deviations, which no
/// relabelling changes; a feature that does not vary keeps its scale.
fn standardise(draws: &mut [f64], reference: &mut [f64], dim: usize) {
    let count = ((draws.len() + reference.len()) / dim) as f64;
    for feature in 0..dim {
        let column = draws.iter().skip(feature).step_by(dim);
        let column = column.chain(reference.iter().skip(feature).step_by(dim));
        let mean = column.clone().sum::<f64>() / count;
        let variance = column.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        for values in [&mut *draws, &mut *reference] {
            for value in values.iter_mut().skip(feature).step_by(dim) {
                *value = (*value - mean) / scale;
            }
        }
    }
}

/// Uniform directions, row by row; of one feature, its own.
fn directions(dim: usize, rng: &mut Stream) -> Vec<f64> {
    if dim == 1 {
        return vec![1.0];
    }
    let mut directions: Vec<f64> = normals(DIRECTIONS * dim, rng);
    for direction in directions.chunks_exact_mut(dim) {
        let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
        direction.iter_mut().for_each(|v| *v /= length);
    }
    directions
}
