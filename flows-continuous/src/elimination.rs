//! Gauss-Jordan elimination of one small matrix a lane.

use flows_core::Real;
use flows_core::elementwise::{ln, vectorised};
use flows_core::operation::LANES;

/// Turns `[M | B]` of every lane into `[I | M^-1 B]` and adds ln |det M| to `log_det`; without B
/// only the log-det is of use. Entry (i, j) is at row `i columns + j`, M is `(dim, dim)`.
///
/// Pivots are the largest entries of their columns: row by row, a row changes places with the
/// pivot's in the lanes where its entry is larger, a select in place of a branch. The cost is
/// O(dim^2 columns) a lane. A singular M has log-det -inf and no finite result.
pub(crate) fn eliminate<E: Real>(dim: usize, matrix: &mut [E], log_det: &mut [E]) {
    let width = matrix.len() / dim;
    for k in 0..dim {
        let column = k * LANES;
        let (above, rest) = matrix.split_at_mut(k * width);
        let (pivot_row, below) = rest.split_at_mut(width);
        let pivot_row = &mut pivot_row[column..];
        for row in below.chunks_exact_mut(width) {
            exchange(pivot_row, &mut row[column..]);
        }
        divide_by_pivot(pivot_row, log_det);
        for row in below.chunks_exact_mut(width) {
            subtract(&mut row[column..], pivot_row);
        }
        if width > dim * LANES {
            for row in above.chunks_exact_mut(width) {
                subtract(&mut row[column..], pivot_row);
            }
        }
    }
}

/// Exchanges two rows in the lanes where the second starts with the larger entry.
fn exchange<E: Real>(first: &mut [E], second: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            let larger: [bool; LANES] = std::array::from_fn(|l| second[l].abs() > first[l].abs());
            for (a, b) in first.chunks_exact_mut(LANES).zip(second.chunks_exact_mut(LANES)) {
                for ((a, b), &larger) in a.iter_mut().zip(b).zip(&larger) {
                    (*a, *b) = if larger { (*b, *a) } else { (*a, *b) };
                }
            }
        },
    );
}

/// Divides a row by its first entry, whose logarithm is added to `log_det`.
fn divide_by_pivot<E: Real>(row: &mut [E], log_det: &mut [E]) {
    let (pivot, others) = row.split_at_mut(LANES);
    vectorised(
        #[inline(always)]
        || {
            for (sum, &pivot) in log_det.iter_mut().zip(&*pivot) {
                *sum += ln(pivot.abs());
            }
            for entries in others.chunks_exact_mut(LANES) {
                for (entry, &pivot) in entries.iter_mut().zip(&*pivot) {
                    *entry /= pivot;
                }
            }
        },
    );
    pivot.fill(E::one());
}

/// Subtracts the pivot's row as often as the row's first entry says, which becomes 0.
fn subtract<E: Real>(row: &mut [E], pivot_row: &[E]) {
    let (factor, others) = row.split_at_mut(LANES);
    vectorised(
        #[inline(always)]
        || {
            let sources = pivot_row[LANES..].chunks_exact(LANES);
            for (entries, sources) in others.chunks_exact_mut(LANES).zip(sources) {
                for ((entry, &source), &factor) in entries.iter_mut().zip(sources).zip(&*factor) {
                    *entry -= factor * source;
                }
            }
        },
    );
    factor.fill(E::zero());
}

#[cfg(test)]
mod tests {
    use flows_core::{normals, stream};
    use nalgebra::DMatrix;

    use super::*;

    /// `[M | I]` of every lane.
    fn augmented(dim: usize, matrices: &[DMatrix<f64>]) -> Vec<f64> {
        let mut lanes = vec![0.0; 2 * dim * dim * LANES];
        for (lane, matrix) in matrices.iter().enumerate() {
            for (i, j) in (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j))) {
                lanes[(2 * i * dim + j) * LANES + lane] = matrix[(i, j)];
                lanes[(2 * i * dim + dim + i) * LANES + lane] = 1.0;
            }
        }
        lanes
    }

    #[test]
    fn inverse_and_determinant_are_those_of_lu() {
        for dim in 1..6 {
            let rng = &mut stream(dim as u64, "matrices");
            let draw = |_| DMatrix::from_vec(dim, dim, normals(dim * dim, rng));
            let mut matrices: Vec<DMatrix<f64>> = (0..LANES).map(draw).collect();
            if dim > 1 {
                // Without pivoting there would be a division by zero.
                matrices[3][(0, 0)] = 0.0;
            }
            let mut lanes = augmented(dim, &matrices);
            let mut log_det = vec![0.0; LANES];
            eliminate(dim, &mut lanes, &mut log_det);
            for (lane, matrix) in matrices.iter().enumerate() {
                let lu = matrix.clone().lu();
                let inverse = lu.try_inverse().unwrap();
                // Rounding is multiplied by the condition number, in norms that bound the entries.
                let condition = inverse.norm() * matrix.norm();
                let error = 1e-14 * condition;
                let expected = matrix.clone().lu().determinant().abs().ln();
                assert!((log_det[lane] - expected).abs() < error, "dim {dim}, lane {lane}");
                for (i, j) in (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j))) {
                    let got = lanes[(2 * i * dim + dim + j) * LANES + lane];
                    let far = (got - inverse[(i, j)]).abs();
                    assert!(far < error * inverse.norm(), "dim {dim}, lane {lane}: {far:e}");
                }
            }
        }
    }

    #[test]
    fn a_singular_matrix_has_log_det_minus_infinity() {
        let matrix = DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 2.0, 4.0]);
        let mut lanes = augmented(2, &vec![matrix; LANES]);
        let mut log_det = vec![0.0; LANES];
        eliminate(2, &mut lanes, &mut log_det);
        assert!(log_det.iter().all(|&l| l == f64::NEG_INFINITY));
    }
}
