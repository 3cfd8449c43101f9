//! Config of a vector field.

use flows_core::activation::Activation;
use flows_core::architecture::scaled_width;
use flows_core::{Error, LastLayer, Network, Real, Result, Shape, Stream};
use serde::{Deserialize, Serialize};

use crate::field::bottleneck::BottleneckField;
use crate::field::conv::ConvField;
use crate::field::equivariant::EquivariantField;
use crate::field::mlp::MlpField;
use crate::field::planar::PlanarField;
use crate::field::potential::PotentialField;
use crate::field::time_input::TimeInput;
use crate::field::{Field, FieldKernel};
use crate::requirement::require;

/// Choice of the vector field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FieldConfig {
    /// A perceptron on state and time.
    Perceptron(PerceptronField),
    /// Minus the gradient of a potential (OT-Flow); its divergence is `closed`.
    Potential(PotentialConfig),
    /// A sum of gated planar fields.
    Planar(PlanarConfig),
    /// A perceptron with a narrow linear layer, for the divergence estimator `bottleneck`.
    Bottleneck(BottleneckConfig),
    /// A convolutional network on images.
    Convolutional(ConvolutionalConfig),
    /// Pairwise forces between particles.
    Equivariant(EquivariantConfig),
}

impl Default for FieldConfig {
    fn default() -> Self {
        Self::Perceptron(PerceptronField::default())
    }
}

/// Settings of [`MlpField`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerceptronField {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Activation of the hidden layers; smooth, because its curvature is differentiated.
    pub activation: Activation,
    /// How time enters.
    pub time: TimeInput,
}

impl Default for PerceptronField {
    fn default() -> Self {
        Self { hidden: vec![64; 3], activation: Activation::Tanh, time: TimeInput::Concat }
    }
}

/// Settings of [`PotentialField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PotentialConfig {
    /// Units of each of its two layers.
    pub width: usize,
    /// Rank of the quadratic form, cut off at the number of features.
    pub rank: usize,
}

impl Default for PotentialConfig {
    fn default() -> Self {
        Self { width: 32, rank: 10 }
    }
}

/// Settings of [`PlanarField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanarConfig {
    /// Number of planar terms.
    pub terms: usize,
}

impl Default for PlanarConfig {
    fn default() -> Self {
        Self { terms: 64 }
    }
}

/// Settings of [`BottleneckField`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BottleneckConfig {
    /// Widths of the hidden layers on either side of the narrow one.
    pub hidden: Vec<usize>,
    /// Units of the narrow layer.
    pub narrow: usize,
    /// Activation of the hidden layers.
    pub activation: Activation,
}

impl Default for BottleneckConfig {
    fn default() -> Self {
        Self { hidden: vec![64], narrow: 4, activation: Activation::Tanh }
    }
}

/// Settings of [`ConvField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvolutionalConfig {
    /// Size of an image; features are channel-major.
    pub shape: Shape,
    /// Channels of the hidden layers.
    pub hidden: usize,
    /// Activation of the hidden layers; smooth, because its curvature is differentiated.
    pub activation: Activation,
}

impl Default for ConvolutionalConfig {
    fn default() -> Self {
        let shape = Shape { channels: 1, height: 8, width: 8 };
        Self { shape, hidden: 32, activation: Activation::Tanh }
    }
}

/// Settings of [`EquivariantField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EquivariantConfig {
    /// Coordinates of a particle; the features are those of one particle after another.
    pub space: usize,
    /// Radial functions of the force.
    pub functions: usize,
}

impl Default for EquivariantConfig {
    fn default() -> Self {
        Self { space: 2, functions: 16 }
    }
}

impl FieldConfig {
    /// The field on `dim` features given `context`, with random weights.
    pub(crate) fn build<E: Real>(
        &self,
        dim: usize,
        context: usize,
        rng: &mut Stream,
    ) -> Result<Field<E>> {
        match self {
            Self::Perceptron(PerceptronField { hidden, activation, time }) => {
                network(MlpField::new(dim, context, hidden, *activation, *time)?, rng)
            }
            Self::Potential(PotentialConfig { width, rank }) => {
                network(PotentialField::new(dim, context, *width, (*rank).min(dim))?, rng)
            }
            Self::Planar(PlanarConfig { terms }) => {
                network(PlanarField::new(dim, context, *terms)?, rng)
            }
            Self::Bottleneck(BottleneckConfig { hidden, narrow, activation }) => {
                network(BottleneckField::new(dim, context, hidden, *narrow, *activation)?, rng)
            }
            Self::Convolutional(ConvolutionalConfig { shape, hidden, activation }) => {
                check_image(*shape, dim)?;
                network(ConvField::new(*shape, context, *hidden, *activation)?, rng)
            }
            Self::Equivariant(EquivariantConfig { space, functions }) => {
                let fits = *space > 0 && dim.is_multiple_of(*space) && context == 0;
                let requirement = "a divisor of the number of features, without a context";
                require(fits, "space of an equivariant field", requirement, *space as f64)?;
                network(EquivariantField::new(dim / space, *space, *functions)?, rng)
            }
        }
    }

    /// About how many weights it has.
    pub(crate) fn weights(&self, dim: usize) -> Result<f64> {
        let chain = |widths: &[usize]| -> f64 {
            widths.windows(2).map(|pair| (pair[0] as f64 + 1.0) * pair[1] as f64).sum()
        };
        Ok(match self {
            Self::Perceptron(PerceptronField { hidden, .. }) => {
                chain(&[&[dim + 1], hidden.as_slice(), &[dim]].concat())
            }
            Self::Potential(PotentialConfig { width, rank }) => {
                chain(&[dim + 1, *width, *width, *rank]) + *rank as f64 * dim as f64
            }
            Self::Planar(PlanarConfig { terms }) => chain(&[2 * dim + 3, *terms]),
            Self::Bottleneck(BottleneckConfig { hidden, narrow, .. }) => {
                let half = hidden.as_slice();
                chain(&[&[dim + 1], half, &[*narrow + 1], half, &[dim]].concat())
            }
            Self::Convolutional(ConvolutionalConfig { shape, hidden, .. }) => {
                check_image(*shape, dim)?;
                let (hidden, channels) = (*hidden as f64, shape.channels as f64);
                let biases = 2.0 * dim as f64 * (2.0 * hidden / channels + 1.0);
                hidden * (18.0 * channels + hidden) + biases
            }
            Self::Equivariant(EquivariantConfig { functions, .. }) => 4.0 * *functions as f64,
        })
    }

    /// The same with its widths times `factor`.
    #[must_use]
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        let scale = |width: &mut usize| *width = scaled_width(*width, factor);
        let mut scaled = self.clone();
        match &mut scaled {
            Self::Perceptron(field) => field.hidden.iter_mut().for_each(scale),
            Self::Potential(field) => scale(&mut field.width),
            Self::Planar(field) => scale(&mut field.terms),
            Self::Bottleneck(field) => field.hidden.iter_mut().for_each(scale),
            Self::Convolutional(field) => scale(&mut field.hidden),
            Self::Equivariant(field) => scale(&mut field.functions),
        }
        scaled
    }
}

fn network<E: Real>(kernel: impl FieldKernel<E> + 'static, rng: &mut Stream) -> Result<Field<E>> {
    Ok(Field::from(Network::new(kernel, LastLayer::Random, rng)?))
}

/// Refuses rows that are no images of this shape.
fn check_image(shape: Shape, dim: usize) -> Result<()> {
    let (expected, op) = (shape.dim(), "convolutional field (flow.field.shape)");
    if expected == dim { Ok(()) } else { Err(Error::Dimension { op, expected, got: dim }) }
}
