//! The Fréchet distance between the normals that have the moments of two samples.

use nalgebra::{DMatrix, RowDVector, SymmetricEigen};

use super::Pooled;

/// The squared Fréchet (Wasserstein-2) distance between normals with the means and covariances (n - 1) of
/// the rows that are labelled and of the others:
/// ```text
/// |m - n|^2 + tr(S + T - 2 (T^(1/2) S T^(1/2))^(1/2))
/// ```
///
/// # Reference
/// Dowson, Landau, *The Fréchet distance between multivariate normal distributions*, 1982.
#[must_use]
pub fn frechet(pooled: &Pooled, labels: &[bool]) -> f64 {
    let [(m, s), (n, t)] = [true, false].map(|label| moments(pooled, labels, label));
    let root = root(&t);
    let middle = &root * &s * &root;
    // Of a symmetric matrix that is positive but for rounding.
    let cross: f64 = eigenvalues(&middle).map(|value| value.max(0.0).sqrt()).sum();
    (m - n).norm_squared() + s.trace() + t.trace() - 2.0 * cross
}

/// Mean and covariance of the rows of one label.
fn moments(pooled: &Pooled, labels: &[bool], label: bool) -> (RowDVector<f64>, DMatrix<f64>) {
    let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] == label).collect();
    let values = rows.iter().flat_map(|&row| pooled.row(row)).copied();
    let mut matrix = DMatrix::from_row_iterator(rows.len(), pooled.dim(), values);
    let mean = matrix.row_mean();
    for mut row in matrix.row_iter_mut() {
        row -= &mean;
    }
    let covariance = matrix.tr_mul(&matrix) / (rows.len() - 1) as f64;
    (mean, covariance)
}

fn root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(matrix.clone());
    let roots = DMatrix::from_diagonal(&eigenvalues.map(|value| value.max(0.0).sqrt()));
    &eigenvectors * roots * eigenvectors.transpose()
}

fn eigenvalues(matrix: &DMatrix<f64>) -> impl Iterator<Item = f64> {
    let symmetric = 0.5 * (matrix + matrix.transpose());
    symmetric.symmetric_eigenvalues().iter().copied().collect::<Vec<f64>>().into_iter()
}
