//! Blocks of rows, feature by feature, and sums over slices.

use crate::Real;
use crate::elementwise::vectorised;

/// Number of rows in a block.
pub const LANES: usize = 128;

/// The values of feature `row` of a block.
#[must_use]
pub fn lanes<E>(block: &[E], row: usize) -> &[E] {
    &block[row * LANES..(row + 1) * LANES]
}

/// As [`lanes`], mutably.
pub fn lanes_mut<E>(block: &mut [E], row: usize) -> &mut [E] {
    &mut block[row * LANES..(row + 1) * LANES]
}

/// `sum += terms`
pub fn add<E: Real>(sum: &mut [E], terms: &[E]) {
    for (sum, &term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// `sum += factors * terms`
pub fn add_product<E: Real>(sum: &mut [E], factors: &[E], terms: &[E]) {
    for ((sum, &factor), &term) in sum.iter_mut().zip(factors).zip(terms) {
        *sum += factor * term;
    }
}

/// Running sums of [`add_lane_sums`], for vector code in a fixed order.
const ABREAST: usize = 64;

/// Adds `sign` times the sum over the lanes of each feature to `sums`.
pub fn add_lane_sums<E: Real>(v: &[E], sign: E, sums: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, total) in v.chunks_exact(LANES).zip(sums) {
                let mut parts = [E::zero(); ABREAST];
                for chunk in row.chunks_exact(ABREAST) {
                    for (part, &value) in parts.iter_mut().zip(chunk) {
                        *part += value;
                    }
                }
                *total += sign * parts.iter().copied().sum();
            }
        },
    );
}

/// The slices of a fixed number of tensors, to be destructured under names.
///
/// # Panics
/// If the number differs: the layout and the code that reads it do not fit, which is a bug.
#[must_use]
pub fn named<'a, E, const N: usize>(slices: &[&'a [E]]) -> [&'a [E]; N] {
    assert_eq!(slices.len(), N, "tensors of a layout");
    std::array::from_fn(|index| slices[index])
}

/// As [`named`], mutably.
///
/// # Panics
/// As [`named`].
#[must_use]
pub fn named_mut<'a, E, const N: usize>(slices: &'a mut [&mut [E]]) -> [&'a mut [E]; N] {
    assert_eq!(slices.len(), N, "tensors of a layout");
    let mut rest = slices.iter_mut();
    std::array::from_fn(|_| rest.next().map_or(&mut [] as &mut [E], |slice| &mut **slice))
}
