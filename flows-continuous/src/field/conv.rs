//! Convolutional fields on images.

mod trace;

use flows_core::activation::Activation;
use flows_core::lanes::{named, named_mut};
use flows_core::operation::LANES;
use flows_core::{Convolution, HasLayout, Layout, Real, Result, Scratch, Shape};

use crate::field::dense::{Dense, DenseGradients, add_bias, pull_bias};
use crate::field::{FieldGradients, FieldInput, FieldKernel, Structure};
use crate::requirement::require_positive;
use trace::{Group, Slopes, Weights, add_trace, pull_trace};

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
    /// Kept activations of both hidden layers; with a unit tangent behind each value where the trace
    /// is asked for, whose image is the slope.
    kept: [Vec<E>; 2],
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

    /// A hidden layer on channels of `stride` values a pixel: adds the biases and keeps the activations.
    fn keep<E: Real>(
        &self,
        mut argument: Vec<E>,
        (extra, bias, extras): (&[E], &[E], &[E]),
        at: &FieldInput<'_, E>,
    ) -> Vec<E> {
        self.add_extra(extra, extras, &mut argument, at.stride());
        if at.structure.is_none() {
            self.activation.keep(&mut argument, bias, LANES, at.stride());
            return argument;
        }
        let mut kept = with_tangents(&argument, &[E::one(); LANES]);
        self.activation.keep(&mut kept, bias, LANES, 2 * LANES);
        kept
    }

    /// The images of a hidden layer, `stride` values a pixel, and its slopes if the trace is asked for.
    fn images<E: Real>(&self, kept: &[E], at: &FieldInput<'_, E>) -> [Vec<E>; 2] {
        let mut images = kept.to_vec();
        let stride = if at.structure.is_some() { 2 * LANES } else { at.stride() };
        if self.activation.keeps_argument() {
            self.activation.images(kept, &mut images, LANES, stride);
        }
        if at.structure.is_some() { without_tangents(&images) } else { [images, Vec::new()] }
    }

    /// Backward pass of the activation: from the gradients of images and slopes that of the argument.
    fn pull<E: Real>(
        &self,
        kept: &[E],
        (mut images, slopes): (Vec<E>, &[E]),
        at: &FieldInput<'_, E>,
    ) -> Vec<E> {
        if at.structure.is_none() {
            self.activation.pull(kept, &mut images, LANES, at.stride());
            return images;
        }
        let mut both = with_tangents(&images, slopes);
        self.activation.pull(kept, &mut both, LANES, 2 * LANES);
        let [argument, _] = without_tangents(&both);
        argument
    }
}

/// Lanes, each followed by its tangent.
fn with_tangents<E: Real>(values: &[E], tangents: &[E]) -> Vec<E> {
    let mut both = Vec::with_capacity(2 * values.len());
    for (value, tangent) in values.chunks_exact(LANES).zip(tangents.chunks_exact(LANES).cycle()) {
        both.extend_from_slice(value);
        both.extend_from_slice(tangent);
    }
    both
}

/// Lanes and their tangents apart.
fn without_tangents<E: Real>(both: &[E]) -> [Vec<E>; 2] {
    [0, LANES].map(|first| {
        let lanes = both.chunks_exact(2 * LANES);
        lanes.flat_map(|lanes| &lanes[first..][..LANES]).copied().collect()
    })
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

    fn left(&self, tangents: usize, structure: bool) -> Option<usize> {
        let layer = 2 * self.hidden * self.shape.pixels();
        let tangents = if structure { 1 } else { tangents };
        Some((layer * (1 + tangents) + self.extras()) * LANES)
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
        let ConvFieldWorkspace { extras, kept } = scratch.or_default::<ConvFieldWorkspace<E>>();
        extras.clear();
        extras.extend_from_slice(at.context);
        extras.extend_from_slice(at.time);
        let argument =
            convolution.pointwise(weight0, &convolution.gather(at.state, stride), stride);
        kept[0] = self.keep(argument, (extra0, bias0, extras), &at);
        let [images, first] = self.images(&kept[0], &at);
        let argument = convolution.pointwise(weight1, &images, stride);
        kept[1] = self.keep(argument, (extra1, bias1, extras), &at);
        let [images, second] = self.images(&kept[1], &at);
        let seen = convolution.pointwise(weight2, &images, stride);
        let (velocity, row) = velocity.split_at_mut(self.shape.dim() * stride);
        velocity.copy_from_slice(&convolution.scatter(&seen, stride));
        self.add_extra(extra2, extras, velocity, stride);
        add_bias(velocity, bias2, stride);
        if at.structure.is_some() {
            row.fill(E::zero());
            let weights = Weights { read: weight0, mixed: weight1, written: weight2 };
            let slopes = Slopes { first: &first[..], second: &second[..] };
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
        let ConvFieldWorkspace { extras, kept } = scratch.left::<ConvFieldWorkspace<E>>();
        let FieldGradients { velocity, time, state, context, parameters: sums, .. } = gradients;
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
        let ([h, first], [g, second]) = (self.images(&kept[0], &at), self.images(&kept[1], &at));
        let [mut d_first, mut d_second] = [&first, &second].map(|s| vec![E::zero(); s.len()]);
        if at.structure.is_some() {
            let weights = Weights { read: weight0, mixed: weight1, written: weight2 };
            let slopes = Slopes { first: &first[..], second: &second[..] };
            let into = (
                Weights { read: &mut *d_weight0, mixed: &mut *d_weight1, written: &mut *d_weight2 },
                Slopes { first: &mut d_first[..], second: &mut d_second[..] },
            );
            pull_trace(&self.groups, &weights, &slopes, (self.hidden, tau), into);
        }
        let mut d_extras = vec![E::zero(); extras.len()];
        let into = (Biases { extra: d_extra2, bias: d_bias2 }, &mut d_extras[..]);
        self.pull_biases((extra2, extras), velocity, stride, into);
        let seen = convolution.gather(velocity, stride);
        let outer = convolution.pull_pointwise((weight2, d_weight2), &g, &seen, stride);
        let outer = self.pull(&kept[1], (outer, &d_second), &at);
        let into = (Biases { extra: d_extra1, bias: d_bias1 }, &mut d_extras[..]);
        self.pull_biases((extra1, extras), &outer, stride, into);
        let outer = convolution.pull_pointwise((weight1, d_weight1), &h, &outer, stride);
        let outer = self.pull(&kept[0], (outer, &d_first), &at);
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
