//! Distances between two samples, each with what it is between samples of one distribution.
//!
//! Likelihoods mislead where a flow is good on rows and poor in its draws; these compare draws with held-out
//! rows directly. The null band of a distance is that of random relabellings of the pooled rows, which
//! are exchangeable if both samples have one distribution: above [`Distance::null_95`] a distance then lies
//! with probability 1/20, whatever the distribution, the dimension, and the sizes of the samples. The
//! classifier, which would have to be trained for every relabelling, has a binomial one.
//!
//! [`Calibration`] does the same for conditional densities: each truth is one among draws given its
//! context.

mod auroc;
mod c2st;
mod calibration;
mod distance;
mod frechet;
mod mmd;
mod pooled;
mod sliced;

pub use auroc::auroc;
pub use c2st::{Classifier, c2st};
pub use calibration::{Calibration, ConditionalDraws};
pub use distance::Distance;
pub use frechet::frechet;
pub use mmd::{median_distance, mmd};
pub use pooled::Pooled;
pub use sliced::Sliced;

use flows_core::{Stream, normals, stream};
use rayon::prelude::*;

/// Most rows of a sample that are looked at, drawn by the seed.
pub const MOST_ROWS: usize = 10_000;

/// Fewest rows of a sample.
pub const LEAST_ROWS: usize = 10;

/// Random directions of the sliced distances.
const DIRECTIONS: usize = 100;

/// Relabellings: with the value in question 201, of which ten are above the 95 % point.
const RELABELLINGS: usize = 200;

/// Features above which the Fréchet distance has fewer relabellings, each of which decomposes matrices.
const MANY_FEATURES: usize = 32;

/// Its relabellings then.
const FEW_RELABELLINGS: usize = 40;

/// Why two samples cannot be compared.
#[derive(Debug, thiserror::Error)]
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
    /// The classifier cannot be trained.
    #[error("classifier two-sample test: {0}")]
    Classifier(#[from] flows_core::Error),
}

/// Sliced Wasserstein, sliced Kolmogorov-Smirnov, maximum mean discrepancy, Fréchet distance and classifier
/// two-sample test between draws and a reference of `dim` features, in units of the standard deviations of
/// the pooled rows; directions, rows of large samples, relabellings and classifiers are drawn by the seed.
///
/// # Errors
/// [`MetricError`] for too few rows or a value that is not finite.
pub fn distances(
    draws: &[f64],
    reference: &[f64],
    dim: usize,
    seed: u64,
) -> Result<Vec<Distance>, MetricError> {
    check("draws", draws, dim)?;
    check("reference", reference, dim)?;
    let pooled = Pooled::standardised([draws, reference], dim, MOST_ROWS, seed);
    let labellings = pooled.labellings(RELABELLINGS, seed);
    let slices = Sliced::new(&pooled, &directions(dim, &mut stream(seed, "directions")));
    let sliced: Vec<[f64; 2]> = labellings.par_iter().map(|labels| slices.values(labels)).collect();
    let of_slices = |which: usize| sliced.iter().map(|values| values[which]).collect::<Vec<f64>>();
    let few = if dim > MANY_FEATURES { FEW_RELABELLINGS } else { RELABELLINGS };
    let moments: Vec<f64> =
        labellings[..=few].par_iter().map(|labels| frechet(&pooled, labels)).collect();
    let kernels = mmd(&pooled, median_distance(&pooled), &labellings);
    Ok(vec![
        Distance::among("sliced_wasserstein", &of_slices(0)),
        Distance::among("sliced_kolmogorov_smirnov", &of_slices(1)),
        Distance::among("mmd", &kernels),
        Distance::among("frechet", &moments),
        c2st(&pooled, seed)?,
    ])
}

fn check(sample: &'static str, values: &[f64], dim: usize) -> Result<(), MetricError> {
    let rows = values.len() / dim.max(1);
    if rows < LEAST_ROWS {
        return Err(MetricError::Rows { sample, rows });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MetricError::Value { sample, row: index / dim, value: values[index] }),
        None => Ok(()),
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
