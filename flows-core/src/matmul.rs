//! Matrix products over slices: the one place that hands raw pointers to the product kernel.

use std::ops::Range;

use crate::Real;

/// A matrix seen through a slice: element (i, j) is `values[i * row_step + j * column_step]`.
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

    /// The part with these rows and columns, without moving anything.
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

    /// The transpose, without moving anything.
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
/// An element of the result is one chain of fused multiply-adds over the inner dimension; for a
/// given shape it does not depend on which column it stands in (tested), so a row of a batch does
/// not depend on its batch mates.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 37) % 101) as f64 / 50.0 - 1.0).collect()
    }

    fn plain(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        (0..m * n).map(|e| (0..k).map(|l| a[e / n * k + l] * b[l * n + e % n]).sum()).collect()
    }

    fn transpose(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        (0..rows * columns).map(|e| a[e % rows * columns + e / rows]).collect()
    }

    #[test]
    fn products_of_every_form_agree_with_three_loops() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (64, 3, 128), (2, 64, 128), (69, 33, 128)] {
            let (a, b) = (ramp(m * k), ramp(k * n));
            let expected = plain(&a, &b, m, k, n);
            let (ta, tb) = (transpose(&a, m, k), transpose(&b, k, n));
            let forms = [
                (Matrix::new(&a, m, k), Matrix::new(&b, k, n)),
                (Matrix::new(&ta, k, m).transposed(), Matrix::new(&b, k, n)),
                (Matrix::new(&a, m, k), Matrix::new(&tb, n, k).transposed()),
            ];
            for (left, right) in forms {
                let mut out = vec![f64::NAN; m * n];
                product(left, right, &mut out, Destination::Replace);
                product(left, right, &mut out, Destination::Add);
                for (got, want) in out.iter().zip(&expected) {
                    assert!((got - 2.0 * want).abs() < 1e-12 * k as f64, "{m} {k} {n}");
                }
            }
        }
    }

    #[test]
    fn parts_multiply_like_copies_of_them() {
        let (rows, columns, n) = (9, 7, 4);
        let (a, b) = (ramp(rows * columns), ramp(columns * n));
        let (r, c) = (2..8, 1..6);
        let copy: Vec<f64> = r.clone().flat_map(|i| a[i * columns..][c.clone()].to_vec()).collect();
        let expected = plain(&copy, &b[n..6 * n], 6, 5, n);
        let part = Matrix::new(&a, rows, columns).part(r, c);
        let factor = Matrix::new(&b, columns, n).part(1..6, 0..n);
        let step = n + 3;
        let mut out = vec![f64::NAN; 6 * step];
        product_within(part, factor, &mut out, step, Destination::Replace);
        for (got, want) in out.chunks(step).zip(expected.chunks(n)) {
            assert!(got[..n].iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12));
            assert!(got[n..].iter().all(|v| v.is_nan()), "beyond the part");
        }
    }

    #[test]
    fn a_column_of_the_result_does_not_depend_on_its_place() {
        let (m, k, n) = (70, 45, 128);
        let a: Vec<f32> = ramp(m * k).iter().map(|&v| v as f32).collect();
        let column: Vec<f32> = ramp(k).iter().map(|&v| v as f32).collect();
        let b: Vec<f32> = column.iter().flat_map(|&v| std::iter::repeat_n(v, n)).collect();
        let mut out = vec![0.0; m * n];
        product(Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out, Destination::Replace);
        for row in out.chunks(n) {
            assert!(row.iter().all(|v| v.to_bits() == row[0].to_bits()));
        }
    }
}
