//! The normal distribution with any covariance.

use nalgebra::{Cholesky, DMatrix};

use super::normal::HALF_LN_TWO_PI;
use crate::elementwise::vectorised;
use crate::lanes::{lanes, named, named_mut};
use crate::layout::{HasLayout, Layout};
use crate::operation::{LANES, Recorded};
use crate::{Distribution, Error, Real, Result, Scratch, Stream, normals};

/// z = m + L u with u from N(0, I). The tensor `factor` holds L below the diagonal, its logarithm
/// on the diagonal and zero above.
#[derive(Debug)]
pub(super) struct FullNormal {
    pub(super) dim: usize,
}

impl HasLayout for FullNormal {
    fn layout(&self) -> Vec<Layout> {
        let dim = self.dim;
        vec![Layout::zeros("location", 1, dim), Layout::zeros("factor", dim, dim)]
    }
}

impl<E: Real> Distribution<E> for FullNormal {
    fn dim(&self) -> usize {
        self.dim
    }

    /// y = L^-1 (z - m) by forward substitution.
    fn log_density(&self, z: &[E], parameters: &[&[E]], scratch: &mut Scratch, sums: &mut [E]) {
        let [location, factor] = named(parameters);
        // y
        let workspace: &mut Vec<E> = scratch.or_default();
        workspace.clear();
        workspace.extend_from_slice(z);
        for (i, row) in factor.chunks_exact(self.dim).enumerate() {
            let (done, rest) = workspace.split_at_mut(i * LANES);
            let y = &mut rest[..LANES];
            y.iter_mut().for_each(|y| *y -= location[i]);
            for (known, &entry) in done.chunks_exact(LANES).zip(row) {
                add_multiple(y, -entry, known);
            }
            let (inverse, constant) = ((-row[i]).exp(), row[i] + E::of(HALF_LN_TWO_PI));
            for (sum, y) in sums.iter_mut().zip(y) {
                *y *= inverse;
                *sum -= E::of(0.5) * *y * *y + constant;
            }
        }
    }

    /// With a = L^-T y: d/dz = -a, d/dm = a, d/dL_ij = a_i y_j, and d/dl_ii = a_i y_i L_ii - 1.
    fn pull_log_density(
        &self,
        at: Recorded<'_, E>,
        outer: &[E],
        d_z: &mut [E],
        d_parameters: &mut [&mut [E]],
    ) {
        let (dim, y) = (self.dim, &*at.scratch.left::<Vec<E>>());
        let [_, factor] = named(at.parameters);
        let [d_location, d_factor] = named_mut(d_parameters);
        // -a times the outer gradient, from the last feature to the first.
        for i in (0..dim).rev() {
            let (front, behind) = d_z.split_at_mut((i + 1) * LANES);
            let a = &mut front[i * LANES..];
            for ((a, &y), &outer) in a.iter_mut().zip(&y[i * LANES..]).zip(outer) {
                *a = -(y * outer);
            }
            for (k, known) in (i + 1..dim).zip(behind.chunks_exact(LANES)) {
                add_multiple(a, -factor[k * dim + i], known);
            }
            let inverse = (-factor[i * dim + i]).exp();
            a.iter_mut().for_each(|a| *a *= inverse);
            d_location[i] -= a.iter().copied().sum();
            for (j, y) in y.chunks_exact(LANES).take(i).enumerate() {
                d_factor[i * dim + j] -= dot(a, y);
            }
            let diagonal = factor[i * dim + i].exp() * dot(a, lanes(y, i));
            d_factor[i * dim + i] -= diagonal + outer.iter().copied().sum();
        }
    }

    fn noise(&self, rows: usize, _: &[Vec<E>], rng: &mut Stream) -> Vec<E> {
        normals(rows * self.dim, rng)
    }

    fn draw(&self, noise: &[E], parameters: &[&[E]], z: &mut [E]) {
        let [location, factor] = named(parameters);
        for (i, z) in z.chunks_exact_mut(LANES).enumerate() {
            z.fill(location[i]);
            for (j, noise) in noise.chunks_exact(LANES).take(i + 1).enumerate() {
                let entry = factor[i * self.dim + j];
                add_multiple(z, if i == j { entry.exp() } else { entry }, noise);
            }
        }
    }

    /// d/dm = g, d/dL_ij = g_i u_j, d/dl_ii = g_i u_i L_ii.
    fn pull_draw(
        &self,
        noise: &[E],
        parameters: &[&[E]],
        outer: &[E],
        d_parameters: &mut [&mut [E]],
    ) {
        let [_, factor] = named(parameters);
        let [d_location, d_factor] = named_mut(d_parameters);
        for (i, outer) in outer.chunks_exact(LANES).enumerate() {
            d_location[i] += outer.iter().copied().sum();
            for (j, noise) in noise.chunks_exact(LANES).take(i + 1).enumerate() {
                let at = i * self.dim + j;
                let slope = if i == j { factor[at].exp() } else { E::one() };
                d_factor[at] += slope * dot(outer, noise);
            }
        }
    }

    fn fit(&self, z: &[f64], _: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        let dim = self.dim;
        let rows = z.len() / dim;
        let mut centred = DMatrix::from_row_slice(rows, dim, z);
        let mean = centred.row_mean();
        for mut row in centred.row_iter_mut() {
            row -= &mean;
        }
        let covariance = centred.tr_mul(&centred) / rows as f64;
        let factor = Cholesky::new(covariance).map(|c| c.unpack());
        let Some(factor) = factor.filter(|l| l.iter().all(|v| v.is_finite())) else {
            let row = z.chunks(dim).position(|row| row.iter().any(|v| !v.is_finite()));
            let advice = "give more rows than columns, all finite and no column a linear combination of others";
            let quantity = "Cholesky factor of the base's covariance";
            return Err(Error::NonFinite { quantity, row: row.unwrap_or(0), advice });
        };
        let stored = |at: usize| match (at / dim, at % dim) {
            (i, j) if i == j => factor[(i, i)].ln(),
            (i, j) if i > j => factor[(i, j)],
            _ => 0.0,
        };
        Ok(vec![mean.iter().copied().collect(), (0..dim * dim).map(stored).collect()])
    }
}

/// `sum += factor * values`, lane by lane.
#[inline(always)]
fn add_multiple<E: Real>(sum: &mut [E], factor: E, values: &[E]) {
    vectorised(
        #[inline(always)]
        || {
            for (sum, &value) in sum.iter_mut().zip(values) {
                *sum = factor.mul_add(value, *sum);
            }
        },
    );
}

fn dot<E: Real>(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}
