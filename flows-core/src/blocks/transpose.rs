//! Transposition between row-major batches and blocks of rows, feature by feature.

use crate::Real;
use crate::lanes::LANES;

/// Sets `length` zeros.
pub(super) fn zeros<E: Real>(values: &mut Vec<E>, length: usize) {
    values.clear();
    values.resize(length, E::zero());
}

/// Feature-major copy of the rows from `start`, padded with copies of the last one.
pub(super) fn to_lanes<E: Real>(values: &[E], width: usize, start: usize, lanes: &mut Vec<E>) {
    let rows = values.len().checked_div(width).unwrap_or(0);
    lanes.resize(width * LANES, E::zero());
    for lane in 0..LANES {
        let row = (start + lane).min(rows.saturating_sub(1));
        for (feature, &value) in values[row * width..(row + 1) * width].iter().enumerate() {
            lanes[feature * LANES + lane] = value;
        }
    }
}

/// As [`to_lanes`], with gradient zero in the padding lanes of the last block.
pub(super) fn gradient_to_lanes<E: Real>(
    values: &[E],
    width: usize,
    start: usize,
    lanes: &mut Vec<E>,
) {
    let rows = values.len().checked_div(width).unwrap_or(0);
    zeros(lanes, width * LANES);
    for lane in 0..LANES.min(rows.saturating_sub(start)) {
        let row = start + lane;
        for (feature, &value) in values[row * width..(row + 1) * width].iter().enumerate() {
            lanes[feature * LANES + lane] = value;
        }
    }
}

/// Row-major copy of the first lanes, as many as fit into `rows`.
pub(super) fn from_lanes<E: Real>(lanes: &[E], rows: &mut [E]) {
    let width = lanes.len() / LANES;
    for (lane, row) in rows.chunks_exact_mut(width.max(1)).enumerate() {
        for (feature, value) in row.iter_mut().enumerate() {
            *value = lanes[feature * LANES + lane];
        }
    }
}
