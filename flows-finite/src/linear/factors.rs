//! Triangular matrices over blocks of rows: products, solves and their gradients.

use flows_core::Real;
use flows_core::elementwise::vectorised;
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;

/// Lanes whose sums stay in registers.
const ABREAST: usize = 64;

/// Which half of a matrix is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangle {
    /// On and below the diagonal.
    Lower,
    /// On and above the diagonal.
    Upper,
}

/// A triangular matrix T of n rows that acts on the features of a block.
#[derive(Debug)]
pub(crate) struct Factor<E> {
    triangle: Triangle,
    /// `(n, n)`, read off the diagonal on the side of the triangle.
    entries: Vec<E>,
    diagonal: Vec<E>,
}

impl<E: Real> Factor<E> {
    /// From a full matrix, of which only the entries off the diagonal are read, and the diagonal.
    pub(crate) fn new(triangle: Triangle, entries: &[E], diagonal: Vec<E>) -> Self {
        Self { triangle, entries: entries.to_vec(), diagonal }
    }

    pub(crate) fn diagonal(&self) -> &[E] {
        &self.diagonal
    }

    pub(crate) fn transposed(&self) -> Self {
        let n = self.diagonal.len();
        let triangle = match self.triangle {
            Triangle::Lower => Triangle::Upper,
            Triangle::Upper => Triangle::Lower,
        };
        let mut entries = vec![E::zero(); n * n];
        for (i, row) in self.entries.chunks_exact(n).enumerate() {
            for (j, &entry) in row.iter().enumerate() {
                entries[j * n + i] = entry;
            }
        }
        Self { triangle, entries, diagonal: self.diagonal.clone() }
    }

    /// The rows in an order in which each needs only earlier ones: that of a solve.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> + use<E> {
        let (last, upper) = (self.diagonal.len(), self.triangle == Triangle::Upper);
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

    /// w_i = (v_i - sum of T_ij w_j) / T_ii, or T_ii v_i + sum of T_ij v_j in the opposite order, in
    /// which rows that are still to be read are not yet overwritten.
    fn sweep<const SOLVE: bool>(&self, v: &mut [E]) {
        let last = self.diagonal.len().saturating_sub(1);
        vectorised(
            #[inline(always)]
            || {
                for first in (0..LANES).step_by(ABREAST) {
                    for row in self.rows() {
                        let i = if SOLVE { row } else { last - row };
                        let sums = self.part(i, v, first);
                        let own = self.diagonal[i];
                        let target = &mut v[i * LANES + first..][..ABREAST];
                        for (value, &sum) in target.iter_mut().zip(&sums) {
                            *value =
                                if SOLVE { (*value - sum) / own } else { own.mul_add(*value, sum) };
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
        let n = self.diagonal.len();
        let places = match self.triangle {
            Triangle::Lower => 0..i,
            Triangle::Upper => i + 1..n,
        };
        let mut sums = [E::zero(); ABREAST];
        for j in places {
            let entry = self.entries[i * n + j];
            let source = &v[j * LANES + first..][..ABREAST];
            for (sum, &value) in sums.iter_mut().zip(source) {
                *sum = entry.mul_add(value, *sum);
            }
        }
        sums
    }

    /// From the gradient of T v to that of v, in place; adds that of the entries and returns that
    /// of the diagonal.
    pub(crate) fn pull_product(&self, v: &[E], gradient: &mut [E], entries: &mut [E]) -> Vec<E> {
        let diagonal = self.add_outer(gradient, v, E::one(), entries);
        self.transposed().multiply(gradient);
        diagonal
    }

    /// As [`pull_product`](Self::pull_product) for w = T^-1 v: the gradient g of w becomes T^-T g,
    /// and T receives -(T^-T g) w^T.
    pub(crate) fn pull_solution(&self, w: &[E], gradient: &mut [E], entries: &mut [E]) -> Vec<E> {
        self.transposed().solve(gradient);
        self.add_outer(gradient, w, -E::one(), entries)
    }

    /// Adds the part of `sign` a b^T off the diagonal to `entries` and returns its diagonal.
    fn add_outer(&self, a: &[E], b: &[E], sign: E, entries: &mut [E]) -> Vec<E> {
        let n = self.diagonal.len();
        let mut outer = vec![E::zero(); n * n];
        let columns = Matrix::new(b, n, LANES).transposed();
        product(Matrix::new(a, n, LANES), columns, &mut outer, Destination::Replace);
        for i in 0..n {
            let side = match self.triangle {
                Triangle::Lower => i * n..i * n + i,
                Triangle::Upper => i * n + i + 1..(i + 1) * n,
            };
            for (sum, &term) in entries[side.clone()].iter_mut().zip(&outer[side]) {
                *sum += sign * term;
            }
        }
        outer.iter().step_by(n + 1).map(|&term| sign * term).collect()
    }
}

/// Adds `sign` times one value a feature to all lanes.
pub(crate) fn shift<E: Real>(v: &mut [E], sign: E, by: &[E]) {
    for (row, &value) in v.chunks_exact_mut(LANES).zip(by) {
        for element in row {
            *element += sign * value;
        }
    }
}

/// Adds `sign` times the sum over the lanes of each feature to `sums`.
pub(crate) fn add_lane_sums<E: Real>(v: &[E], sign: E, sums: &mut [E]) {
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
