//! Formulas of Sylvester flows on a block of rows.

use flows_core::elementwise::{ln, map, tanh, vectorised};
use flows_core::lanes::{add, add_lane_sums, add_product, lanes, named};
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;
use flows_core::{Real, Result};

use crate::linear::triangular_matrix::{Triangle, TriangularMatrix, shift};
use crate::residual::tanh_root;

/// Values at a point z: y = Q^T z, h = tanh(R~ y + b) and r = R h; and buffers.
#[derive(Debug, Default)]
pub(super) struct Point<E> {
    y: Vec<E>,
    h: Vec<E>,
    r: Vec<E>,
    buffers: [Vec<E>; 3],
}

/// Q^T, R, R~ and b.
pub(super) struct Parts<'a, E> {
    frame: Matrix<'a, E>,
    r: TriangularMatrix<'a, E>,
    r_tilde: TriangularMatrix<'a, E>,
    bias: &'a [E],
    dim: usize,
    units: usize,
}

impl<'a, E: Real> Parts<'a, E> {
    /// From Q^T, R, its diagonal, R~, its diagonal, and b.
    pub(super) fn new((dim, units): (usize, usize), parameters: &[&'a [E]]) -> Self {
        let [frame, r, diagonal, r_tilde, diagonal_tilde, bias] = named(parameters);
        let r = TriangularMatrix::new(Triangle::Upper, r, diagonal);
        let r_tilde = TriangularMatrix::new(Triangle::Upper, r_tilde, diagonal_tilde);
        Self { frame: Matrix::new(frame, units, dim), r, r_tilde, bias, dim, units }
    }

    /// c_i = R_ii R~_ii
    fn slopes(&self) -> Vec<E> {
        self.r.diagonal().iter().zip(self.r_tilde.diagonal()).map(|(&r, &s)| r * s).collect()
    }

    /// Q^T v
    fn coordinates(&self, v: &[E], out: &mut Vec<E>) {
        out.resize(self.units * LANES, E::zero());
        product(self.frame, Matrix::new(v, self.dim, LANES), out, Destination::Replace);
    }

    /// v += Q u
    fn add_span(&self, u: &[E], v: &mut [E]) {
        let u = Matrix::new(u, self.units, LANES);
        product(self.frame.transposed(), u, v, Destination::Add);
    }

    /// R~ y + b
    fn arguments(&self, y: &[E], a: &mut Vec<E>) {
        copy(y, a);
        self.r_tilde.multiply(a);
        shift(a, E::one(), self.bias);
    }

    /// x from z, with the values at z.
    pub(super) fn forward(&self, z: &[E], point: &mut Point<E>, x: &mut [E]) {
        let Point { y, h, r, .. } = point;
        self.coordinates(z, y);
        self.arguments(y, h);
        map(h, tanh);
        copy(h, r);
        self.r.multiply(r);
        x.copy_from_slice(z);
        self.add_span(r, x);
    }

    /// z from x, with the values at z; returns the number of evaluations of tanh.
    pub(super) fn inverse(&self, x: &[E], point: &mut Point<E>, z: &mut [E]) -> Result<u64> {
        let Point { y, h, r, buffers: [a, ..] } = point;
        self.coordinates(x, y);
        self.arguments(y, a);
        let mut evaluations = 0;
        eliminate([&self.r_tilde, &self.r], a, h, r, |_, c, a, h| {
            evaluations += tanh_root::solve("Sylvester flow", a, E::one() + c)?;
            h.copy_from_slice(a);
            map(h, tanh);
            Ok(())
        })?;
        z.copy_from_slice(x);
        negate(r);
        self.add_span(r, z);
        add(y, r);
        negate(r);
        Ok(evaluations)
    }

    /// `sign` times the sum of log(1 + s_i c_i), s = 1 - h^2.
    pub(super) fn add_log_det(&self, point: &Point<E>, sign: E, log_det: &mut [E]) {
        for (h, c) in point.h.chunks_exact(LANES).zip(self.slopes()) {
            vectorised(
                #[inline(always)]
                || {
                    for (total, &h) in log_det.iter_mut().zip(h) {
                        *total += sign * ln((E::one() - h * h).mul_add(c, E::one()));
                    }
                },
            );
        }
    }

    /// With l the gradient of the log-det, turns h into the gradient of a and returns that of c:
    /// ```text
    /// -2 l h s c / (1 + s c),   sum over lanes of l s / (1 + s c)
    /// ```
    fn log_det_gradient(&self, l: &[E], h: &mut [E]) -> Vec<E> {
        let mut slopes = self.slopes();
        for (row, c) in h.chunks_exact_mut(LANES).zip(&mut slopes) {
            let mut sums = [E::zero(); LANES];
            vectorised(
                #[inline(always)]
                || {
                    for ((value, sum), &l) in row.iter_mut().zip(&mut sums).zip(l) {
                        let s = E::one() - *value * *value;
                        *sum = l * s / s.mul_add(*c, E::one());
                        *value = -(*value + *value) * *sum * *c;
                    }
                },
            );
            *c = sums.iter().copied().sum();
        }
        slopes
    }

    /// Backward pass: turns the gradient g of x, with l of the log-det, into that of z, and adds
    /// those of the parameters; R and R~ get that of their diagonal without the term of the
    /// log-det.
    pub(super) fn pull(
        &self,
        z: &[E],
        point: &mut Point<E>,
        (g, l): (&mut [E], &[E]),
        [d_frame, d_r, d_diagonal, d_r_tilde, d_diagonal_tilde, d_bias]: [&mut [E]; 6],
    ) {
        let (dim, units) = (self.dim, self.units);
        let Point { y, h, r, buffers: [gradient, curvature, _] } = point;
        let r = Matrix::new(r, units, LANES);
        product(r, Matrix::new(g, dim, LANES).transposed(), d_frame, Destination::Add);
        self.coordinates(g, gradient);
        self.r.pull_product(h, gradient, d_r);
        copy(h, curvature);
        let d_slopes = self.log_det_gradient(l, curvature);
        vectorised(
            #[inline(always)]
            || {
                for ((value, &h), &e) in gradient.iter_mut().zip(h.iter()).zip(curvature.iter()) {
                    *value = (E::one() - h * h).mul_add(*value, e);
                }
            },
        );
        add_lane_sums(gradient, E::one(), d_bias);
        self.r_tilde.pull_product(y, gradient, d_r_tilde);
        let z = Matrix::new(z, dim, LANES).transposed();
        product(Matrix::new(gradient, units, LANES), z, d_frame, Destination::Add);
        self.add_span(gradient, g);
        add_product(d_diagonal, self.r_tilde.diagonal(), &d_slopes);
        add_product(d_diagonal_tilde, self.r.diagonal(), &d_slopes);
    }

    /// J^-T g, in place, by the matrix determinant lemma. With J = I + Q R S R~ Q^T and S =
    /// diag(s),
    /// ```text
    /// J^-T g = g - Q R~^T w,   w = S u,   u + R^T R~^T w = R^T Q^T g
    /// ```
    pub(super) fn solve_transposed(&self, point: &mut Point<E>, g: &mut [E]) -> Result<()> {
        let (r, r_tilde) = (self.r.transposed(), self.r_tilde.transposed());
        let Point { h, buffers: [u, w, v], .. } = point;
        self.coordinates(g, u);
        r.multiply(u);
        eliminate([&r, &r_tilde], u, w, v, |i, c, u, w| {
            vectorised(
                #[inline(always)]
                || {
                    for ((w, u), &h) in w.iter_mut().zip(u).zip(lanes(h, i)) {
                        let s = E::one() - h * h;
                        *w = s * *u / s.mul_add(c, E::one());
                    }
                },
            );
            Ok(())
        })?;
        negate(v);
        self.add_span(v, g);
        Ok(())
    }
}

/// Solves u + F G w = t with w_i = phi_i(u_i) row by row, phi_i being tanh or a factor, F and G
/// triangular on the same side; writes w and v = G w.
///
/// For row i, `unit` gets (i, c, t') with c = F_ii G_ii and writes the w_i with u_i + c w_i = t';
/// it may use t' as scratch space.
fn eliminate<E: Real>(
    [f, g]: [&TriangularMatrix<E>; 2],
    t: &mut [E],
    w: &mut Vec<E>,
    v: &mut Vec<E>,
    mut unit: impl FnMut(usize, E, &mut [E], &mut [E]) -> Result<()>,
) -> Result<()> {
    w.resize(t.len(), E::zero());
    v.resize(t.len(), E::zero());
    for i in f.rows() {
        let (own_f, own_g) = (f.diagonal()[i], g.diagonal()[i]);
        let (inner, outer) = (g.others(i, w), f.others(i, v));
        let lanes = i * LANES..(i + 1) * LANES;
        let (t, w, v) = (&mut t[lanes.clone()], &mut w[lanes.clone()], &mut v[lanes]);
        for ((t, &inner), &outer) in t.iter_mut().zip(&inner).zip(&outer) {
            *t = *t - outer - own_f * inner;
        }
        unit(i, own_f * own_g, t, w)?;
        for ((v, &inner), &w) in v.iter_mut().zip(&inner).zip(w.iter()) {
            *v = inner + own_g * w;
        }
    }
    Ok(())
}

fn copy<E: Real>(values: &[E], into: &mut Vec<E>) {
    into.clear();
    into.extend_from_slice(values);
}

fn negate<E: Real>(values: &mut [E]) {
    for value in values {
        *value = -*value;
    }
}
