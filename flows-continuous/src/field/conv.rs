//! Convolutional fields on images.

use flows_core::activation::Activation;
use flows_core::lanes::{named, named_mut};
use flows_core::operation::LANES;
use flows_core::{Convolution, HasLayout, Layout, Real, Result, Scratch, Shape};

use crate::field::dense::{Dense, DenseGradients, add_bias, pull_bias};
use crate::field::{FieldGradients, FieldInput, FieldKernel};
use crate::requirement::require_positive;

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
/// tangent.
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
}

/// Scratch of an evaluation.
#[derive(Debug, Default)]
struct ConvFieldWorkspace<E> {
    /// Context and time.
    extras: Vec<E>,
    /// Kept activations of both hidden layers.
    kept: [Vec<E>; 2],
    images: Vec<E>,
    seen: Vec<E>,
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
        Ok(Self { shape, context_dim, hidden, activation })
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

    /// The images of a layer: what was kept, if that is the image, otherwise a copy.
    fn images<'a, E: Real>(&self, kept: &'a [E], images: &'a mut Vec<E>, stride: usize) -> &'a [E] {
        if !self.activation.keeps_argument() {
            return kept;
        }
        images.resize(kept.len(), E::zero());
        self.activation.images(kept, images, LANES, stride);
        images
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
        let layer = self.hidden * self.shape.pixels();
        let images = if self.activation.keeps_argument() { layer } else { 0 };
        let seen = Convolution::TAPS * self.shape.dim();
        Some(((2 * layer + images + seen) * (1 + tangents) + self.extras()) * LANES)
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
        let ConvFieldWorkspace { extras, kept: [first, second], images, seen } =
            scratch.or_default::<ConvFieldWorkspace<E>>();
        extras.clear();
        extras.extend_from_slice(at.context);
        extras.extend_from_slice(at.time);
        convolution.pointwise(weight0, &convolution.gather(at.state, stride), stride, first);
        self.add_extra(extra0, extras, first, stride);
        self.activation.keep(first, bias0, LANES, stride);
        convolution.pointwise(weight1, self.images(first, images, stride), stride, second);
        self.add_extra(extra1, extras, second, stride);
        self.activation.keep(second, bias1, LANES, stride);
        convolution.pointwise(weight2, self.images(second, images, stride), stride, seen);
        velocity.copy_from_slice(&convolution.scatter(seen, stride));
        self.add_extra(extra2, extras, velocity, stride);
        add_bias(velocity, bias2, stride);
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
        let ConvFieldWorkspace { extras, kept: [first, second], images, .. } =
            scratch.left::<ConvFieldWorkspace<E>>();
        let FieldGradients { velocity, time, state, context, parameters: sums, .. } = gradients;
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
        let mut d_extras = vec![E::zero(); extras.len()];
        let into = (Biases { extra: d_extra2, bias: d_bias2 }, &mut d_extras[..]);
        self.pull_biases((extra2, extras), velocity, stride, into);
        let source = self.images(second, images, stride);
        let seen = convolution.gather(velocity, stride);
        let mut outer = convolution.pull_pointwise((weight2, d_weight2), source, &seen, stride);
        self.activation.pull(second, &mut outer, LANES, stride);
        let into = (Biases { extra: d_extra1, bias: d_bias1 }, &mut d_extras[..]);
        self.pull_biases((extra1, extras), &outer, stride, into);
        let source = self.images(first, images, stride);
        let mut outer = convolution.pull_pointwise((weight1, d_weight1), source, &outer, stride);
        self.activation.pull(first, &mut outer, LANES, stride);
        let into = (Biases { extra: d_extra0, bias: d_bias0 }, &mut d_extras[..]);
        self.pull_biases((extra0, extras), &outer, stride, into);
        let source = convolution.gather(at.state, stride);
        let seen = convolution.pull_pointwise((weight0, d_weight0), &source, &outer, stride);
        state.copy_from_slice(&convolution.scatter(&seen, stride));
        let (d_context, d_time) = d_extras.split_at(context.len());
        flows_core::lanes::add(context, d_context);
        flows_core::lanes::add(time, d_time);
    }
}
