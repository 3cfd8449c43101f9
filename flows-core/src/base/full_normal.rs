//! A normal with any covariance.

use nalgebra::{Cholesky, DMatrix};

use super::normal::HALF_LN_TWO_PI;
use crate::elementwise::vectorised;
use crate::operation::{LANES, Operation, Recorded, apply};
use crate::parameters::{Role, Visitor, VisitorMut};
use crate::tape::Tape;
use crate::tensor::{Batch, Values, batch, columns, set_values};
use crate::{Error, Real, Result, Scratch, Stream, normals};

/// N(m, L L^T) with learned location m and lower triangular factor L, whose diagonal is the
/// exponential of what is stored:
///
/// ```text
/// log p(z) = -|y|^2 / 2 - sum of l_ii - D ln(2 pi) / 2,   L y = z - m,   L_ii = e^l_ii
/// ```
///
/// The fit is closed: mean and covariance of the rows (review, Section 2.3.1), of which the factor is
/// Cholesky's. A row costs D^2 operations, the fit D^2 a row and D^3.
#[derive(Clone, Debug)]
pub struct FullNormal<E: Real> {
    /// `(1, dim)`
    location: Batch<E>,
    /// `(dim, dim)`: L below the diagonal, its logarithm on the diagonal, nothing above.
    factor: Batch<E>,
}

impl<E: Real> FullNormal<E> {
    pub(super) fn new(dim: usize) -> Result<Self> {
        let location = batch(vec![E::zero(); dim], 1, dim)?;
        Ok(Self { location, factor: batch(vec![E::zero(); dim * dim], dim, dim)? })
    }

    pub(super) fn dim(&self) -> usize {
        columns(&self.location)
    }

    pub(super) fn log_density(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        Ok(apply(LogDensity, &[z], &self.tensors(), tape)?.remove(0))
    }

    /// m + L u, differentiable in both.
    pub(super) fn draw(
        &self,
        rows: usize,
        tape: &mut Tape<E>,
        rng: &mut Stream,
    ) -> Result<Batch<E>> {
        let dim = self.dim();
        let noise = batch(normals(rows * dim, rng), rows, dim)?;
        Ok(apply(Draw { dim }, &[&noise], &self.tensors(), tape)?.remove(0))
    }

    pub(super) fn fit(&mut self, z: &Batch<E>) -> Result<()> {
        let (rows, dim) = (z.rows(), self.dim());
        let values: Vec<f64> = z.values().iter().map(|v| v.as_f64()).collect();
        let mut centred = DMatrix::from_row_slice(rows, dim, &values);
        let mean = centred.row_mean();
        for mut row in centred.row_iter_mut() {
            row -= &mean;
        }
        let covariance = centred.tr_mul(&centred) / rows as f64;
        let factor = Cholesky::new(covariance).map(|c| c.unpack());
        let Some(factor) = factor.filter(|l| l.iter().all(|v| v.is_finite())) else {
            let row = values.chunks(dim).position(|row| row.iter().any(|v| !v.is_finite()));
            let advice = "give more rows than columns, none a combination of others, all finite";
            let quantity = "Cholesky factor of the base's covariance";
            return Err(Error::NonFinite { quantity, row: row.unwrap_or(0), advice });
        };
        let stored = |at: usize| match (at / dim, at % dim) {
            (i, j) if i == j => factor[(i, i)].ln(),
            (i, j) if i > j => factor[(i, j)],
            _ => 0.0,
        };
        let factor: Vec<E> = (0..dim * dim).map(|at| E::of(stored(at))).collect();
        let location: Vec<E> = mean.iter().map(|&v| E::of(v)).collect();
        set_values(&mut self.location, &location)?;
        set_values(&mut self.factor, &factor)
    }

    pub(super) fn visit(&self, f: &mut Visitor<'_, E>) {
        f("location", Role::Learned, &self.location);
        f("factor", Role::Learned, &self.factor);
    }

    pub(super) fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("location", Role::Learned, &mut self.location)?;
        f("factor", Role::Learned, &mut self.factor)
    }

    fn tensors(&self) -> [Batch<E>; 2] {
        [self.location.clone(), self.factor.clone()]
    }
}

/// sum of `factor` times `values` into `sum`, lane by lane.
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

/// y by forward substitution. With a = L^-T y: d/dz = -a, d/dm = a, d/dL_ij = a_i y_j, and
/// d/dl_ii = a_i y_i L_ii - 1.
struct LogDensity;

impl<E: Real> Operation<E> for LogDensity {
    fn name(&self) -> &'static str {
        "full normal log-density"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let (location, factor, dim) = (parameters[0], parameters[1], parameters[0].len());
        // y
        let workspace: &mut Vec<E> = scratch.or_default();
        workspace.clear();
        workspace.extend_from_slice(inputs[0]);
        for i in 0..dim {
            let (done, rest) = workspace.split_at_mut(i * LANES);
            let y = &mut rest[..LANES];
            y.iter_mut().for_each(|y| *y -= location[i]);
            for (j, known) in done.chunks_exact(LANES).enumerate() {
                add_multiple(y, -factor[i * dim + j], known);
            }
            let inverse = (-factor[i * dim + i]).exp();
            let constant = factor[i * dim + i] + E::of(HALF_LN_TWO_PI);
            for (sum, y) in outputs[0].iter_mut().zip(y) {
                *y *= inverse;
                *sum -= E::of(0.5) * *y * *y + constant;
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let (factor, dim) = (block.parameters[1], block.parameters[0].len());
        let (y, outer) = (&*block.scratch.left::<Vec<E>>(), output_gradients[0]);
        // -a times the outer gradient, from the last feature to the first.
        let inner = &mut *input_gradients[0];
        for i in (0..dim).rev() {
            let (front, behind) = inner.split_at_mut((i + 1) * LANES);
            let a = &mut front[i * LANES..];
            for ((a, &y), &outer) in a.iter_mut().zip(&y[i * LANES..]).zip(outer) {
                *a = -(y * outer);
            }
            for (k, known) in (i + 1..dim).zip(behind.chunks_exact(LANES)) {
                add_multiple(a, -factor[k * dim + i], known);
            }
            let inverse = (-factor[i * dim + i]).exp();
            a.iter_mut().for_each(|a| *a *= inverse);
            parameter_gradients[0][i] -= a.iter().copied().sum();
            for (j, y) in y.chunks_exact(LANES).take(i).enumerate() {
                parameter_gradients[1][i * dim + j] -= dot(a, y);
            }
            let diagonal = factor[i * dim + i].exp() * dot(a, &y[i * LANES..(i + 1) * LANES]);
            parameter_gradients[1][i * dim + i] -= diagonal + outer.iter().copied().sum();
        }
        Ok(())
    }
}

/// z = m + L u: d/dm = g, d/dL_ij = g_i u_j, d/dl_ii = g_i u_i L_ii.
struct Draw {
    dim: usize,
}

impl<E: Real> Operation<E> for Draw {
    fn name(&self) -> &'static str {
        "draws of a full normal"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let (location, factor, dim) = (parameters[0], parameters[1], self.dim);
        for (i, z) in outputs[0].chunks_exact_mut(LANES).enumerate() {
            z.fill(location[i]);
            for (j, noise) in inputs[0].chunks_exact(LANES).take(i + 1).enumerate() {
                let entry = factor[i * dim + j];
                add_multiple(z, if i == j { entry.exp() } else { entry }, noise);
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        _: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let dim = self.dim;
        for (i, outer) in output_gradients[0].chunks_exact(LANES).enumerate() {
            parameter_gradients[0][i] += outer.iter().copied().sum();
            for (j, noise) in block.inputs[0].chunks_exact(LANES).take(i + 1).enumerate() {
                let at = i * dim + j;
                let slope = if i == j { block.parameters[1][at].exp() } else { E::one() };
                parameter_gradients[1][at] += slope * dot(outer, noise);
            }
        }
        Ok(())
    }
}
