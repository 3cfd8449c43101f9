//! Lanes that pad a block: a batch of few rows fills its block up with copies of its last row, whose
//! products need not be computed again.

use super::Matrix;
use crate::Real;
use crate::elementwise::vectorised;
use crate::lanes::LANES;

/// Lanes are compared and multiplied by so many.
const STEP: usize = 16;

/// Most lanes for which a product of fewer is worth the comparison.
const MOST: usize = LANES / 2;

/// How many lanes of the blocks that stand side by side in `matrix` have to be computed: behind them,
/// all are copies of the last of them, in each row. `None` for a matrix that is not made of blocks, and
/// where nothing would be saved.
pub(super) fn lanes_to_compute<E: Real>(matrix: Matrix<'_, E>) -> Option<usize> {
    let (rows, columns, row_step) = (matrix.rows, matrix.columns, row_step(matrix));
    let blocks = columns > 0 && columns.is_multiple_of(LANES) && matrix.column_step == 1;
    if !blocks || row_step < columns {
        return None;
    }
    let values = matrix.values;
    vectorised(
        #[inline(always)]
        || {
            let mut needed = STEP;
            for row in values.chunks(row_step).take(rows) {
                for block in row[..columns].chunks_exact(LANES) {
                    needed = needed.max(lanes_of_row(block, needed));
                    if needed > MOST {
                        return None;
                    }
                }
            }
            Some(needed)
        },
    )
}

/// From one row to the next; a single row, such as a transposed column, has any.
fn row_step<E>(matrix: Matrix<'_, E>) -> usize {
    if matrix.rows == 1 { matrix.columns } else { matrix.row_step }
}

/// As [`lanes_to_compute`] for one row of a block, and at least `least`.
#[inline(always)]
fn lanes_of_row<E: Real>(row: &[E], least: usize) -> usize {
    let last = row[LANES - 1];
    let mut copies_from = LANES;
    for lanes in row[least..].rchunks_exact(STEP) {
        // Without a branch a lane, so that it is vector code.
        if !lanes.iter().fold(true, |equal, &value| equal & (value == last)) {
            break;
        }
        copies_from -= STEP;
    }
    if row[copies_from - 1] == last { copies_from } else { copies_from + STEP }
}

/// Copies the last computed lane of each block over the lanes behind it.
pub(super) fn repeat_last<E: Real>(
    out: &mut [E],
    columns: usize,
    row_step: usize,
    computed: usize,
) {
    for row in out.chunks_mut(row_step) {
        for block in row[..columns].chunks_exact_mut(LANES) {
            let last = block[computed - 1];
            block[computed..].fill(last);
        }
    }
}

/// How many lanes have to be summed of blocks that stand side by side in `matrix`: behind them all are
/// zero. `None` as for [`lanes_to_compute`].
pub(super) fn lanes_to_sum<E: Real>(matrix: Matrix<'_, E>) -> Option<usize> {
    let needed = lanes_to_compute(matrix)?;
    let rows = matrix.values.chunks(row_step(matrix)).take(matrix.rows);
    let mut blocks = rows.flat_map(|row| row[..matrix.columns].chunks_exact(LANES));
    blocks.all(|block| block[LANES - 1].is_zero()).then_some(needed)
}
