//! Perceptron fields that know the time.

use flows_core::activation::Activation;
use flows_core::elementwise::vectorised;
use flows_core::matmul::{Destination, Matrix, product, product_within};
use flows_core::operation::LANES;
use flows_core::{Error, Layout, Layouts, Real, Result};

use crate::field::{FieldGradients, FieldKernel, Instant};
use crate::time_gate::{GATE, Gate, GateGradients};
use crate::time_input::TimeInput;

/// A perceptron on state, context and time.
///
/// Tensors: `weight0` `(h1, dim + context + time features)`, `bias0` `(1, h1)`, ..; with concatsquash
/// behind them `gate_slope0`, `gate_bias0` and `time_bias0` `(1, h1)` of each layer.
///
/// Cost of one evaluation: one pass, widened by one pass a tangent.
///
/// # Reference
/// Grathwohl et al., *FFJORD*, ICLR 2019, section 4 and the code released with it.
/// <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpField {
    /// Of state, hidden layers, and velocity.
    widths: Vec<usize>,
    context_dim: usize,
    activation: Activation,
    time: TimeInput,
}

/// What one evaluation of a perceptron field leaves.
#[derive(Debug)]
pub struct MlpFieldWorkspace<E> {
    /// Context and features of the time.
    extras: Vec<E>,
    /// What each hidden layer keeps of its activation.
    kept: Vec<Vec<E>>,
    /// W h + b of each layer, where gates need it.
    gated: Vec<Vec<E>>,
    images: Vec<E>,
    /// Gradients of the output of a layer and of its input.
    gradients: [Vec<E>; 2],
}

impl<E> Default for MlpFieldWorkspace<E> {
    fn default() -> Self {
        Self {
            extras: Vec::new(),
            kept: Vec::new(),
            gated: Vec::new(),
            images: Vec::new(),
            gradients: [Vec::new(), Vec::new()],
        }
    }
}

impl MlpField {
    /// With hidden layers of the given widths.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a width is 0, or there are no or too many frequencies.
    pub fn new(
        dim: usize,
        context_dim: usize,
        hidden: &[usize],
        activation: Activation,
        time: TimeInput,
    ) -> Result<Self> {
        let widths = [&[dim], hidden, &[dim]].concat();
        if widths.contains(&0) {
            let name = "width of a layer";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        time.check()?;
        Ok(Self { widths, context_dim, activation, time })
    }

    fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    fn extras(&self) -> usize {
        self.context_dim + self.time.features()
    }

    /// Columns of a layer's weight.
    fn columns(&self, layer: usize) -> usize {
        self.widths[layer] + if layer == 0 { self.extras() } else { 0 }
    }

    fn is_gated(&self) -> bool {
        self.time == TimeInput::ConcatSquash
    }

    fn gate<'a, E>(&self, layer: usize, parameters: &[&'a [E]]) -> Gate<'a, E> {
        let first = 2 * self.layers() + GATE.len() * layer;
        Gate { slope: parameters[first], bias: parameters[first + 1], shift: parameters[first + 2] }
    }

    /// What a layer passes on: what was kept itself where that is the image, else a copy.
    fn images<'a, E: Real>(&self, kept: &'a [E], images: &'a mut Vec<E>, stride: usize) -> &'a [E] {
        if !self.activation.keeps_argument() {
            return kept;
        }
        images.resize(kept.len(), E::zero());
        self.activation.images(kept, images, LANES, stride);
        images
    }

    /// `out = W source`, in the first layer with context and time, whose tangents are zero.
    fn weigh<E: Real>(
        &self,
        layer: usize,
        weight: &[E],
        (source, extras): (&[E], &[E]),
        out: &mut [E],
        stride: usize,
    ) {
        let (units, fan_in) = (self.widths[layer + 1], self.widths[layer]);
        let weight = Matrix::new(weight, units, self.columns(layer));
        let source = Matrix::new(source, fan_in, stride);
        product(weight.part(0..units, 0..fan_in), source, out, Destination::Replace);
        if layer > 0 || self.extras() == 0 {
            return;
        }
        if self.extras() == 1 {
            add_outer(column(weight.values(), fan_in, self.columns(0)), extras, out, stride);
        } else {
            let weight = weight.part(0..units, fan_in..fan_in + self.extras());
            let extras = Matrix::new(extras, self.extras(), LANES);
            product_within(weight, extras, out, stride, Destination::Add);
        }
    }
}

impl Layouts for MlpField {
    fn layout(&self) -> Vec<Layout> {
        let part = |name: &str, layer: usize, rows: usize, columns: usize, fan_in: usize| Layout {
            name: format!("{name}{layer}"),
            rows,
            columns,
            fan_in,
            last: layer + 1 == self.layers(),
        };
        let mut layout: Vec<Layout> = (0..self.layers())
            .flat_map(|layer| {
                let (units, columns) = (self.widths[layer + 1], self.columns(layer));
                [
                    part("weight", layer, units, columns, columns),
                    part("bias", layer, 1, units, columns),
                ]
            })
            .collect();
        if self.is_gated() {
            for layer in 0..self.layers() {
                let units = self.widths[layer + 1];
                layout.extend(GATE.map(|name| part(name, layer, 1, units, 1)));
            }
        }
        layout
    }
}

impl<E: Real> FieldKernel<E> for MlpField {
    type Workspace = MlpFieldWorkspace<E>;

    fn dim(&self) -> usize {
        self.widths[0]
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn forward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        velocity: &mut [E],
    ) {
        let stride = at.stride();
        let MlpFieldWorkspace { extras, kept, gated, images, .. } = workspace;
        extras.resize(self.extras() * LANES, E::zero());
        let (context, features) = extras.split_at_mut(self.context_dim * LANES);
        context.copy_from_slice(at.context);
        self.time.write(at.time, features);
        kept.resize_with(self.layers() - 1, Vec::new);
        gated.resize_with(self.layers(), Vec::new);
        for layer in 0..self.layers() {
            let units = self.widths[layer + 1];
            let (before, here) = kept.split_at_mut(layer);
            let source = match before.last() {
                None => at.state,
                Some(kept) => self.images(kept, images, stride),
            };
            let (weight, bias) = (parameters[2 * layer], parameters[2 * layer + 1]);
            let last = here.is_empty();
            let out = match here.first_mut() {
                None => &mut *velocity,
                Some(kept) => {
                    kept.resize(units * stride, E::zero());
                    kept
                }
            };
            self.weigh(layer, weight, (source, extras), out, stride);
            if self.is_gated() {
                add_bias(out, bias, stride);
                gated[layer].clear();
                gated[layer].extend_from_slice(out);
                self.gate(layer, parameters).apply(at.time, out, stride);
            }
            let zero = vec![E::zero(); if self.is_gated() { units } else { 0 }];
            let bias = if self.is_gated() { &zero } else { bias };
            if last {
                add_bias(out, bias, stride);
            } else {
                self.activation.keep(out, bias, LANES, stride);
            }
        }
    }

    fn backward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let stride = at.stride();
        let MlpFieldWorkspace { extras, kept, gated, images, gradients: [current, below] } =
            workspace;
        let FieldGradients { velocity, time, state, context, parameters: sums } = gradients;
        for layer in (0..self.layers()).rev() {
            let (units, fan_in) = (self.widths[layer + 1], self.widths[layer]);
            let last = layer + 1 == self.layers();
            let gradient: &mut [E] = if last { &mut *velocity } else { &mut *current };
            if !last {
                self.activation.pull(&kept[layer], gradient, LANES, stride);
            }
            if self.is_gated() {
                let (_, slots) = sums.split_at_mut(2 * self.layers() + GATE.len() * layer);
                if let [slope, bias, shift, ..] = slots {
                    let into = GateGradients { slope, bias, shift, time: &mut *time };
                    let gate = self.gate(layer, parameters);
                    gate.pull(at.time, &gated[layer], gradient, stride, into);
                }
            }
            let source = match layer.checked_sub(1) {
                None => at.state,
                Some(before) => self.images(&kept[before], images, stride),
            };
            let columns = self.columns(layer);
            let outer = Matrix::new(&*gradient, units, stride);
            let source = Matrix::new(source, fan_in, stride).transposed();
            product_within(outer, source, sums[2 * layer], columns, Destination::Add);
            add_row_sums(gradient, stride, sums[2 * layer + 1]);
            let outer = Matrix::new(&*gradient, units, stride);
            let weight = Matrix::new(parameters[2 * layer], units, columns);
            let own = weight.part(0..units, 0..fan_in).transposed();
            if layer > 0 {
                below.resize(fan_in * stride, E::zero());
                product(own, outer, below, Destination::Replace);
                std::mem::swap(current, below);
                continue;
            }
            product(own, outer, state, Destination::Replace);
            if self.extras() == 0 {
                continue;
            }
            below.resize(self.extras() * LANES, E::zero());
            let into = &mut below[..self.extras() * LANES];
            let target = &mut sums[0][fan_in..];
            if self.extras() == 1 {
                let weight = column(parameters[0], fan_in, columns);
                pull_outer((weight, extras), (outer.values(), stride), target, columns, into);
            } else {
                let outer = outer.part(0..units, 0..LANES);
                let others = Matrix::new(&*extras, self.extras(), LANES).transposed();
                product_within(outer, others, target, columns, Destination::Add);
                let weight = weight.part(0..units, fan_in..columns).transposed();
                product(weight, outer, into, Destination::Replace);
            }
            let (d_context, d_features) = into.split_at(self.context_dim * LANES);
            crate::field::add(context, d_context);
            self.time.pull(at.time, d_features, time);
        }
    }
}

/// One column of a matrix stored row by row.
fn column<E: Copy>(
    matrix: &[E],
    index: usize,
    columns: usize,
) -> impl Iterator<Item = E> + Clone + '_ {
    matrix[index..].iter().step_by(columns).copied()
}

/// Adds `weight[i] feature` to the values of row i: a product for which a matrix kernel is too much.
fn add_outer<E: Real>(
    weight: impl Iterator<Item = E>,
    feature: &[E],
    rows: &mut [E],
    stride: usize,
) {
    vectorised(
        #[inline(always)]
        || {
            for (row, weight) in rows.chunks_exact_mut(stride).zip(weight) {
                for (value, &feature) in row[..LANES].iter_mut().zip(feature) {
                    *value += weight * feature;
                }
            }
        },
    );
}

/// The backward pass of [`add_outer`]: adds to the gradient of the weights, `columns` apart, and
/// writes that of the feature.
fn pull_outer<E: Real>(
    (weight, feature): (impl Iterator<Item = E>, &[E]),
    (gradient, stride): (&[E], usize),
    d_weight: &mut [E],
    columns: usize,
    d_feature: &mut [E],
) {
    d_feature.fill(E::zero());
    vectorised(
        #[inline(always)]
        || {
            let slots = d_weight.iter_mut().step_by(columns);
            for ((row, weight), slot) in gradient.chunks_exact(stride).zip(weight).zip(slots) {
                *slot += crate::lanes::dot(&row[..LANES], feature);
                for (sum, &outer) in d_feature.iter_mut().zip(row) {
                    *sum += weight * outer;
                }
            }
        },
    );
}

/// Adds `bias[i]` to the values of row i.
fn add_bias<E: Real>(rows: &mut [E], bias: &[E], stride: usize) {
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
fn add_row_sums<E: Real>(rows: &[E], stride: usize, bias: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, sum) in rows.chunks_exact(stride).zip(bias) {
                *sum += crate::lanes::total(&row[..LANES]);
            }
        },
    );
}
