//! Convolutional fields on images.

mod trace;

use flows_core::activation::Activation;
use flows_core::lanes::{named, named_mut};
use flows_core::operation::LANES;
use flows_core::{Convolution, HasLayout, Layout, Real, Result, Scratch, Shape};

use crate::field::dense::{Dense, DenseGradients, add_bias, pull_bias};
use crate::field::{FieldGradients, FieldInput, FieldKernel, Structure};
use crate::requirement::require_positive;
use trace::{Group, Weights, add_trace, pull_trace};

/// A convolutional field with zero padding, whose biases belong to pixels and are linear in time and
/// context:
/// ```text
/// h = act(conv3x3(z) + a0),   g = act(conv1x1(h) + a1),   v = conv3x3(g) + a2
/// a_l = E_l (context, t) + b_l, one value for each channel and pixel
/// ```
/// One evaluation sees the neighbours of neighbours of a pixel; along the path the field reaches all.
///
/// Tensors: `weight0` `(hidden, 9 channels)`, `weight1` `(hidden, hidden)` and `weight2` `(9 channels,
/// hidden)`, taps as in [`ConvKernel`](flows_core::ConvKernel); then `extra0`, `bias0`, .. `bias2` with
/// `(units pixels, context + 1)` and `(1, units pixels)` values.
///
/// Cost of an evaluation: `hidden (18 channels + hidden)` multiplications a pixel, and as many for each
/// tangent. The exact trace of the Jacobian, asked for as the structure, costs `hidden^2` a pixel, where
/// tangents along every feature would cost as many evaluations as there are features.
///
/// # Reference
/// Grathwohl et al., *FFJORD*, ICLR 2019, section 4.2, whose fields for images are convolutional.
/// <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvField {
    shape: Shape,
    context_dim: usize,
    hidden: usize,
    activation: Activation,
    /// Hidden pixels by their neighbours, for the trace.
    groups: Vec<Group>,
}

/// Scratch of an evaluation.
#[derive(Debug, Default)]
struct ConvFieldWorkspace<E> {
    /// Context and time.
    extras: Vec<E>,
    /// Kept activations of both hidden layers.
    kept: [Vec<E>; 2],
}

/// Buffers of a backward pass.
#[derive(Debug, Default)]
struct Buffers<E> {
    images: [Vec<E>; 2],
    slopes: [Vec<E>; 2],
    d_slopes: [Vec<E>; 2],
    outer: Vec<E>,
    below: Vec<E>,
}

/// The biases of a layer, or their gradients.
struct Biases<T> {
    extra: T,
    bias: T,
}

impl ConvField {
    /// A field on images of this shape with `hidden` channels in each hidden layer; the activation has
    /// to be smooth.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) if a size is 0.
    pub fn new(
        shape: Shape,
        context_dim: usize,
        hidden: usize,
        activation: Activation,
    ) -> Result<Self> {
        let Shape { channels, height, width } = shape;
        require_positive(&[
            ("channels of an image", channels),
            ("height of an image", height),
            ("width of an image", width),
            ("hidden channels", hidden),
        ])?;
        Ok(Self { shape, context_dim, hidden, activation, groups: Group::all(shape) })
    }

    fn convolution(&self) -> Convolution {
        Convolution { height: self.shape.height, width: self.shape.width }
    }

    fn extras(&self) -> usize {
        self.context_dim + 1
    }

    /// Channels that come out of each layer.
    fn channels(&self) -> [usize; 3] {
        [self.hidden, self.hidden, self.shape.channels]
    }

    /// The map of context and time to the biases of a layer.
    fn extra<'a, E: Real>(&self, weight: &'a [E]) -> Dense<'a, E> {
        Dense::new(weight, weight.len() / self.extras(), [0, self.extras()])
    }

    /// Adds the biases but for the constant ones, to values alone.
    fn add_extra<E: Real>(&self, weight: &[E], extras: &[E], out: &mut [E], stride: usize) {
        self.extra(weight).add_extras(extras, out, stride);
    }

    /// Backward pass of all biases; adds to the gradient of context and time.
    fn pull_biases<E: Real>(
        &self,
        (weight, extras): (&[E], &[E]),
        outer: &[E],
        stride: usize,
        (into, d_extras): (Biases<&mut [E]>, &mut [E]),
    ) {
        let (mut own, none) = (Vec::new(), &mut []);
        pull_bias(outer, stride, into.bias);
        let gradients = DenseGradients { weight: into.extra, source: none, extras: &mut own };
        self.extra(weight).backward((&[], extras), outer, gradients, stride);
        flows_core::lanes::add(d_extras, &own);
    }
}

impl HasLayout for ConvField {
    fn layout(&self) -> Vec<Layout> {
        let Shape { channels, .. } = self.shape;
        let (hidden, pixels, extras) = (self.hidden, self.shape.pixels(), self.extras());
        let read = Convolution::TAPS * channels;
        let fan_in = [read, hidden, Convolution::TAPS * hidden];
        let rows = [(hidden, read), (hidden, hidden), (read, hidden)];
        let weight = |layer: usize| {
            let (rows, columns) = rows[layer];
            Layout::uniform(format!("weight{layer}"), rows, columns, fan_in[layer])
                .in_last_layer(layer == 2)
        };
        let biases = |layer: usize| {
            let units = self.channels()[layer] * pixels;
            let part = |name: &str, rows, columns| {
                Layout::uniform(format!("{name}{layer}"), rows, columns, fan_in[layer])
                    .in_last_layer(layer == 2)
            };
            [part("extra", units, extras), part("bias", 1, units)]
        };
        (0..3).map(weight).chain((0..3).flat_map(biases)).collect()
    }
}

impl<E: Real> FieldKernel<E> for ConvField {
    fn dim(&self) -> usize {
        self.shape.dim()
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn left(&self, tangents: usize, _: bool) -> Option<usize> {
        let layers = 2 * self.hidden * self.shape.pixels();
        Some((layers * (1 + tangents) + self.extras()) * LANES)
    }

    fn structure(&self) -> Structure {
        Structure::Closed
    }

    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    ) {
        let (stride, convolution) = (at.stride(), self.convolution());
        let [weight0, weight1, weight2, extra0, bias0, extra1, bias1, extra2, bias2] =
            named(parameters);
        let ConvFieldWorkspace { extras, kept: [first, second] } =
            scratch.or_default::<ConvFieldWorkspace<E>>();
        extras.clear();
        extras.extend_from_slice(at.context);
        extras.extend_from_slice(at.time);
        let (mut images, mut seen) = (Vec::new(), Vec::new());
        convolution.pointwise(weight0, &convolution.gather(at.state, stride), stride, first);
        self.add_extra(extra0, extras, first, stride);
        self.activation.keep(first, bias0, LANES, stride);
        let source = self.activation.images_in(first, &mut images, LANES, stride);
        convolution.pointwise(weight1, source, stride, second);
        self.add_extra(extra1, extras, second, stride);
        self.activation.keep(second, bias1, LANES, stride);
        let source = self.activation.images_in(second, &mut images, LANES, stride);
        convolution.pointwise(weight2, source, stride, &mut seen);
        let (velocity, row) = velocity.split_at_mut(self.shape.dim() * stride);
        velocity.copy_from_slice(&convolution.scatter(&seen, stride));
        self.add_extra(extra2, extras, velocity, stride);
        add_bias(velocity, bias2, stride);
        if at.structure.is_some() {
            let weights = Weights { read: weight0, mixed: weight1, written: weight2 };
            let mut slopes = [Vec::new(), Vec::new()];
            self.activation.slopes(first, &mut slopes[0]);
            self.activation.slopes(second, &mut slopes[1]);
            row.fill(E::zero());
            add_trace(&self.groups, &weights, &slopes, (self.hidden, row));
        }
    }

    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let (stride, convolution) = (at.stride(), self.convolution());
        let [weight0, weight1, weight2, extra0, _, extra1, _, extra2, _] = named(parameters);
        let ConvFieldWorkspace { extras, kept: [first, second] } =
            scratch.left::<ConvFieldWorkspace<E>>();
        let FieldGradients { velocity, time, state, context, parameters: sums, buffers } =
            gradients;
        let Buffers { images, slopes, d_slopes, outer, below } = buffers.or_default::<Buffers<E>>();
        let (velocity, tau) = velocity.split_at(self.shape.dim() * stride);
        let [
            d_weight0,
            d_weight1,
            d_weight2,
            d_extra0,
            d_bias0,
            d_extra1,
            d_bias1,
            d_extra2,
            d_bias2,
        ] = named_mut(sums);
        if at.structure.is_some() {
            let weights = Weights { read: weight0, mixed: weight1, written: weight2 };
            self.activation.slopes(first, &mut slopes[0]);
            self.activation.slopes(second, &mut slopes[1]);
            let into =
                Weights { read: &mut *d_weight0, mixed: &mut *d_weight1, written: &mut *d_weight2 };
            pull_trace(&self.groups, &weights, slopes, (self.hidden, tau), (into, d_slopes));
        }
        let [first_images, second_images] = images;
        let mut d_extras = vec![E::zero(); extras.len()];
        let into = (Biases { extra: d_extra2, bias: d_bias2 }, &mut d_extras[..]);
        self.pull_biases((extra2, extras), velocity, stride, into);
        let source = self.activation.images_in(second, second_images, LANES, stride);
        let seen = convolution.gather(velocity, stride);
        let into = (stride, &mut *outer);
        convolution.pull_pointwise((weight2, d_weight2), source, &seen, into);
        self.activation.pull(second, outer, LANES, stride);
        if at.structure.is_some() {
            self.activation.pull_slopes(second, &d_slopes[1], outer);
        }
        let into = (Biases { extra: d_extra1, bias: d_bias1 }, &mut d_extras[..]);
        self.pull_biases((extra1, extras), outer, stride, into);
        let source = self.activation.images_in(first, first_images, LANES, stride);
        let into = (stride, &mut *below);
        convolution.pull_pointwise((weight1, d_weight1), source, outer, into);
        self.activation.pull(first, below, LANES, stride);
        if at.structure.is_some() {
            self.activation.pull_slopes(first, &d_slopes[0], below);
        }
        let into = (Biases { extra: d_extra0, bias: d_bias0 }, &mut d_extras[..]);
        self.pull_biases((extra0, extras), below, stride, into);
        let source = convolution.gather(at.state, stride);
        let into = (stride, &mut *outer);
        convolution.pull_pointwise((weight0, d_weight0), &source, below, into);
        state.copy_from_slice(&convolution.scatter(outer, stride));
        let (d_context, d_time) = d_extras.split_at(context.len());
        flows_core::lanes::add(context, d_context);
        flows_core::lanes::add(time, d_time);
    }
}
