//! The gradient of a potential network, and the backward pass through it.

use flows_core::Real;
use flows_core::elementwise::{softplus, tanh, vectorised};
use flows_core::matmul::{Destination, Matrix, product, product_within};
use flows_core::operation::LANES;

use crate::lane_sums::{add_totals, dot, total};
use flows_core::lanes::add_product;

/// Parameters of a potential (see [`PotentialField`](crate::PotentialField)), or their gradients,
/// which are added to.
#[derive(Debug)]
pub(crate) struct Potential<T> {
    /// Features of the state.
    pub(crate) dim: usize,
    /// Features of s.
    pub(crate) inputs: usize,
    /// K0, `(width, inputs)`.
    pub(crate) inner: T,
    /// b0
    pub(crate) inner_bias: T,
    /// K1, `(width, width)`.
    pub(crate) outer: T,
    /// b1
    pub(crate) outer_bias: T,
    /// w
    pub(crate) output: T,
    /// A, `(rank, inputs)`.
    pub(crate) quadratic: T,
    /// b, `(dim + 1)`.
    pub(crate) linear: T,
}

/// T0, T1 and x1 of an evaluation, or their gradients, `(width, LANES)` each.
#[derive(Debug, Default)]
pub(crate) struct Units<E> {
    pub(crate) inner: Vec<E>,
    pub(crate) outer: Vec<E>,
    pub(crate) back: Vec<E>,
}

/// The gradient g of the potential by (z, t). With T = tanh, which is sigma', and K and B the
/// columns of K0 and A for (z, t):
/// ```text
/// p0 = K0 s + b0,   u0 = sigma(p0),   p1 = K1 u0 + b1,   T0 = tanh p0,   T1 = tanh p1
/// y1 = T1 w,   x1 = w + K1^T y1,   y0 = T0 x1,   e = A s,   g = K^T y0 + B^T e + b
/// ```
/// Backward, with d for gradients, D = 1 - T^2, and dT0, dT1 and dx1 including the terms of the
/// trace:
/// ```text
/// dy0 = K dg,   dK = y0 dg^T,   de = B dg,   dB = e dg^T,   dA = de s^T,   db = dg
/// dx1 = T0 dy0,   dT0 = x1 dy0,   dy1 = K1 dx1,   dK1 = y1 dx1^T,   dw = dx1 + T1 dy1
/// dT1 = w dy1,   dp1 = D1 dT1,   dK1 += dp1 u0^T,   db1 = dp1,   du0 = K1^T dp1
/// dp0 = D0 dT0 + T0 du0,   dK0 = dp0 s^T,   db0 = dp0,   ds = K0^T dp0 + A^T de
/// ```
#[derive(Debug, Default)]
pub(crate) struct PotentialGradient<E> {
    /// g, `(dim + 1, LANES)`.
    pub(crate) slope: Vec<E>,
    pub(crate) units: Units<E>,
    pub(crate) d_units: Units<E>,
    /// s
    inputs: Vec<E>,
    /// u0
    bent: Vec<E>,
    /// y0 and y1
    weighed: [Vec<E>; 2],
    /// e
    form: Vec<E>,
    /// dg, de and ds
    d_slope: Vec<E>,
    d_form: Vec<E>,
    d_inputs: Vec<E>,
    /// Gradient of one layer at a time.
    scratch: Vec<E>,
}

impl<E: Real> Potential<&[E]> {
    fn width(&self) -> usize {
        self.output.len()
    }

    fn rank(&self) -> usize {
        self.quadratic.len() / self.inputs
    }

    /// K0 and its columns for (z, t).
    fn inner(&self) -> [Matrix<'_, E>; 2] {
        let all = Matrix::new(self.inner, self.width(), self.inputs);
        [all, all.part(0..self.width(), 0..self.dim + 1)]
    }

    /// A and its columns for (z, t).
    fn quadratic(&self) -> [Matrix<'_, E>; 2] {
        let all = Matrix::new(self.quadratic, self.rank(), self.inputs);
        [all, all.part(0..self.rank(), 0..self.dim + 1)]
    }

    fn outer(&self) -> Matrix<'_, E> {
        Matrix::new(self.outer, self.width(), self.width())
    }
}

/// Rows of a block as a matrix.
fn block<E: Copy>(rows: &[E]) -> Matrix<'_, E> {
    Matrix::new(rows, rows.len() / LANES, LANES)
}

impl<E: Real> PotentialGradient<E> {
    /// g, from the parts of s.
    pub(crate) fn forward(&mut self, potential: &Potential<&[E]>, parts: [&[E]; 3]) {
        self.inputs.clear();
        for part in parts {
            self.inputs.extend_from_slice(part);
        }
        let rows = potential.width() * LANES;
        let [y0, y1] = &mut self.weighed;
        let Units { inner, outer, back } = &mut self.units;
        for rows_of_units in [&mut *inner, outer, back, &mut self.bent, y0, y1] {
            rows_of_units.resize(rows, E::zero());
        }
        self.form.resize(potential.rank() * LANES, E::zero());
        self.slope.resize((potential.dim + 1) * LANES, E::zero());
        let ([k0, moving], [a, a_moving]) = (potential.inner(), potential.quadratic());
        vectorised(
            #[inline(always)]
            || {
                product(k0, block(&self.inputs), inner, Destination::Replace);
                bend_inner(inner, &mut self.bent, potential.inner_bias);
                product(potential.outer(), block(&self.bent), outer, Destination::Replace);
                bend_outer(outer, y1, potential);
                product(potential.outer().transposed(), block(y1), back, Destination::Replace);
                weigh_inner(inner, back, y0, potential.output);
                for (row, &b) in self.slope.chunks_exact_mut(LANES).zip(potential.linear) {
                    row.fill(b);
                }
                product(moving.transposed(), block(y0), &mut self.slope, Destination::Add);
                product(a, block(&self.inputs), &mut self.form, Destination::Replace);
                product(
                    a_moving.transposed(),
                    block(&self.form),
                    &mut self.slope,
                    Destination::Add,
                );
            },
        );
    }

    /// Zeroes the gradients of the units, to which the trace adds.
    pub(crate) fn clear_gradients(&mut self) {
        let Units { inner, outer, back } = &mut self.d_units;
        for rows in [inner, outer, back] {
            rows.clear();
            rows.resize(self.units.inner.len(), E::zero());
        }
    }

    /// Backward pass: from the gradients of the velocity and the residual, and those of the units
    /// in `d_units`, returns that of s and adds to those of the parameters.
    pub(crate) fn backward(
        &mut self,
        potential: &Potential<&[E]>,
        d_velocity: &[E],
        d_residual: &[E],
        sums: &mut Potential<&mut [E]>,
    ) -> &[E] {
        self.outgoing(d_velocity, d_residual);
        self.scratch.resize(self.units.inner.len(), E::zero());
        self.d_form.resize(self.form.len(), E::zero());
        self.d_inputs.resize(self.inputs.len(), E::zero());
        let ([k0, moving], [a, a_moving]) = (potential.inner(), potential.quadratic());
        let (columns, inputs) = (potential.inputs, block(&self.inputs).transposed());
        let d_slope = block(&self.d_slope);
        let [y0, y1] = &self.weighed;
        let turned = d_slope.transposed();
        vectorised(
            #[inline(always)]
            || {
                product(moving, d_slope, &mut self.scratch, Destination::Replace);
                product_within(block(y0), turned, sums.inner, columns, Destination::Add);
                product(a_moving, d_slope, &mut self.d_form, Destination::Replace);
                product_within(
                    block(&self.form),
                    turned,
                    sums.quadratic,
                    columns,
                    Destination::Add,
                );
                product(block(&self.d_form), inputs, sums.quadratic, Destination::Add);
                add_totals(&self.d_slope, sums.linear);
                let Units { inner, outer, back } = &mut self.d_units;
                add_product(inner, &self.units.back, &self.scratch);
                add_product(back, &self.units.inner, &self.scratch);
                add_totals(back, sums.output);
                product(potential.outer(), block(back), &mut self.scratch, Destination::Replace);
                product(block(y1), block(back).transposed(), sums.outer, Destination::Add);
                pull_outer(&self.units, &self.scratch, outer, potential, sums);
                product(block(outer), block(&self.bent).transposed(), sums.outer, Destination::Add);
                let turned = potential.outer().transposed();
                product(turned, block(outer), &mut self.scratch, Destination::Replace);
                pull_inner(&self.units, &self.scratch, inner, sums);
                product(block(inner), inputs, sums.inner, Destination::Add);
                product(k0.transposed(), block(inner), &mut self.d_inputs, Destination::Replace);
                product(a.transposed(), block(&self.d_form), &mut self.d_inputs, Destination::Add);
            },
        );
        &self.d_inputs
    }

    /// dg: the velocity is -g_z and the residual g_t - |g_z|^2 / 2, so that
    /// `dg_z = -dv - dr g_z` and `dg_t = dr`.
    fn outgoing(&mut self, d_velocity: &[E], d_residual: &[E]) {
        self.d_slope.clear();
        self.d_slope.extend_from_slice(d_velocity);
        self.d_slope.extend_from_slice(d_residual);
        let rows = self.d_slope.chunks_exact_mut(LANES).zip(self.slope.chunks_exact(LANES));
        for (d_slope, slope) in rows.take(d_velocity.len() / LANES) {
            for ((d_slope, &slope), &outer) in d_slope.iter_mut().zip(slope).zip(d_residual) {
                *d_slope = -*d_slope - outer * slope;
            }
        }
    }
}

/// Turns K0 s into T0 and writes u0: sigma(p) = ln(e^p + e^-p) = ln(1 + e^2p) - p.
#[inline(always)]
fn bend_inner<E: Real>(inner: &mut [E], bent: &mut [E], bias: &[E]) {
    let rows = inner.chunks_exact_mut(LANES).zip(bent.chunks_exact_mut(LANES));
    for ((inner, bent), &bias) in rows.zip(bias) {
        for (t, u) in inner.iter_mut().zip(bent) {
            let p = *t + bias;
            *t = tanh(p);
            *u = softplus(p + p) - p;
        }
    }
}

/// Turns K1 u0 into T1 and writes y1.
#[inline(always)]
fn bend_outer<E: Real>(outer: &mut [E], y1: &mut [E], potential: &Potential<&[E]>) {
    let rows = outer.chunks_exact_mut(LANES).zip(y1.chunks_exact_mut(LANES));
    let weights = potential.outer_bias.iter().zip(potential.output);
    for ((outer, y1), (&bias, &w)) in rows.zip(weights) {
        for (t, y) in outer.iter_mut().zip(y1) {
            *t = tanh(*t + bias);
            *y = *t * w;
        }
    }
}

/// Turns K1^T y1 into x1 and writes y0.
#[inline(always)]
fn weigh_inner<E: Real>(inner: &[E], back: &mut [E], y0: &mut [E], output: &[E]) {
    let rows = back.chunks_exact_mut(LANES).zip(y0.chunks_exact_mut(LANES));
    for ((inner, (back, y0)), &w) in inner.chunks_exact(LANES).zip(rows).zip(output) {
        for ((&t, x), y) in inner.iter().zip(back).zip(y0) {
            *x += w;
            *y = t * *x;
        }
    }
}

/// From dy1, and dT1 in `d_outer`, to dp1 in its place; adds to dw and db1.
#[inline(always)]
fn pull_outer<E: Real>(
    units: &Units<E>,
    d_y1: &[E],
    d_outer: &mut [E],
    potential: &Potential<&[E]>,
    sums: &mut Potential<&mut [E]>,
) {
    let rows = units.outer.chunks_exact(LANES).zip(d_y1.chunks_exact(LANES));
    for (i, (d_outer, (t, d_y1))) in d_outer.chunks_exact_mut(LANES).zip(rows).enumerate() {
        let w = potential.output[i];
        for ((d_outer, &t), &d_y1) in d_outer.iter_mut().zip(t).zip(d_y1) {
            *d_outer = (E::one() - t * t) * (*d_outer + w * d_y1);
        }
        sums.output[i] += dot(t, d_y1);
        sums.outer_bias[i] += total(d_outer);
    }
}

/// From du0, and dT0 in `d_inner`, to dp0 in its place; adds to db0.
#[inline(always)]
fn pull_inner<E: Real>(
    units: &Units<E>,
    d_u0: &[E],
    d_inner: &mut [E],
    sums: &mut Potential<&mut [E]>,
) {
    for ((d_inner, &t), &d_u0) in d_inner.iter_mut().zip(&units.inner).zip(d_u0) {
        *d_inner = (E::one() - t * t) * *d_inner + t * d_u0;
    }
    add_totals(d_inner, sums.inner_bias);
}
