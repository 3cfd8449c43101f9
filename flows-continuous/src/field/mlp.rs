//! Perceptron fields with time as an input.

use std::ops::Range;

use flows_core::activation::Activation;
use flows_core::lanes::{add, named, named_mut};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Real, Result, Scratch};

use crate::field::dense::{Dense, DenseGradients, add_bias, pull_bias};
use crate::field::time_gate::{GATE, Gate};
use crate::field::time_input::TimeInput;
use crate::field::{FieldGradients, FieldInput, FieldKernel};
use crate::requirement::require;

/// A perceptron on state, context and time.
///
/// Tensors: `weight0` `(h1, dim + context + time features)`, `bias0` `(1, h1)`, ..; with concatsquash
/// behind them `gate_slope0`, `gate_bias0` and `time_bias0` `(1, h1)` of each layer.
///
/// Cost of an evaluation: one pass, widened by one for each tangent.
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

/// Scratch of an evaluation.
#[derive(Debug, Default)]
struct MlpFieldWorkspace<E> {
    /// Context and features of the time.
    extras: Vec<E>,
    /// Kept activations of each hidden layer.
    kept: Vec<Vec<E>>,
    /// W h + b of each layer with a gate.
    gated: Vec<Vec<E>>,
    images: Vec<E>,
}

impl MlpField {
    /// A field with hidden layers of the given widths.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) if a width is 0, or for 0 or too many
    /// frequencies.
    pub fn new(
        dim: usize,
        context_dim: usize,
        hidden: &[usize],
        activation: Activation,
        time: TimeInput,
    ) -> Result<Self> {
        let widths = [&[dim], hidden, &[dim]].concat();
        require(!widths.contains(&0), "width of a layer", "at least 1", 0.0)?;
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

    /// Indices of the tensors of a layer's gate.
    fn gate(&self, layer: usize) -> Range<usize> {
        let first = 2 * self.layers() + GATE.len() * layer;
        first..first + GATE.len()
    }

    fn dense<'a, E: Real>(&self, layer: usize, parameters: &[&'a [E]]) -> Dense<'a, E> {
        let extras = if layer == 0 { self.extras() } else { 0 };
        Dense::new(parameters[2 * layer], self.widths[layer + 1], [self.widths[layer], extras])
    }
}

impl HasLayout for MlpField {
    fn layout(&self) -> Vec<Layout> {
        let part = |name: &str, layer: usize, rows: usize, columns: usize, fan_in: usize| {
            Layout::uniform(format!("{name}{layer}"), rows, columns, fan_in)
                .in_last_layer(layer + 1 == self.layers())
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
    fn dim(&self) -> usize {
        self.widths[0]
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn left(&self, tangents: usize, _: bool) -> Option<usize> {
        let hidden: usize = self.widths[1..self.layers()].iter().sum();
        let gated = if self.is_gated() { hidden + self.widths[0] } else { 0 };
        let images = if self.activation.keeps_argument() { hidden } else { 0 };
        Some(((hidden + gated + images) * (1 + tangents) + self.extras()) * LANES)
    }

    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    ) {
        let stride = at.stride();
        let MlpFieldWorkspace { extras, kept, gated, images, .. } =
            scratch.or_default::<MlpFieldWorkspace<E>>();
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
                Some(kept) => self.activation.images_in(kept, images, LANES, stride),
            };
            let bias = parameters[2 * layer + 1];
            let last = here.is_empty();
            let out = match here.first_mut() {
                None => &mut *velocity,
                Some(kept) => {
                    kept.resize(units * stride, E::zero());
                    kept
                }
            };
            self.dense(layer, parameters).forward((source, extras), out, stride);
            if self.is_gated() {
                add_bias(out, bias, stride);
                gated[layer].clear();
                gated[layer].extend_from_slice(out);
                Gate::of(named(&parameters[self.gate(layer)])).apply(at.time, out, stride);
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
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let stride = at.stride();
        let MlpFieldWorkspace { extras, kept, gated, images } =
            scratch.left::<MlpFieldWorkspace<E>>();
        let FieldGradients { velocity, time, state, context, parameters: sums, buffers } =
            gradients;
        let [current, below, d_extras] = buffers.or_default::<[Vec<E>; 3]>();
        for layer in (0..self.layers()).rev() {
            let last = layer + 1 == self.layers();
            let gradient: &mut [E] = if last { &mut *velocity } else { &mut *current };
            if !last {
                self.activation.pull(&kept[layer], gradient, LANES, stride);
            }
            if self.is_gated() {
                let gate = Gate::of(named(&parameters[self.gate(layer)]));
                let into = Gate::of(named_mut(&mut sums[self.gate(layer)]));
                gate.pull((at.time, &mut *time), &gated[layer], gradient, stride, into);
            }
            let source = match layer.checked_sub(1) {
                None => at.state,
                Some(before) => self.activation.images_in(&kept[before], images, LANES, stride),
            };
            pull_bias(gradient, stride, sums[2 * layer + 1]);
            if layer > 0 {
                below.resize(self.widths[layer] * stride, E::zero());
            }
            let into = DenseGradients {
                weight: &mut *sums[2 * layer],
                source: if layer > 0 { below } else { &mut *state },
                extras: &mut *d_extras,
            };
            self.dense(layer, parameters).backward((source, extras), gradient, into, stride);
            std::mem::swap(current, below);
        }
        let (d_context, d_features) = d_extras.split_at(context.len());
        add(context, d_context);
        self.time.pull(at.time, d_features, time);
    }
}
