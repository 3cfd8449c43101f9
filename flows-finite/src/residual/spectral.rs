//! Spectral norms, and weights that are limited by them (Miyato et al., *Spectral Normalization for
//! Generative Adversarial Networks*, ICLR 2018, <https://arxiv.org/abs/1802.05957>).

use flows_core::{Error, Real, Result};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Method for the spectral norm of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Norm {
    /// Power iteration from the vectors of the step before, a lower bound: `iterations` a training
    /// step, and to convergence (relative error about 1e-8, in f32 its rounding) when the bijector
    /// is set for reporting. O(n^2) an iteration, and whenever the weights have changed.
    Power {
        /// Iterations a training step.
        iterations: usize,
    },
    /// The singular value decomposition, whenever the weights have changed and for every gradient:
    /// O(n^3), for small layers.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Exact,
}

/// Relative error at which power iteration counts as converged.
const CONVERGED: f64 = 1e-8;

/// Largest number of iterations to convergence: two largest singular values that these do not
/// separate differ by less than the remaining error.
const MOST: usize = 100_000;

/// A singular value with its singular vectors: W v = sigma u.
#[derive(Debug)]
pub(super) struct Singular {
    pub(super) value: f64,
    pub(super) left: DVector<f64>,
    pub(super) right: DVector<f64>,
}

impl Singular {
    /// The largest singular value, by singular value decomposition.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the matrix is not finite.
    pub(super) fn largest(matrix: &DMatrix<f64>) -> Result<Self> {
        let decomposed = matrix
            .iter()
            .all(|entry| entry.is_finite())
            .then(|| matrix.clone().try_svd(true, true, f64::EPSILON, MOST))
            .flatten();
        if let Some((left, right, value)) = decomposed.and_then(|svd| {
            let (left, right) = (svd.u?, svd.v_t?);
            let (index, value) = svd.singular_values.argmax();
            Some((left.column(index).into_owned(), right.row(index).transpose(), value))
        }) {
            return Ok(Self { value, left, right });
        }
        let row = matrix.row_iter().position(|row| row.iter().any(|entry| !entry.is_finite()));
        let (quantity, advice) = ("weight of a contractive layer", "lower the learning rate");
        Err(Error::NonFinite { quantity, row: row.unwrap_or(0), advice })
    }

    /// u^T W v for fixed vectors, a lower bound of the norm.
    pub(super) fn along(matrix: &DMatrix<f64>, left: DVector<f64>, right: DVector<f64>) -> Self {
        Self { value: left.dot(&(matrix * &right)), left, right }
    }

    /// One power iteration; vectors that are mapped to 0 stay.
    pub(super) fn iterate(&mut self, matrix: &DMatrix<f64>) {
        if let Some(unit) = (matrix * &self.right).try_normalize(0.0) {
            self.left = unit;
        }
        let image = matrix.tr_mul(&self.left);
        self.value = image.norm();
        if let Some(unit) = image.try_normalize(0.0) {
            self.right = unit;
        }
    }

    /// Iterates until the remaining gain, as a geometric series, is small.
    pub(super) fn converge(&mut self, matrix: &DMatrix<f64>) {
        let mut last_gain = 0.0;
        for _ in 0..MOST {
            let before = self.value;
            self.iterate(matrix);
            let gain = self.value - before;
            let left = gain * gain / (last_gain - gain);
            // The value increases up to rounding.
            let risen = gain <= 0.0 || gain.is_nan();
            if risen || (gain < last_gain && left <= CONVERGED * self.value) {
                return;
            }
            last_gain = gain;
        }
    }

    fn scale(&self, limit: f64) -> f64 {
        if self.value > limit { limit / self.value } else { 1.0 }
    }

    /// Replaces the weight W by W min(1, `limit` / sigma), row by row, in the columns that the
    /// singular value belongs to.
    pub(super) fn limit<E: Real>(&self, limit: f64, weight: &mut [E], fan_in: usize) {
        let scale = E::of(self.scale(limit));
        for row in weight.chunks_exact_mut(fan_in) {
            row[..self.right.len()].iter_mut().for_each(|value| *value *= scale);
        }
    }

    /// Backward pass of [`limit`](Self::limit), in place: the gradient of W from the gradient G of
    /// its result.
    ///
    /// ```text
    /// d sigma / dW = u v^T,   dW = c / sigma (G - <G, W> / sigma u v^T)   where sigma > c
    /// ```
    pub(super) fn pull_limit<E: Real>(
        &self,
        limit: f64,
        weight: &[E],
        fan_in: usize,
        gradient: &mut [E],
    ) {
        let Self { value: sigma, left, right } = self;
        let scale = self.scale(limit);
        if scale >= 1.0 {
            return;
        }
        let rows = gradient.chunks_exact(fan_in).zip(weight.chunks_exact(fan_in));
        let products = rows.flat_map(|(g, w)| g[..right.len()].iter().zip(w));
        let along: f64 = products.map(|(g, w)| g.as_f64() * w.as_f64()).sum();
        for (row, left) in gradient.chunks_exact_mut(fan_in).zip(left) {
            for (value, right) in row.iter_mut().zip(right) {
                let outer = along / sigma * left * right;
                *value = E::of(scale * (value.as_f64() - outer));
            }
        }
    }
}
