//! The block autoregressive network on one block of rows, feature by feature.
//!
//! With A the diagonal blocks, B those to their left (context included), h the values and t the
//! tangents of the feature's own input:
//!
//! ```text
//! a = A h + (B h_earlier + b),   h' = sigma(a),   t' = sigma'(a) (A t),   t = 1 at the input
//! ```
//! without sigma at the last layer, where h' is z and t' is dz/dx.

use flows_core::Real;
use flows_core::elementwise::{clamp, tanh, vectorised};
use flows_core::lanes::lanes;
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;

use super::layer::Layer;

/// Where the activation continues as a straight line.
const KNEE: f64 = 3.0;
/// Slope of the straight lines, 1 - tanh(3)^2.
const LEAK: f64 = 0.009_866_037_165_440_192;

/// The layers, from data to base.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) layers: Vec<Layer>,
}

/// Values and tangents of all units, level by level: level 0 is `[context | x]`, the last one z and
/// the slopes.
#[derive(Debug, Default)]
pub(super) struct Levels<E> {
    pub(super) values: Vec<Vec<E>>,
    pub(super) tangents: Vec<Vec<E>>,
}

/// Gradients of one feature's A h + .. and A t, level by level; at level 0 those of its x.
#[derive(Debug, Default)]
pub(super) struct Adjoint<E> {
    pub(super) values: Vec<Vec<E>>,
    tangents: Vec<Vec<E>>,
}

impl Kernel {
    pub(super) fn dim(&self) -> usize {
        self.layers[0].dim
    }

    /// Features of the context.
    pub(super) fn context(&self) -> usize {
        self.layers[0].free
    }

    /// Number of values of each level: the free inputs and all features.
    fn widths(&self) -> impl Iterator<Item = usize> {
        let below = self.context() + self.dim();
        std::iter::once(below).chain(self.layers.iter().map(Layer::rows))
    }

    /// Resizes the buffers and writes the context and the input tangents.
    pub(super) fn open<E: Real>(&self, context: &[E], levels: &mut Levels<E>) {
        let Levels { values, tangents } = levels;
        values.resize_with(self.layers.len() + 1, Vec::new);
        tangents.resize_with(self.layers.len() + 1, Vec::new);
        for (width, (values, tangents)) in self.widths().zip(values.iter_mut().zip(tangents)) {
            values.resize(width * LANES, E::zero());
            tangents.resize(width * LANES, E::one());
        }
        values[0][..context.len()].copy_from_slice(context);
    }

    /// Contributions of context, earlier features and biases to the units of feature d.
    pub(super) fn offsets<E: Real>(
        &self,
        d: usize,
        parameters: &[&[E]],
        levels: &Levels<E>,
        offsets: &mut Vec<Vec<E>>,
    ) {
        offsets.resize_with(self.layers.len(), Vec::new);
        for (l, (layer, offset)) in self.layers.iter().zip(offsets).enumerate() {
            let bias = &parameters[2 * l + 1][d * layer.units..(d + 1) * layer.units];
            offset.resize(layer.units * LANES, E::zero());
            for (row, &bias) in offset.chunks_exact_mut(LANES).zip(bias) {
                row.fill(bias);
            }
            if layer.before(d) > 0 {
                let weight = &parameters[2 * l][layer.left(d)];
                let weight = Matrix::new(weight, layer.units, layer.before(d));
                let earlier = Matrix::new(&levels.values[l], layer.before(d), LANES);
                product(weight, earlier, offset, Destination::Add);
            }
        }
    }

    /// Evaluates the units of feature d at x, which is written to level 0, by the diagonal blocks.
    /// Returns z and the slope.
    pub(super) fn evaluate<'a, E: Real>(
        &self,
        d: usize,
        x: &[E],
        parameters: &[&[E]],
        offsets: &[Vec<E>],
        levels: &'a mut Levels<E>,
    ) -> (&'a [E], &'a [E]) {
        levels.values[0][self.layers[0].source(d)].copy_from_slice(x);
        for (l, layer) in self.layers.iter().enumerate() {
            let weight = &parameters[2 * l][layer.diagonal(d)];
            let weight = Matrix::new(weight, layer.units, layer.fan_in);
            let (below, above) = levels.values.split_at_mut(l + 1);
            let source = Matrix::new(&below[l][layer.source(d)], layer.fan_in, LANES);
            let values = &mut above[0][layer.image(d)];
            values.copy_from_slice(&offsets[l]);
            product(weight, source, values, Destination::Add);
            let (below, above) = levels.tangents.split_at_mut(l + 1);
            let source = Matrix::new(&below[l][layer.tangents(d)], layer.fan_in, LANES);
            let tangents = &mut above[0][layer.image(d)];
            product(weight, source, tangents, Destination::Replace);
            if l + 1 < self.layers.len() {
                activate(values, tangents);
            }
        }
        (lanes(&levels.values[self.layers.len()], d), self.slopes(d, levels))
    }

    /// dz/dx of feature d.
    pub(super) fn slopes<'a, E: Real>(&self, d: usize, levels: &'a Levels<E>) -> &'a [E] {
        lanes(&levels.tangents[self.layers.len()], d)
    }

    /// Resizes the buffers of the backward pass: gradients of all values, zero at first, and of one
    /// feature.
    pub(super) fn open_back<E: Real>(&self, gradients: &mut Vec<Vec<E>>, adjoint: &mut Adjoint<E>) {
        let levels = self.layers.len() + 1;
        let Adjoint { values, tangents } = adjoint;
        for all in [&mut *gradients, values, tangents] {
            all.resize_with(levels, Vec::new);
        }
        for (gradient, width) in gradients.iter_mut().zip(self.widths()) {
            gradient.clear();
            gradient.resize(width * LANES, E::zero());
        }
        let units = std::iter::once(1).chain(self.layers.iter().map(|layer| layer.units));
        for ((values, tangents), units) in values.iter_mut().zip(tangents).zip(units) {
            values.resize(units * LANES, E::zero());
            tangents.resize(units * LANES, E::zero());
        }
    }

    /// Backward pass of feature d: from the gradients of z and of the log slope to that of x.
    /// `gradients` holds, level by level, those that later features left.
    pub(super) fn pull<E: Real>(
        &self,
        d: usize,
        parameters: &[&[E]],
        levels: &Levels<E>,
        gradients: &[Vec<E>],
        (value, log_slope): (&[E], &[E]),
        adjoint: &mut Adjoint<E>,
    ) {
        let last = self.layers.len();
        adjoint.values[last].copy_from_slice(value);
        let slopes = self.slopes(d, levels);
        for (lane, gradient) in adjoint.tangents[last].iter_mut().enumerate() {
            *gradient = log_slope[lane] / slopes[lane];
        }
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let weight = &parameters[2 * l][layer.diagonal(d)];
            let weight = Matrix::new(weight, layer.units, layer.fan_in).transposed();
            let (below, above) = adjoint.values.split_at_mut(l + 1);
            below[l].copy_from_slice(&gradients[l][layer.source(d)]);
            let outer = Matrix::new(&above[0], layer.units, LANES);
            product(weight, outer, &mut below[l], Destination::Add);
            let (below_tangents, above) = adjoint.tangents.split_at_mut(l + 1);
            let outer = Matrix::new(&above[0], layer.units, LANES);
            product(weight, outer, &mut below_tangents[l], Destination::Replace);
            if l > 0 {
                let h = &levels.values[l][layer.source(d)];
                let t = &levels.tangents[l][layer.tangents(d)];
                pull_activation(h, t, &mut below[l], &mut below_tangents[l]);
            }
        }
    }

    /// Adds the gradients of feature d's parameters, and those of the context and the earlier
    /// features to `gradients`.
    pub(super) fn spread<E: Real>(
        &self,
        d: usize,
        parameters: &[&[E]],
        levels: &Levels<E>,
        adjoint: &Adjoint<E>,
        gradients: &mut [Vec<E>],
        parameter_gradients: &mut [&mut [E]],
    ) {
        for (l, layer) in self.layers.iter().enumerate() {
            let outer = Matrix::new(&adjoint.values[l + 1], layer.units, LANES);
            let tangents = Matrix::new(&adjoint.tangents[l + 1], layer.units, LANES);
            let d_weight = &mut parameter_gradients[2 * l][layer.diagonal(d)];
            let h = Matrix::new(&levels.values[l][layer.source(d)], layer.fan_in, LANES);
            product(outer, h.transposed(), d_weight, Destination::Add);
            let t = Matrix::new(&levels.tangents[l][layer.tangents(d)], layer.fan_in, LANES);
            product(tangents, t.transposed(), d_weight, Destination::Add);
            let before = layer.before(d);
            if before > 0 {
                let d_weight = &mut parameter_gradients[2 * l][layer.left(d)];
                let earlier = Matrix::new(&levels.values[l], before, LANES);
                product(outer, earlier.transposed(), d_weight, Destination::Add);
                let weight = Matrix::new(&parameters[2 * l][layer.left(d)], layer.units, before);
                product(weight.transposed(), outer, &mut gradients[l], Destination::Add);
            }
            let d_bias = &mut parameter_gradients[2 * l + 1][d * layer.units..];
            for (row, total) in outer.values().chunks_exact(LANES).zip(d_bias) {
                *total += row.iter().copied().sum();
            }
        }
    }
}

/// The slope of the activation by its image: 1 - h^2 between the knees, where it exceeds the leak,
/// and the leak beyond.
#[inline(always)]
fn slope_at<E: Real>(h: E) -> E {
    let h = clamp(h, -E::one(), E::one());
    let inner = E::one() - h * h;
    if inner > E::of(LEAK) { inner } else { E::of(LEAK) }
}

/// a becomes sigma(a) = tanh(c) + leak (a - c) with c = a limited to [-3, 3], and A t the tangent.
fn activate<E: Real>(values: &mut [E], tangents: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (value, tangent) in values.iter_mut().zip(tangents) {
                let inner = clamp(*value, E::of(-KNEE), E::of(KNEE));
                *value = E::of(LEAK).mul_add(*value - inner, tanh(inner));
                *tangent *= slope_at(*value);
            }
        },
    );
}

/// Backward pass of [`activate`], in place: dt'/da = sigma''(a) (A t) = -2 h' t' between the knees
/// and 0 beyond.
fn pull_activation<E: Real>(h: &[E], t: &[E], d_value: &mut [E], d_tangent: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (k, (d_value, d_tangent)) in d_value.iter_mut().zip(d_tangent).enumerate() {
                let slope = slope_at(h[k]);
                let image = clamp(h[k], -E::one(), E::one());
                let bend = E::of(-2.0) * image * t[k] * *d_tangent;
                let bend = if slope > E::of(LEAK) { bend } else { E::zero() };
                *d_value = slope.mul_add(*d_value, bend);
                *d_tangent *= slope;
            }
        },
    );
}
