//! Sums over the lanes of a block, and copies of one lane.

use flows_core::Real;
use flows_core::operation::LANES;

/// Running sums; it divides the number of lanes.
const ABREAST: usize = 16;

/// Sum of a product over the lanes.
#[inline(always)]
pub(crate) fn dot<E: Real>(a: &[E], b: &[E]) -> E {
    let mut sums = [E::zero(); ABREAST];
    for (a, b) in a.chunks_exact(ABREAST).zip(b.chunks_exact(ABREAST)) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().copied().sum()
}

/// Sum over the lanes.
#[inline(always)]
pub(crate) fn total<E: Real>(lanes: &[E]) -> E {
    let mut sums = [E::zero(); ABREAST];
    for chunk in lanes.chunks_exact(ABREAST) {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().copied().sum()
}

/// Adds to `totals[i]` the sum of row i.
#[inline(always)]
pub(crate) fn add_totals<E: Real>(rows: &[E], totals: &mut [E]) {
    for (row, sum) in rows.chunks_exact(LANES).zip(totals) {
        *sum += total(row);
    }
}

/// Copies one lane of every row.
pub(crate) fn move_lane<E: Copy>(source: &[E], from: usize, target: &mut [E], to: usize) {
    let rows = source.chunks_exact(LANES).zip(target.chunks_exact_mut(LANES));
    rows.for_each(|(source, target)| target[to] = source[from]);
}
