//! Gauss-Jordan elimination of one small matrix in each lane.

use flows_core::Real;
use flows_core::elementwise::{ln, vectorised};
use flows_core::operation::LANES;

/// Turns `[M | B]` of every lane into `[I | M^-1 B]` and adds ln |det M| to `log_det`; without B it
/// is for the log-det only. Entry (i, j) is at row `i columns + j`, M is `(dim, dim)`.
///
/// Partial pivoting: row by row, a row is exchanged with the pivot's in the lanes where its entry
/// is larger, by a select instead of a branch. The cost is O(dim^2 columns) a lane. A singular M
/// has log-det -inf and no finite result.
pub(crate) fn eliminate<E: Real>(dim: usize, matrix: &mut [E], log_det: &mut [E]) {
    let width = matrix.len() / dim;
    vectorised(
        #[inline(always)]
        || {
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
        },
    );
}

/// Exchanges two rows in the lanes where the second starts with the larger entry.
#[inline(always)]
fn exchange<E: Real>(first: &mut [E], second: &mut [E]) {
    let larger: [bool; LANES] = std::array::from_fn(|l| second[l].abs() > first[l].abs());
    for (a, b) in first.chunks_exact_mut(LANES).zip(second.chunks_exact_mut(LANES)) {
        for ((a, b), &larger) in a.iter_mut().zip(b).zip(&larger) {
            (*a, *b) = if larger { (*b, *a) } else { (*a, *b) };
        }
    }
}

/// Divides a row by its first entry and adds the logarithm to `log_det`.
#[inline(always)]
fn divide_by_pivot<E: Real>(row: &mut [E], log_det: &mut [E]) {
    let (pivot, others) = row.split_at_mut(LANES);
    for (sum, &pivot) in log_det.iter_mut().zip(&*pivot) {
        *sum += ln(pivot.abs());
    }
    for entries in others.chunks_exact_mut(LANES) {
        for (entry, &pivot) in entries.iter_mut().zip(&*pivot) {
            *entry /= pivot;
        }
    }
    pivot.fill(E::one());
}

/// Subtracts the multiple of the pivot's row that makes the row's first entry 0.
#[inline(always)]
fn subtract<E: Real>(row: &mut [E], pivot_row: &[E]) {
    let (factor, others) = row.split_at_mut(LANES);
    let sources = pivot_row[LANES..].chunks_exact(LANES);
    for (entries, sources) in others.chunks_exact_mut(LANES).zip(sources) {
        for ((entry, &source), &factor) in entries.iter_mut().zip(sources).zip(&*factor) {
            *entry -= factor * source;
        }
    }
    factor.fill(E::zero());
}
