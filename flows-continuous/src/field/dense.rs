//! A fully connected layer on values with tangents and on extra inputs without.

use flows_core::Real;
use flows_core::elementwise::vectorised;
use flows_core::matmul::{Destination, Matrix, product, product_within};
use flows_core::operation::LANES;

/// The layer W (h, e) without bias: h is `(fan in, stride)`, with tangents; e, such as time and
/// context, is `(extras, LANES)` and adds to the values alone.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a, E> {
    weight: Matrix<'a, E>,
    units: usize,
    fan_in: usize,
    extras: usize,
}

/// Gradients of a layer.
pub(crate) struct DenseGradients<'a, E> {
    /// Added to.
    pub(crate) weight: &'a mut [E],
    /// Of h; written.
    pub(crate) source: &'a mut [E],
    /// Of e; written.
    pub(crate) extras: &'a mut Vec<E>,
}

impl<'a, E: Real> Dense<'a, E> {
    /// `weight` is `(units, fan in + extras)`.
    pub(crate) fn new(weight: &'a [E], units: usize, [fan_in, extras]: [usize; 2]) -> Self {
        Self { weight: Matrix::new(weight, units, fan_in + extras), units, fan_in, extras }
    }

    fn columns(&self) -> usize {
        self.fan_in + self.extras
    }

    /// The columns of W for h and for e.
    fn parts(&self) -> [Matrix<'a, E>; 2] {
        let part = |columns| self.weight.part(0..self.units, columns);
        [part(0..self.fan_in), part(self.fan_in..self.columns())]
    }

    /// Writes the product, `(units, stride)`.
    pub(crate) fn forward(&self, (source, extras): (&[E], &[E]), out: &mut [E], stride: usize) {
        let [own, _] = self.parts();
        product(own, Matrix::new(source, self.fan_in, stride), out, Destination::Replace);
        self.add_extras(extras, out, stride);
    }

    /// Adds the part of the extra inputs to the values.
    pub(crate) fn add_extras(&self, extras: &[E], out: &mut [E], stride: usize) {
        let [_, others] = self.parts();
        match self.extras {
            0 => {}
            1 => self.add_outer(extras, out, stride),
            count => {
                let extras = Matrix::new(extras, count, LANES);
                product_within(others, extras, out, stride, Destination::Add);
            }
        }
    }

    /// Backward pass: the gradients of weight and inputs.
    pub(crate) fn backward(
        &self,
        (source, extras): (&[E], &[E]),
        outer: &[E],
        into: DenseGradients<'_, E>,
        stride: usize,
    ) {
        let ([own, others], columns) = (self.parts(), self.columns());
        let outer = Matrix::new(outer, self.units, stride);
        let turned = Matrix::new(source, self.fan_in, stride).transposed();
        product_within(outer, turned, into.weight, columns, Destination::Add);
        product(own.transposed(), outer, into.source, Destination::Replace);
        into.extras.resize(self.extras * LANES, E::zero());
        match self.extras {
            0 => {}
            1 => self.pull_outer(extras, outer.values(), (into.weight, into.extras), stride),
            count => {
                let outer = outer.part(0..self.units, 0..LANES);
                let turned = Matrix::new(extras, count, LANES).transposed();
                let target = &mut into.weight[self.fan_in..];
                product_within(outer, turned, target, columns, Destination::Add);
                product(others.transposed(), outer, into.extras, Destination::Replace);
            }
        }
    }

    /// The weight of the only extra input, unit by unit.
    #[inline(always)]
    fn column(&self) -> impl Iterator<Item = E> {
        self.weight.values()[self.fan_in..].iter().step_by(self.columns()).copied()
    }

    /// Adds the only extra input, an outer product too small for a matrix kernel.
    fn add_outer(&self, feature: &[E], rows: &mut [E], stride: usize) {
        vectorised(
            #[inline(always)]
            || {
                for (row, weight) in rows.chunks_exact_mut(stride).zip(self.column()) {
                    for (value, &feature) in row[..LANES].iter_mut().zip(feature) {
                        *value += weight * feature;
                    }
                }
            },
        );
    }

    /// The backward pass of [`add_outer`](Self::add_outer).
    fn pull_outer(
        &self,
        feature: &[E],
        outer: &[E],
        (d_weight, d_feature): (&mut [E], &mut [E]),
        stride: usize,
    ) {
        d_feature.fill(E::zero());
        vectorised(
            #[inline(always)]
            || {
                let slots = d_weight[self.fan_in..].iter_mut().step_by(self.columns());
                for ((row, weight), slot) in
                    outer.chunks_exact(stride).zip(self.column()).zip(slots)
                {
                    *slot += crate::lane_sums::dot(&row[..LANES], feature);
                    for (sum, &outer) in d_feature.iter_mut().zip(row) {
                        *sum += weight * outer;
                    }
                }
            },
        );
    }
}

/// Adds `bias[i]` to the values of row i.
pub(crate) fn add_bias<E: Real>(rows: &mut [E], bias: &[E], stride: usize) {
    vectorised(
        #[inline(always)]
        || {
            for (row, &bias) in rows.chunks_exact_mut(stride).zip(bias) {
                row[..LANES].iter_mut().for_each(|value| *value += bias);
            }
        },
    );
}

/// Adds to `bias[i]` the sum of the values of row i.
pub(crate) fn pull_bias<E: Real>(rows: &[E], stride: usize, bias: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, sum) in rows.chunks_exact(stride).zip(bias) {
                *sum += crate::lane_sums::total(&row[..LANES]);
            }
        },
    );
}
