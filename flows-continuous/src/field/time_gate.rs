//! The time gate of the concatsquash layer: y = s * (W h + b) + d t with s = sigmoid(g t + c), unit
//! by unit.

use flows_core::Real;
use flows_core::elementwise::{sigmoid, vectorised};
use flows_core::lanes::add_product;
use flows_core::operation::LANES;

use crate::lane_sums::{dot, total};

/// Names of a gate's tensors, in order.
pub(crate) const GATE: [&str; 3] = ["gate_slope", "gate_bias", "time_bias"];

/// The gate of one layer: g, c and d of each unit, or their gradients, which are added to.
pub(crate) struct Gate<T> {
    slope: T,
    bias: T,
    shift: T,
}

impl<T> Gate<T> {
    pub(crate) fn of([slope, bias, shift]: [T; 3]) -> Self {
        Self { slope, bias, shift }
    }
}

/// The gate sigmoid(slope t + bias) at each time.
#[inline(always)]
pub(crate) fn opening<E: Real>(slope: E, bias: E, time: &[E]) -> [E; LANES] {
    let mut opening = [E::zero(); LANES];
    for (s, &t) in opening.iter_mut().zip(time) {
        *s = sigmoid(slope * t + bias);
    }
    opening
}

/// Multiplies values and tangents of a unit by s.
#[inline(always)]
pub(crate) fn multiply<E: Real>(row: &mut [E], opening: &[E; LANES]) {
    for group in row.chunks_exact_mut(LANES) {
        for (value, &s) in group.iter_mut().zip(opening) {
            *value *= s;
        }
    }
}

/// Backward pass of [`multiply`]: turns the gradient of the product into that of the row, in place,
/// and returns that of s.
#[inline(always)]
pub(crate) fn pull_product<E: Real>(
    row: &[E],
    gradient: &mut [E],
    opening: &[E; LANES],
) -> [E; LANES] {
    let mut d_opening = [E::zero(); LANES];
    for (row, gradient) in row.chunks_exact(LANES).zip(gradient.chunks_exact_mut(LANES)) {
        add_product(&mut d_opening, row, gradient);
        gradient.iter_mut().zip(opening).for_each(|(gradient, &s)| *gradient *= s);
    }
    d_opening
}

impl<E: Real> Gate<&[E]> {
    /// From W h + b to y, in place; tangents are multiplied by s.
    pub(crate) fn apply(&self, time: &[E], rows: &mut [E], stride: usize) {
        vectorised(
            #[inline(always)]
            || {
                for (unit, row) in rows.chunks_exact_mut(stride).enumerate() {
                    multiply(row, &opening(self.slope[unit], self.bias[unit], time));
                    for (value, &t) in row.iter_mut().zip(time) {
                        *value += self.shift[unit] * t;
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
        (time, d_time): (&[E], &mut [E]),
        product: &[E],
        gradient: &mut [E],
        stride: usize,
        into: Gate<&mut [E]>,
    ) {
        vectorised(
            #[inline(always)]
            || {
                let rows = product.chunks_exact(stride).zip(gradient.chunks_exact_mut(stride));
                for (unit, (product, gradient)) in rows.enumerate() {
                    let (g, c, d) = (self.slope[unit], self.bias[unit], self.shift[unit]);
                    let opening = opening(g, c, time);
                    into.shift[unit] += dot(&gradient[..LANES], time);
                    for (d_time, &outer) in d_time.iter_mut().zip(&*gradient) {
                        *d_time += outer * d;
                    }
                    let mut inner = pull_product(product, gradient, &opening);
                    for (inner, &s) in inner.iter_mut().zip(&opening) {
                        *inner = *inner * s * (E::one() - s);
                    }
                    into.slope[unit] += dot(&inner, time);
                    into.bias[unit] += total(&inner);
                    add_product(d_time, &inner, &[g; LANES]);
                }
            },
        );
    }
}
