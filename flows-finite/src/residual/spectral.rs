//! Spectral norms, and weights that are limited by them (Miyato et al., *Spectral Normalization for
//! Generative Adversarial Networks*, ICLR 2018, <https://arxiv.org/abs/1802.05957>).

use flows_core::tensor::columns;
use flows_core::{Batch, Error, Mode, Real, Result, Values, derive};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// How the spectral norm of a weight is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Norm {
    /// Power iteration that starts from the vectors of the step before and so approaches the norm
    /// from below: `iterations` a training step, and to convergence (relative error about 1e-8, in
    /// f32 its rounding) when the bijector is set for reporting. O(n^2) a call and an iteration.
    Power {
        /// Iterations a training step.
        iterations: usize,
    },
    /// The singular value decomposition, in every call: O(n^3), for small layers.
    Exact,
}

/// Relative error at which power iteration counts as converged.
const CONVERGED: f64 = 1e-8;

/// Most iterations to convergence: where the two largest singular values are so close that these
/// do not tell them apart, they differ by less than the error that is left.
const MOST: usize = 100_000;

/// A singular value with its unit vectors: W v = sigma u.
#[derive(Debug)]
pub(super) struct Singular {
    pub(super) value: f64,
    pub(super) left: DVector<f64>,
    pub(super) right: DVector<f64>,
}

/// The first `width` columns of a weight, in double precision.
pub(super) fn normalised_part<E: Real>(weight: &Batch<E>, width: usize) -> DMatrix<f64> {
    let (values, all) = (weight.values(), columns(weight));
    DMatrix::from_fn(weight.rows(), width, |i, j| values[i * all + j].as_f64())
}

impl Singular {
    /// The largest singular value by decomposition.
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

    /// u^T W v for vectors that stay fixed; a lower bound of the norm.
    pub(super) fn along(matrix: &DMatrix<f64>, left: DVector<f64>, right: DVector<f64>) -> Self {
        Self { value: left.dot(&(matrix * &right)), left, right }
    }

    /// One power iteration; vectors that the matrix sends to 0 stay.
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

    /// Iterates until what is left to gain, taken as a geometric series, is small.
    pub(super) fn converge(&mut self, matrix: &DMatrix<f64>) {
        let mut last_gain = 0.0;
        for _ in 0..MOST {
            let before = self.value;
            self.iterate(matrix);
            let gain = self.value - before;
            let left = gain * gain / (last_gain - gain);
            // The value only rises, but for rounding.
            let risen = gain <= 0.0 || gain.is_nan();
            if risen || (gain < last_gain && left <= CONVERGED * self.value) {
                return;
            }
            last_gain = gain;
        }
    }
}

/// W min(1, c / sigma) for the columns of W that `singular` belongs to, the others as they are,
/// recorded with the gradient through sigma.
///
/// ```text
/// d sigma / dW = u v^T,   dW = c / sigma (G - <G, W> / sigma u v^T)   where sigma > c
/// ```
pub(super) fn limited<E: Real, T: Mode<E>>(
    weight: &Batch<E>,
    singular: Singular,
    limit: f64,
    tape: &mut T,
) -> Result<Batch<E>> {
    let (rows, width, normalised) = (weight.rows(), columns(weight), singular.right.len());
    let weights = weight.values();
    let too_large = singular.value > limit;
    let scale = if too_large { limit / singular.value } else { 1.0 };
    let mut values = weights.clone();
    for row in values.chunks_exact_mut(width) {
        row[..normalised].iter_mut().for_each(|value| *value *= E::of(scale));
    }
    let backward = move |outer: &[E]| {
        let mut gradient = outer.to_vec();
        let parts = || outer.chunks_exact(width).zip(weights.chunks_exact(width));
        let products = parts().flat_map(|(g, w)| g[..normalised].iter().zip(w));
        let along: f64 = products.map(|(g, w)| g.as_f64() * w.as_f64()).sum();
        let slope = if too_large { along / singular.value } else { 0.0 };
        for (i, row) in gradient.chunks_exact_mut(width).enumerate() {
            for (j, value) in row[..normalised].iter_mut().enumerate() {
                let outer = slope * singular.left[i] * singular.right[j];
                *value = E::of(scale * (value.as_f64() - outer));
            }
        }
        vec![gradient]
    };
    derive(&[weight], (values, rows, width), backward, tape)
}
