//! The convolutional conditioner of Glow, with zero padding.
//!
//! ```text
//! h = act(conv3x3(image) + b0),   g = act(conv1x1(h) + b1),   theta = conv3x3(g) + b2
//! ```
//! A block of rows keeps the pixels of a channel side by side, so a 1 x 1 convolution is one matrix
//! product. A 3 x 3 one gathers the nine neighbours of each pixel as rows of a matrix where few
//! channels come in (the first layer), and scatters the rows of a product to the nine neighbours
//! where few go out (the last layer); either is the other's transpose.
//!
//! Reference: Kingma, Dhariwal, *Glow: Generative flow with invertible 1x1 convolutions*, NeurIPS
//! 2018, section 3.3 and appendix B. <https://arxiv.org/abs/1807.03039>

mod convolution;

pub use convolution::Convolution;

use crate::activation::Activation;
use crate::lanes::{add, named, named_mut};
use crate::layout::{HasLayout, Layout};
use crate::network::{NetworkKernel, add_row_sums};
use crate::operation::{LANES, Recorded};
use crate::{Error, Real, Result, Scratch};

/// The split of an image into features that a coupling keeps and features that it transforms.
///
/// Features are channel-major: row y, column x of channel c is feature `(c * height + y) * width + x`.
#[derive(Clone, Copy, Debug)]
pub struct ImageSplit<'a> {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Features that condition, in the order of the network's inputs.
    pub kept: &'a [usize],
    /// Features that are transformed, in the order of the network's outputs.
    pub transformed: &'a [usize],
}

/// A convolutional network of three layers, 3 x 3, 1 x 1 and 3 x 3, from the kept features of an
/// image to the parameters of the transformed ones.
///
/// # Shape
/// Inputs: the kept features, then context features, each of which enters as a constant channel.
/// Outputs: parameter a of transformed feature i is output `i * arity + a`, with channel `c * arity +
/// a` of the last convolution for channel c. The network sees an image of those channels of which
/// anything is kept, with 0 where a feature is transformed, and its last layer has channels for those
/// of which anything is transformed: with a mask of whole channels nothing is computed in vain, with
/// a checkerboard half of the pixels.
///
/// Tensors: `weight0` `(hidden, 9 channels)`, column `9 c + tap`; `weight1` `(hidden, hidden)`;
/// `weight2` `(9 maps, hidden)`, row `9 m + tap`, where tap `3 i + j` of the first leads to the pixel
/// *read*, (i - 1, j - 1) away, and that of the last to the pixel *written*; `bias0`, `bias1` with a
/// value for each channel; `bias2` with one for each output, so that a coupling can offset it.
///
/// # Cost
/// `hidden (9 channels + hidden + 9 maps)` multiplications a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvKernel {
    convolution: Convolution,
    /// Input channels, without those of the context.
    channels: usize,
    context: usize,
    hidden: usize,
    /// Output channels, times the arity.
    maps: usize,
    arity: usize,
    /// Index of each kept feature in the input image.
    sources: Vec<usize>,
    /// Index of each transformed feature in an image of the output channels.
    targets: Vec<usize>,
    activation: Activation,
}

/// Hidden layers as the forward pass keeps them.
#[derive(Debug, Default)]
struct Hidden<E> {
    kept: [Vec<E>; 2],
}

impl ConvKernel {
    /// A network of `hidden` channels. Inputs beyond the kept features are context; the arity is
    /// the number of `outputs` for a transformed feature.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there are no pixels, hidden channels or transformed features;
    /// [`Error::Dimension`] for fewer inputs than kept features, or outputs that are not a multiple
    /// of the transformed ones.
    pub fn new(
        inputs: usize,
        split: ImageSplit<'_>,
        hidden: usize,
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        let ImageSplit { height, width, kept, transformed } = split;
        if [height, width, hidden, inputs, outputs, transformed.len()].contains(&0) {
            let name = "size of a convolution";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let Some(context) = inputs.checked_sub(kept.len()) else {
            let op = "inputs of a convolution";
            return Err(Error::Dimension { op, expected: kept.len(), got: inputs });
        };
        let arity = outputs / transformed.len();
        let expected = arity.max(1) * transformed.len();
        if outputs != expected {
            let op = "outputs of a convolution";
            return Err(Error::Dimension { op, expected, got: outputs });
        }
        let (channels, sources) = compact(kept, height * width);
        let (written, targets) = compact(transformed, height * width);
        Ok(Self {
            convolution: Convolution { height, width },
            channels,
            context,
            hidden,
            maps: written * arity,
            arity,
            sources,
            targets,
            activation,
        })
    }

    /// Number of values of a channel in a block.
    fn plane(&self) -> usize {
        self.convolution.pixels() * LANES
    }

    /// The input image, context included.
    fn image<E: Real>(&self, input: &[E]) -> Vec<E> {
        let plane = self.plane();
        let mut image = vec![E::zero(); self.channels * plane];
        image.reserve_exact(self.context * plane);
        let mut features = input.chunks_exact(LANES);
        for (&place, feature) in self.sources.iter().zip(features.by_ref()) {
            image[place * LANES..(place + 1) * LANES].copy_from_slice(feature);
        }
        for feature in features {
            image.extend((0..self.convolution.pixels()).flat_map(|_| feature));
        }
        image
    }

    /// Backward pass of [`image`](Self::image).
    fn pull_image<E: Real>(&self, d_image: &[E], d_input: &mut [E]) {
        let mut features = d_input.chunks_exact_mut(LANES);
        for (&place, feature) in self.sources.iter().zip(features.by_ref()) {
            feature.copy_from_slice(&d_image[place * LANES..(place + 1) * LANES]);
        }
        let maps = d_image[self.channels * self.plane()..].chunks_exact(self.plane());
        for (feature, map) in features.zip(maps) {
            feature.fill(E::zero());
            map.chunks_exact(LANES).for_each(|pixel| add(feature, pixel));
        }
    }

    /// For each output its index among the maps.
    fn outlets(&self) -> impl Iterator<Item = usize> {
        let pixels = self.convolution.pixels();
        self.targets.iter().flat_map(move |&place| {
            let (channel, pixel) = (place / pixels, place % pixels);
            (0..self.arity).map(move |a| ((channel * self.arity + a) * pixels + pixel) * LANES)
        })
    }
}

/// Number of channels in which any of `features` lies, and the place of each feature in an image of
/// only those.
fn compact(features: &[usize], pixels: usize) -> (usize, Vec<usize>) {
    let mut used: Vec<usize> = features.iter().map(|f| f / pixels).collect();
    used.sort_unstable();
    used.dedup();
    let place = |f: &usize| used.partition_point(|&c| c < f / pixels) * pixels + f % pixels;
    (used.len(), features.iter().map(place).collect())
}

impl HasLayout for ConvKernel {
    fn layout(&self) -> Vec<Layout> {
        let part = |name: &str, rows, columns, fan_in, last| {
            Layout::uniform(name, rows, columns, fan_in).in_last_layer(last)
        };
        let (hidden, outputs) = (self.hidden, self.targets.len() * self.arity);
        let (read, wide) =
            (Convolution::TAPS * (self.channels + self.context), Convolution::TAPS * hidden);
        vec![
            part("weight0", hidden, read, read, false),
            part("bias0", 1, hidden, read, false),
            part("weight1", hidden, hidden, hidden, false),
            part("bias1", 1, hidden, hidden, false),
            part("weight2", Convolution::TAPS * self.maps, hidden, wide, true),
            part("bias2", 1, outputs, wide, true),
        ]
    }
}

impl<E: Real> NetworkKernel<E> for ConvKernel {
    fn inputs(&self) -> usize {
        self.sources.len() + self.context
    }

    fn outputs(&self) -> usize {
        self.targets.len() * self.arity
    }

    fn forward(&self, input: &[E], parameters: &[&[E]], scratch: &mut Scratch, output: &mut [E]) {
        let [weight0, bias0, weight1, bias1, weight2, bias2] = named(parameters);
        let [first, second] = &mut scratch.or_default::<Hidden<E>>().kept;
        let (plane, mut images) = (self.plane(), Vec::new());
        let convolution = self.convolution;
        let seen = convolution.gather(&self.image(input), LANES);
        convolution.pointwise(weight0, &seen, LANES, first);
        self.activation.keep(first, bias0, plane, plane);
        let source = self.activation.images_in(first, &mut images, plane, plane);
        convolution.pointwise(weight1, source, LANES, second);
        self.activation.keep(second, bias1, plane, plane);
        let mut seen = Vec::new();
        let source = self.activation.images_in(second, &mut images, plane, plane);
        convolution.pointwise(weight2, source, LANES, &mut seen);
        let maps = convolution.scatter(&seen, LANES);
        let outputs = output.chunks_exact_mut(LANES).zip(self.outlets());
        for ((output, place), &bias) in outputs.zip(bias2) {
            for (output, &value) in output.iter_mut().zip(&maps[place..]) {
                *output = value + bias;
            }
        }
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [weight0, _, weight1, _, weight2, _] = named(block.parameters);
        let [d_weight0, d_bias0, d_weight1, d_bias1, d_weight2, d_bias2] =
            named_mut(parameter_gradients);
        let [first, second] = &block.scratch.left::<Hidden<E>>().kept;
        let (plane, mut images) = (self.plane(), Vec::new());
        let convolution = self.convolution;
        let mut maps = vec![E::zero(); self.maps * plane];
        for (gradient, place) in output_gradient.chunks_exact(LANES).zip(self.outlets()) {
            maps[place..place + LANES].copy_from_slice(gradient);
        }
        add_row_sums(output_gradient, LANES, LANES, d_bias2);
        let (mut gradient, mut below) = (Vec::new(), Vec::new());
        let source = self.activation.images_in(second, &mut images, plane, plane);
        let seen = convolution.gather(&maps, LANES);
        let into = (LANES, &mut gradient);
        convolution.pull_pointwise((weight2, d_weight2), source, &seen, into);
        self.activation.pull(second, &mut gradient, plane, plane);
        add_row_sums(&gradient, plane, plane, d_bias1);
        let source = self.activation.images_in(first, &mut images, plane, plane);
        let into = (LANES, &mut below);
        convolution.pull_pointwise((weight1, d_weight1), source, &gradient, into);
        self.activation.pull(first, &mut below, plane, plane);
        add_row_sums(&below, plane, plane, d_bias0);
        let source = convolution.gather(&self.image(block.inputs[0]), LANES);
        let into = (LANES, &mut gradient);
        convolution.pull_pointwise((weight0, d_weight0), &source, &below, into);
        self.pull_image(&convolution.scatter(&gradient, LANES), input_gradient);
    }
}
