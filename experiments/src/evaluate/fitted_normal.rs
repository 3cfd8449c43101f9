//! The fitted normal: what a flow has to be better than.

use nalgebra::{DMatrix, DVector};

use crate::rows::Rows;

/// Most features and conditioning features of a normal that is fitted.
const MOST_COLUMNS: usize = 500;

/// Mean negative log-likelihood of `test` under the normal of maximum likelihood for `training`, nats
/// in the units of both; with a context, under the normal whose mean is linear in it. None where there
/// are fewer than two rows a column, too many columns, or columns that depend on each other.
///
/// ```text
/// mean(c) = mu_x + S_xc S_cc^-1 (c - mu_c),   covariance = S_xx - S_xc S_cc^-1 S_cx
/// ```
#[must_use]
pub(super) fn fitted_normal(training: &Rows, test: &Rows) -> Option<f64> {
    let (dim, given) = (training.dim(), training.context_dim());
    let columns = dim + given;
    if columns > MOST_COLUMNS || training.count() < 2 * columns {
        return None;
    }
    let joint =
        |(x, c): (&[f64], &[f64])| DVector::from_iterator(columns, c.iter().chain(x).copied());
    let count = training.count() as f64;
    let mean =
        training.iter().map(joint).fold(DVector::zeros(columns), |sum, row| sum + row) / count;
    let mut covariance = DMatrix::<f64>::zeros(columns, columns);
    for row in training.iter().map(joint) {
        let row = row - &mean;
        covariance.ger(1.0 / count, &row, &row, 1.0);
    }
    // With the contexts first, the lower right block of the Cholesky factor is that of x given c.
    let factor = covariance.cholesky()?.l();
    let log_det: f64 = (given..columns).map(|i| factor[(i, i)].ln()).sum();
    let constant = 0.5 * dim as f64 * (2.0 * std::f64::consts::PI).ln() + log_det;
    let mut total = 0.0;
    for row in test.iter().map(joint) {
        let z = factor.solve_lower_triangular(&(row - &mean))?;
        total += constant + 0.5 * z.rows(given, dim).norm_squared();
    }
    Some(total / test.count() as f64)
}
