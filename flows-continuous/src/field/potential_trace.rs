//! The exact trace of the Hessian of a potential network, at the cost of one widened product.

use flows_core::Real;
use flows_core::elementwise::vectorised;
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;

use crate::field::potential_gradient::{Potential, Units};
use crate::lane_sums::{dot, total};

/// The trace of the Hessian in z. With T = tanh p and D = 1 - T^2 of the two layers, sums over k
/// running over the state's features:
/// ```text
/// tr = sum_j D0_j x1_j kappa_j + sum_i D1_i w_i rho_i + sum A_rk^2
/// kappa_j = sum_k K0_jk^2,   Q_jk = T0_j K0_jk,   P = K1 Q,   rho_i = sum_k P_ik^2
/// ```
/// and, with a bar for gradients and tau for that of the trace, since dD/dT = -2 T:
/// ```text
/// dP_ik = 2 tau D1_i w_i P_ik,   dQ = K1^T dP,   dK1 = dP Q^T
/// dT1_i = -2 tau w_i rho_i T1_i,   dw_i = tau D1_i rho_i,   dx1_j = tau D0_j kappa_j
/// dT0_j = -2 tau kappa_j x1_j T0_j + sum_k dQ_jk K0_jk
/// dK0_jk = dQ_jk T0_j + 2 tau D0_j x1_j K0_jk,   dA_rk = 2 tau A_rk
/// ```
#[derive(Debug, Default)]
pub(crate) struct HessianTrace<E> {
    /// Q, `(width, dim LANES)`.
    spread: Vec<E>,
    /// P, `(width, dim LANES)`.
    image: Vec<E>,
    /// rho, `(width, LANES)`.
    norms: Vec<E>,
}

impl<E: Real> HessianTrace<E> {
    /// Writes minus the trace, which is the trace of the Jacobian of the velocity.
    pub(crate) fn forward(&mut self, weights: &Potential<&[E]>, at: &Units<E>, row: &mut [E]) {
        let (width, columns) = (weights.output.len(), weights.dim * LANES);
        self.spread.resize(width * columns, E::zero());
        self.image.resize(width * columns, E::zero());
        self.norms.clear();
        self.norms.resize(width * LANES, E::zero());
        weights.spread(&at.inner, &mut self.spread);
        let outer = Matrix::new(weights.outer, width, width);
        let spread = Matrix::new(&self.spread, width, columns);
        product(outer, spread, &mut self.image, Destination::Replace);
        let square = weights.quadratic_trace();
        vectorised(
            #[inline(always)]
            || {
                row.fill(-square);
                for (j, (t, x)) in lanes(&at.inner).zip(lanes(&at.back)).enumerate() {
                    let kappa = weights.kappa(j);
                    for ((row, &t), &x) in row.iter_mut().zip(t).zip(x) {
                        *row -= (E::one() - t * t) * x * kappa;
                    }
                }
                let rows = self.image.chunks_exact(columns).zip(lanes_mut(&mut self.norms));
                for ((image, norm), (t, &w)) in rows.zip(lanes(&at.outer).zip(weights.output)) {
                    for part in lanes(image) {
                        flows_core::lanes::add_product(norm, part, part);
                    }
                    for ((row, &t), &rho) in row.iter_mut().zip(t).zip(&*norm) {
                        *row -= (E::one() - t * t) * w * rho;
                    }
                }
            },
        );
    }

    /// Backward pass: from the gradient of the written row, writes that of the units and adds to
    /// those of the weights; overwrites what `forward` left.
    pub(crate) fn backward(
        &mut self,
        weights: &Potential<&[E]>,
        at: &Units<E>,
        row: &[E],
        d_units: &mut Units<E>,
        sums: &mut Potential<&mut [E]>,
    ) {
        let (width, columns) = (weights.output.len(), weights.dim * LANES);
        let mut tau = [E::zero(); LANES];
        for (tau, &row) in tau.iter_mut().zip(row) {
            *tau = -row;
        }
        self.pull_outer(weights, at, &tau, &mut d_units.outer, sums.output);
        let image = Matrix::new(&self.image, width, columns);
        let spread = Matrix::new(&self.spread, width, columns).transposed();
        product(image, spread, sums.outer, Destination::Add);
        let outer = Matrix::new(weights.outer, width, width).transposed();
        product(outer, image, &mut self.spread, Destination::Replace);
        self.pull_inner(weights, at, &tau, d_units, sums.inner);
        let twice = E::of(2.0) * total(&tau);
        let rows = weights.quadratic.chunks_exact(weights.inputs);
        for (a, sum) in rows.zip(sums.quadratic.chunks_exact_mut(weights.inputs)) {
            for (&a, sum) in a.iter().zip(sum).take(weights.dim) {
                *sum += twice * a;
            }
        }
    }

    /// dP in place of P, dT1 and dw.
    fn pull_outer(
        &mut self,
        weights: &Potential<&[E]>,
        at: &Units<E>,
        tau: &[E; LANES],
        d_outer: &mut [E],
        d_output: &mut [E],
    ) {
        let (two, columns) = (E::of(2.0), weights.dim * LANES);
        vectorised(
            #[inline(always)]
            || {
                let rows = self.image.chunks_exact_mut(columns).zip(lanes(&self.norms));
                let units = lanes(&at.outer).zip(lanes_mut(d_outer));
                for (i, ((image, rho), (t, d_outer))) in rows.zip(units).enumerate() {
                    let w = weights.output[i];
                    let mut bent = [E::zero(); LANES];
                    for lane in 0..LANES {
                        bent[lane] = tau[lane] * (E::one() - t[lane] * t[lane]);
                        d_outer[lane] = -two * tau[lane] * w * rho[lane] * t[lane];
                    }
                    d_output[i] += dot(&bent, rho);
                    for part in lanes_mut(image) {
                        for (value, &bent) in part.iter_mut().zip(&bent) {
                            *value = two * w * bent * *value;
                        }
                    }
                }
            },
        );
    }

    /// dT0, dx1 and dK0 from dQ, which stands in place of Q.
    fn pull_inner(
        &self,
        weights: &Potential<&[E]>,
        at: &Units<E>,
        tau: &[E; LANES],
        d_units: &mut Units<E>,
        d_inner: &mut [E],
    ) {
        let (two, columns) = (E::of(2.0), weights.dim * LANES);
        vectorised(
            #[inline(always)]
            || {
                let rows = self.spread.chunks_exact(columns);
                let units = lanes(&at.inner).zip(lanes(&at.back));
                let slots = lanes_mut(&mut d_units.inner).zip(lanes_mut(&mut d_units.back));
                for (j, ((spread, (t, x)), (d_t, d_x))) in rows.zip(units).zip(slots).enumerate() {
                    let (first, kappa) = (j * weights.inputs, weights.kappa(j));
                    let mut bent = [E::zero(); LANES];
                    for lane in 0..LANES {
                        bent[lane] = tau[lane] * (E::one() - t[lane] * t[lane]);
                        d_x[lane] = bent[lane] * kappa;
                        d_t[lane] = -two * tau[lane] * kappa * x[lane] * t[lane];
                    }
                    let twice = two * dot(&bent, x);
                    for (k, part) in lanes(spread).enumerate() {
                        let weight = weights.inner[first + k];
                        d_inner[first + k] += dot(part, t) + twice * weight;
                        for (d_t, &part) in d_t.iter_mut().zip(part) {
                            *d_t += part * weight;
                        }
                    }
                }
            },
        );
    }
}

impl<E: Real> Potential<&[E]> {
    /// Q from T0.
    fn spread(&self, inner: &[E], spread: &mut [E]) {
        let rows = spread.chunks_exact_mut(self.dim * LANES).zip(lanes(inner));
        for ((spread, t), weights) in rows.zip(self.inner.chunks_exact(self.inputs)) {
            for (part, &weight) in lanes_mut(spread).zip(weights) {
                for (value, &t) in part.iter_mut().zip(t) {
                    *value = t * weight;
                }
            }
        }
    }

    /// kappa of a unit.
    #[inline(always)]
    fn kappa(&self, unit: usize) -> E {
        self.inner[unit * self.inputs..][..self.dim].iter().map(|&k| k * k).sum()
    }

    /// Trace of A^T A over the state.
    fn quadratic_trace(&self) -> E {
        let rows = self.quadratic.chunks_exact(self.inputs);
        rows.flat_map(|row| &row[..self.dim]).map(|&a| a * a).sum()
    }
}

/// Rows of a block.
fn lanes<E>(block: &[E]) -> std::slice::ChunksExact<'_, E> {
    block.chunks_exact(LANES)
}

/// Rows of a block, mutably.
fn lanes_mut<E>(block: &mut [E]) -> std::slice::ChunksExactMut<'_, E> {
    block.chunks_exact_mut(LANES)
}
