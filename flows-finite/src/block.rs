//! Rows of a block: LANES values of one feature.

use flows_core::operation::LANES;

pub(crate) fn lanes<E>(values: &[E], row: usize) -> &[E] {
    &values[row * LANES..(row + 1) * LANES]
}

pub(crate) fn lanes_mut<E>(values: &mut [E], row: usize) -> &mut [E] {
    &mut values[row * LANES..(row + 1) * LANES]
}
