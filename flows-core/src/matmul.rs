//! Matrix products over slices; all raw pointers to the product kernel are here.

mod count;
mod padding;

use std::ops::Range;

pub use count::multiplications;
use padding::{lanes_to_compute, lanes_to_sum, repeat_last};

use crate::Real;
use crate::lanes::LANES;

/// A strided matrix view: element (i, j) is `values[i * row_step + j * column_step]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, E> {
    values: &'a [E],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a, E: Copy> Matrix<'a, E> {
    /// A matrix stored row by row.
    ///
    /// # Panics
    /// If `values` holds fewer than `rows * columns` elements.
    #[must_use]
    pub fn new(values: &'a [E], rows: usize, columns: usize) -> Self {
        assert!(values.len() >= rows * columns, "matrix: the slice is too short");
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// The slice that holds the elements.
    #[must_use]
    pub fn values(self) -> &'a [E] {
        self.values
    }

    /// The submatrix of these rows and columns, as a view.
    ///
    /// # Panics
    /// If the matrix does not reach that far.
    #[must_use]
    pub fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "matrix: part out of range");
        let first = rows.start * self.row_step + columns.start * self.column_step;
        let (rows, columns) = (rows.len(), columns.len());
        // An empty part may start behind the last element.
        let values = self.values.get(first..).unwrap_or_default();
        Self { values, rows, columns, ..self }
    }

    /// The transpose, as a view.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
        }
    }
}

/// Whether a product replaces its destination or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `out = a b`
    Replace,
    /// `out += a b`
    Add,
}

/// `out = a b` or `out += a b`, `out` stored row by row, on the calling thread.
///
/// An element of the result is one chain of fused multiply-adds over the inner dimension, whatever
/// column it stands in and however many there are (tested), so a row of a batch does not depend on its
/// batch mates. Columns that pad a block are not multiplied but copied.
///
/// # Panics
/// If the inner dimensions differ or `out` is too short.
pub fn product<E: Real>(a: Matrix<'_, E>, b: Matrix<'_, E>, out: &mut [E], into: Destination) {
    product_within(a, b, out, b.columns, into);
}

/// As [`product`], into the first columns of a matrix whose rows are `row_step` apart.
///
/// # Panics
/// If the inner dimensions differ, the result is wider than `row_step`, or `out` is too short.
pub fn product_within<E: Real>(
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
    out: &mut [E],
    row_step: usize,
    into: Destination,
) {
    assert_eq!(a.columns, b.rows, "product: inner dimensions differ");
    assert!(b.columns <= row_step, "product: the destination is too narrow");
    count::note(a.rows, b.columns, a.columns);
    if a.rows == 0 || !multiply_without_padding(a, b, out, row_step, into) {
        multiply(a, b, out, row_step, into);
    }
}

/// The product of blocks of few rows, without what pads them, in which no bit of the result differs:
/// copies of a lane have the same image, and zeros add nothing. Returns whether it was done.
fn multiply_without_padding<E: Real>(
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
    out: &mut [E],
    row_step: usize,
    into: Destination,
) -> bool {
    // Lanes are columns: the values of a layer, or their gradients.
    if let Some(mut lanes) = lanes_to_compute(b) {
        if into == Destination::Add {
            let before =
                Matrix { values: out, rows: a.rows, columns: b.columns, row_step, column_step: 1 };
            let Some(needed) = lanes_to_compute(before) else { return false };
            lanes = lanes.max(needed);
        }
        for first in (0..b.columns).step_by(LANES) {
            let b = b.part(0..b.rows, first..first + lanes);
            multiply(a, b, &mut out[first..], row_step, into);
        }
        repeat_last(&mut out[..(a.rows - 1) * row_step + b.columns], b.columns, row_step, lanes);
        return true;
    }
    // Lanes are summed over: the gradient of weights.
    if b.row_step == 1
        && into == Destination::Add
        && let Some(lanes) = lanes_to_sum(a)
    {
        for first in (0..a.columns).step_by(LANES) {
            let summed = first..first + lanes;
            let (a, b) = (a.part(0..a.rows, summed.clone()), b.part(summed, 0..b.columns));
            multiply(a, b, out, row_step, into);
        }
        return true;
    }
    false
}

/// The product kernel.
fn multiply<E: Real>(
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
    out: &mut [E],
    row_step: usize,
    into: Destination,
) {
    let reach = a.rows.saturating_sub(1) * row_step + b.columns;
    assert!(a.rows == 0 || out.len() >= reach, "product: the destination is too short");
    let (alpha, beta) = match into {
        Destination::Replace => (E::zero(), E::one()),
        Destination::Add => (E::one(), E::one()),
    };
    #[expect(unsafe_code, reason = "the product kernel takes raw pointers")]
    // SAFETY: `Matrix` holds slices that reach its last element (checked when it is made; a part
    // lies within, and a transpose reaches the same elements), `out` reaches the last element of the
    // result (checked above) and is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            row_step as isize,
            into == Destination::Add,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            alpha,
            beta,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
