//! Triangular matrices over blocks of rows: products, solves and their gradients.

use std::ops::Range;

use flows_core::Real;
use flows_core::elementwise::vectorised;
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;

/// Lanes whose sums stay in registers.
const ABREAST: usize = 64;

/// The nonzero half of a triangular matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangle {
    /// On and below the diagonal.
    Lower,
    /// On and above the diagonal.
    Upper,
}

impl Triangle {
    fn flipped(self) -> Self {
        match self {
            Self::Lower => Self::Upper,
            Self::Upper => Self::Lower,
        }
    }

    /// The columns off the diagonal in row i of n.
    #[inline(always)]
    fn places(self, i: usize, n: usize) -> Range<usize> {
        match self {
            Self::Lower => 0..i,
            Self::Upper => i + 1..n,
        }
    }

    /// The entries of an n x n matrix off the diagonal on this side, zero elsewhere: makes the
    /// gradient of the entries from that of [`TriangularMatrix::pull_product`] and [`TriangularMatrix::pull_solution`].
    pub(crate) fn entries<E: Real>(self, matrix: &[E], n: usize) -> Vec<E> {
        let mut entries = vec![E::zero(); matrix.len()];
        for i in 0..n {
            let Range { start, end } = self.places(i, n);
            let row = i * n + start..i * n + end;
            entries[row.clone()].copy_from_slice(&matrix[row]);
        }
        entries
    }
}

/// Replaces the log-diagonal s by exp(s) and returns the log-determinant, the sum of s.
pub(super) fn exponentiate<E: Real>(log_diagonal: &mut [E]) -> Vec<E> {
    let log_det = log_diagonal.iter().copied().sum();
    log_diagonal.iter_mut().for_each(|s| *s = s.exp());
    vec![log_det]
}

/// The gradient of s from that of the matrix, of which only the diagonal is read, and of the
/// log-det.
pub(super) fn pull_exponentials<E: Real>(matrix: &[E], diagonal: &[E], log_det: &[E]) -> Vec<E> {
    let own = matrix.iter().step_by(diagonal.len() + 1);
    own.zip(diagonal).map(|(&g, &d)| g * d + log_det[0]).collect()
}

/// A triangular matrix T that acts on the features of a block, as a view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TriangularMatrix<'a, E> {
    triangle: Triangle,
    /// Number of rows.
    n: usize,
    /// T_ij is `entries[i * row_step + j * column_step]` off the diagonal on the side of the triangle.
    entries: &'a [E],
    row_step: usize,
    column_step: usize,
    /// `None` for ones.
    diagonal: Option<&'a [E]>,
}

impl<'a, E: Real> TriangularMatrix<'a, E> {
    /// From a full matrix, row by row, of which only the entries off the diagonal are read, and the
    /// diagonal.
    pub(crate) fn new(triangle: Triangle, entries: &'a [E], diagonal: &'a [E]) -> Self {
        Self { diagonal: Some(diagonal), ..Self::unit(triangle, entries, diagonal.len()) }
    }

    /// As [`new`](Self::new), with n ones on the diagonal.
    pub(crate) fn unit(triangle: Triangle, entries: &'a [E], n: usize) -> Self {
        Self { triangle, n, entries, row_step: n, column_step: 1, diagonal: None }
    }

    /// The diagonal; empty where it holds ones.
    pub(crate) fn diagonal(&self) -> &'a [E] {
        self.diagonal.unwrap_or_default()
    }

    /// The transpose, as a view.
    pub(crate) fn transposed(&self) -> Self {
        let (row_step, column_step) = (self.column_step, self.row_step);
        Self { triangle: self.triangle.flipped(), row_step, column_step, ..*self }
    }

    /// The rows in the order of substitution: each needs only earlier ones.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> + use<'a, E> {
        let (last, upper) = (self.n, self.triangle == Triangle::Upper);
        (0..last).map(move |step| if upper { last - 1 - step } else { step })
    }

    /// T v in place.
    pub(crate) fn multiply(&self, v: &mut [E]) {
        self.sweep::<false>(v);
    }

    /// Solves T w = v in place.
    pub(crate) fn solve(&self, v: &mut [E]) {
        self.sweep::<true>(v);
    }

    /// Solves w_i = (v_i - sum of T_ij w_j) / T_ii in place; or multiplies, T_ii v_i + sum of T_ij
    /// v_j, in the opposite order, which does not overwrite rows still to be read.
    fn sweep<const SOLVE: bool>(&self, v: &mut [E]) {
        let last = self.n.saturating_sub(1);
        vectorised(
            #[inline(always)]
            || {
                for first in (0..LANES).step_by(ABREAST) {
                    for row in self.rows() {
                        let i = if SOLVE { row } else { last - row };
                        let sums = self.part(i, v, first);
                        let target = &mut v[i * LANES + first..][..ABREAST];
                        if let Some(diagonal) = self.diagonal {
                            let own = diagonal[i];
                            for (value, &sum) in target.iter_mut().zip(&sums) {
                                *value = if SOLVE {
                                    (*value - sum) / own
                                } else {
                                    own.mul_add(*value, sum)
                                };
                            }
                        } else {
                            for (value, &sum) in target.iter_mut().zip(&sums) {
                                *value = if SOLVE { *value - sum } else { *value + sum };
                            }
                        }
                    }
                }
            },
        );
    }

    /// The sum of T_ij v_j over j other than i.
    pub(crate) fn others(&self, i: usize, v: &[E]) -> [E; LANES] {
        let mut sums = [E::zero(); LANES];
        vectorised(
            #[inline(always)]
            || {
                for (part, chunk) in sums.chunks_exact_mut(ABREAST).enumerate() {
                    chunk.copy_from_slice(&self.part(i, v, part * ABREAST));
                }
            },
        );
        sums
    }

    /// As [`others`](Self::others), for the lanes from `first`.
    #[inline(always)]
    fn part(&self, i: usize, v: &[E], first: usize) -> [E; ABREAST] {
        let mut sums = [E::zero(); ABREAST];
        for j in self.triangle.places(i, self.n) {
            let entry = self.entries[i * self.row_step + j * self.column_step];
            let source = &v[j * LANES + first..][..ABREAST];
            for (sum, &value) in sums.iter_mut().zip(source) {
                *sum = entry.mul_add(value, *sum);
            }
        }
        sums
    }

    /// Backward pass of T v: the gradient g becomes that of v, in place, and g v^T is added to that
    /// of T as a full matrix, meaningless on the other side of the diagonal, see
    /// [`Triangle::entries`].
    pub(crate) fn pull_product(&self, v: &[E], gradient: &mut [E], matrix: &mut [E]) {
        add_outer(gradient, v, matrix);
        self.transposed().multiply(gradient);
    }

    /// Backward pass of w = T^-1 v with *minus* the gradients of w and v: g becomes T^-T g, and T
    /// receives (T^-T g) w^T.
    pub(crate) fn pull_solution(&self, w: &[E], minus_gradient: &mut [E], matrix: &mut [E]) {
        self.transposed().solve(minus_gradient);
        add_outer(minus_gradient, w, matrix);
    }
}

/// `matrix += a b^T`
fn add_outer<E: Real>(a: &[E], b: &[E], matrix: &mut [E]) {
    let n = a.len() / LANES;
    let b = Matrix::new(b, n, LANES).transposed();
    product(Matrix::new(a, n, LANES), b, matrix, Destination::Add);
}

/// `v += sign by`, one value of `by` for each feature.
pub(crate) fn shift<E: Real>(v: &mut [E], sign: E, by: &[E]) {
    for (row, &value) in v.chunks_exact_mut(LANES).zip(by) {
        for element in row {
            *element += sign * value;
        }
    }
}

/// `to = -from`
pub(super) fn negate<E: Real>(from: &[E], to: &mut [E]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = -from);
}
