//! The gate of concatsquash: y = s * (W h + b) + d t with s = sigmoid(g t + c), unit by unit.

use flows_core::Real;
use flows_core::elementwise::{sigmoid, vectorised};
use flows_core::lanes::{add, add_product};
use flows_core::operation::LANES;

use crate::lanes::total;

/// Tensors of a gate, in order.
pub(crate) const GATE: [&str; 3] = ["gate_slope", "gate_bias", "time_bias"];

/// The gate of one layer: g, c and d of each unit.
pub(crate) struct Gate<'a, E> {
    pub(crate) slope: &'a [E],
    pub(crate) bias: &'a [E],
    pub(crate) shift: &'a [E],
}

/// Gradients of the gate's tensors and of the time; added to.
pub(crate) struct GateGradients<'a, E> {
    pub(crate) slope: &'a mut [E],
    pub(crate) bias: &'a mut [E],
    pub(crate) shift: &'a mut [E],
    pub(crate) time: &'a mut [E],
}

impl<E: Real> Gate<'_, E> {
    /// From W h + b to y, in place; tangents are multiplied by s.
    pub(crate) fn apply(&self, time: &[E], rows: &mut [E], stride: usize) {
        vectorised(
            #[inline(always)]
            || {
                for (unit, row) in rows.chunks_exact_mut(stride).enumerate() {
                    let (g, c, d) = (self.slope[unit], self.bias[unit], self.shift[unit]);
                    let mut s = [E::zero(); LANES];
                    for (s, &t) in s.iter_mut().zip(time) {
                        *s = sigmoid(g * t + c);
                    }
                    for group in row.chunks_exact_mut(LANES) {
                        for (value, &s) in group.iter_mut().zip(&s) {
                            *value *= s;
                        }
                    }
                    for (value, &t) in row.iter_mut().zip(time) {
                        *value += d * t;
                    }
                }
            },
        );
    }

    /// Turns the gradient G of y and its tangents into that of P = W h + b, in place:
    /// ```text
    /// dP = s G,   ds = sum over value and tangents of P G,   s' = s (1 - s)
    /// dg = sum of ds s' t,   dc = sum of ds s',   dd = sum of G t,   dt = sum of ds s' g + G d
    /// ```
    pub(crate) fn pull(
        &self,
        time: &[E],
        product: &[E],
        gradient: &mut [E],
        stride: usize,
        into: GateGradients<'_, E>,
    ) {
        vectorised(
            #[inline(always)]
            || {
                let rows = product.chunks_exact(stride).zip(gradient.chunks_exact_mut(stride));
                for (unit, (product, gradient)) in rows.enumerate() {
                    let (g, c, d) = (self.slope[unit], self.bias[unit], self.shift[unit]);
                    let mut s = [E::zero(); LANES];
                    for (s, &t) in s.iter_mut().zip(time) {
                        *s = sigmoid(g * t + c);
                    }
                    let mut timed = [E::zero(); LANES];
                    add_product(&mut timed, &gradient[..LANES], time);
                    into.shift[unit] += total(&timed);
                    let mut d_time = [E::zero(); LANES];
                    add_product(&mut d_time, &gradient[..LANES], &[d; LANES]);
                    let mut inner = [E::zero(); LANES];
                    let groups = product.chunks_exact(LANES).zip(gradient.chunks_exact_mut(LANES));
                    for (product, gradient) in groups {
                        add_product(&mut inner, product, gradient);
                        for (gradient, &s) in gradient.iter_mut().zip(&s) {
                            *gradient *= s;
                        }
                    }
                    for (inner, &s) in inner.iter_mut().zip(&s) {
                        *inner = *inner * s * (E::one() - s);
                    }
                    let mut timed = [E::zero(); LANES];
                    add_product(&mut timed, &inner, time);
                    into.slope[unit] += total(&timed);
                    into.bias[unit] += total(&inner);
                    add_product(&mut d_time, &inner, &[g; LANES]);
                    add(into.time, &d_time);
                }
            },
        );
    }
}
