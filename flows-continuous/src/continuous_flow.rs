//! Config of continuous flows: a vector field, a time interval, solvers and trace estimators.

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::architecture::scaled_width;
use flows_core::{
    ActNorm, Architecture, Bijector, Chain, Error, LastLayer, Layer, Network, Real, Result, Shape,
    Stream,
};
use serde::{Deserialize, Serialize};

use crate::continuous::Continuous;
use crate::continuous::solve::GradientMethod;
use crate::dynamics::divergence::{Divergence, HutchPlusPlus, Hutchinson, Probe};
use crate::dynamics::penalty::Penalties;
use crate::field::bottleneck::BottleneckField;
use crate::field::conv::ConvField;
use crate::field::equivariant::EquivariantField;
use crate::field::mlp::MlpField;
use crate::field::planar::PlanarField;
use crate::field::potential::PotentialField;
use crate::field::time_input::TimeInput;
use crate::field::{Field, FieldKernel};
use crate::requirement::require;
use crate::solver::control::Adaptive;
use crate::solver::{Accuracy, EqualSteps, Solver};

/// Result of a build.
type Built<E> = Result<Box<dyn Bijector<E>>>;

/// Config of a continuous normalizing flow.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `field` | perceptron | the vector field, see [`FieldConfig`] | |
/// | `end_time` | 1 | the interval is [0, end_time] | > 0 |
/// | `learn_end_time` | false | whether the end time is learned | |
/// | `jitter` | 0 | STEER: fraction by which training changes the interval | [0, 1) |
/// | `training` | Dopri5 1e-3, one Rademacher probe | for gradients | |
/// | `reporting` | row-wise 1e-5 / 1e-6, exact trace | for reported densities and samples | |
/// | `gradient` | replay | replay or adjoint, see [`GradientMethod`] | |
/// | `penalties` | none | on the path, in training, see [`Penalties`] | >= 0 |
/// | `act_norm` | true | act-norm on the data side of the flow | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContinuousFlow {
    /// End of the time interval that starts at 0.
    pub end_time: f64,
    /// Whether the end time is learned.
    pub learn_end_time: bool,
    /// Fraction by which training changes the length of the interval at random.
    pub jitter: f64,
    /// The vector field.
    pub field: FieldConfig,
    /// Accuracy of gradients.
    pub training: Accuracy,
    /// Accuracy of reported numbers.
    pub reporting: Accuracy,
    /// How gradients are computed.
    pub gradient: GradientMethod,
    /// Penalties on the path.
    pub penalties: Penalties,
    /// Whether act-norm stands on the data side of the flow.
    pub act_norm: bool,
}

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

impl Default for ContinuousFlow {
    fn default() -> Self {
        let hutchinson = Divergence::Hutchinson(Hutchinson::default());
        Self {
            end_time: 1.0,
            learn_end_time: false,
            jitter: 0.0,
            field: FieldConfig::default(),
            training: Accuracy {
                solver: Solver::Dopri5(Adaptive::new(1e-3, 1e-3)),
                divergence: hutchinson,
            },
            reporting: Accuracy {
                solver: Solver::RowWise(Adaptive::new(1e-5, 1e-6)),
                divergence: Divergence::Exact,
            },
            gradient: GradientMethod::default(),
            penalties: Penalties::default(),
            act_norm: true,
        }
    }
}

impl ContinuousFlow {
    /// FFJORD: a perceptron field, solved adaptively, with Hutchinson's trace in training.
    ///
    /// # Reference
    /// Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, *FFJORD*, ICLR 2019.
    /// <https://arxiv.org/abs/1810.01367>
    #[must_use]
    pub fn ffjord() -> Self {
        Self::default()
    }

    /// FFJORD with Hutch++ in place of Hutchinson's estimator.
    #[must_use]
    pub fn ffjord_hutch_plus_plus() -> Self {
        let divergence = Divergence::HutchPlusPlus(HutchPlusPlus::default());
        let training = Accuracy { divergence, ..Self::default().training };
        Self { training, ..Self::default() }
    }

    /// RNODE: equal RK4 steps in training, kinetic energy and Frobenius norm weighted 0.01. Eight
    /// steps where the paper's images take four, which sharp densities in the plane can exploit, and
    /// two orthogonal probes where it has one, so that the trace is exact in the plane.
    ///
    /// # Reference
    /// Finlay, Jacobsen, Nurbekyan, Oberman, *How to Train Your Neural ODE*, ICML 2020.
    /// <https://arxiv.org/abs/2002.02798>
    #[must_use]
    pub fn rnode() -> Self {
        let orthogonal = Hutchinson { probes: 2, distribution: Probe::Orthogonal };
        let training = Accuracy {
            solver: Solver::Rk4(EqualSteps { steps: nonzero(8) }),
            divergence: Divergence::Hutchinson(orthogonal),
        };
        let penalties = Penalties { kinetic: 0.01, frobenius: 0.01, ..Penalties::default() };
        Self { training, penalties, ..Self::default() }
    }

    /// RNODE with a convolutional field, for images of 8 x 8 pixels: the trace is exact, and with no
    /// probes the kinetic energy is the only penalty.
    #[must_use]
    pub fn rnode_image() -> Self {
        let Self { training, reporting, penalties, .. } = Self::rnode();
        let divergence = Divergence::Closed;
        Self {
            field: FieldConfig::Convolutional(ConvolutionalConfig::default()),
            training: Accuracy { divergence, ..training },
            reporting: Accuracy { divergence, ..reporting },
            penalties: Penalties { frobenius: 0.0, ..penalties },
            ..Self::default()
        }
    }

    /// OT-Flow: a potential field with exact trace, eight equal RK4 steps in training, and the
    /// weights of the paper's 8gaussians: transport cost 1, likelihood 30, residual 1.
    ///
    /// # Reference
    /// Onken, Fung, Li, Ruthotto, *OT-Flow*, AAAI 2021. <https://arxiv.org/abs/2006.00104>
    #[must_use]
    pub fn ot_flow() -> Self {
        let divergence = Divergence::Closed;
        let (transport, likelihood, residual) = (1.0, 30.0, 1.0);
        Self {
            field: FieldConfig::Potential(PotentialConfig::default()),
            training: Accuracy {
                solver: Solver::Rk4(EqualSteps { steps: nonzero(8) }),
                divergence,
            },
            reporting: Accuracy { divergence, ..Self::default().reporting },
            // The transport cost is half the kinetic energy.
            penalties: Penalties {
                kinetic: 0.5 * transport / likelihood,
                hamilton_jacobi: residual / likelihood,
                ..Penalties::default()
            },
            ..Self::default()
        }
    }

    fn compose<E: Real>(&self, dim: usize, context: usize, rng: &mut Stream) -> Result<Chain<E>> {
        let flow = match &self.field {
            FieldConfig::Perceptron(PerceptronField { hidden, activation, time }) => {
                self.flow(MlpField::new(dim, context, hidden, *activation, *time)?, rng)?
            }
            FieldConfig::Potential(PotentialConfig { width, rank }) => {
                self.flow(PotentialField::new(dim, context, *width, (*rank).min(dim))?, rng)?
            }
            FieldConfig::Planar(PlanarConfig { terms }) => {
                self.flow(PlanarField::new(dim, context, *terms)?, rng)?
            }
            FieldConfig::Bottleneck(BottleneckConfig { hidden, narrow, activation }) => {
                self.flow(BottleneckField::new(dim, context, hidden, *narrow, *activation)?, rng)?
            }
            FieldConfig::Convolutional(ConvolutionalConfig { shape, hidden, activation }) => {
                check_image(*shape, dim)?;
                self.flow(ConvField::new(*shape, context, *hidden, *activation)?, rng)?
            }
            FieldConfig::Equivariant(EquivariantConfig { space, functions }) => {
                let fits = *space > 0 && dim.is_multiple_of(*space) && context == 0;
                let requirement = "a divisor of the number of features, without a context";
                require(fits, "space of an equivariant field", requirement, *space as f64)?;
                self.flow(EquivariantField::new(dim / space, *space, *functions)?, rng)?
            }
        };
        let mut parts = vec![flow];
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }

    fn flow<E: Real>(&self, kernel: impl FieldKernel<E> + 'static, rng: &mut Stream) -> Built<E> {
        let sound = self.end_time > 0.0 && self.end_time.is_finite();
        require(sound, "end_time", "positive and finite", self.end_time)?;
        let field = Field::from(Network::new(kernel, LastLayer::Random, rng)?);
        let times = [0.0, self.end_time];
        let mut flow = Continuous::new(field, times, self.training, self.reporting)?
            .with_gradient(self.gradient)
            .with_penalties(self.penalties)?
            .with_jitter(self.jitter)?;
        if self.learn_end_time {
            flow = flow.with_learned_end_time()?;
        }
        Ok(Box::new(flow))
    }
}

#[typetag::serde(name = "continuous")]
impl Architecture for ContinuousFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let chain = |widths: &[usize]| -> f64 {
            widths.windows(2).map(|pair| (pair[0] as f64 + 1.0) * pair[1] as f64).sum()
        };
        Ok(match &self.field {
            FieldConfig::Perceptron(PerceptronField { hidden, .. }) => {
                chain(&[&[dim + 1], hidden.as_slice(), &[dim]].concat())
            }
            FieldConfig::Potential(PotentialConfig { width, rank }) => {
                chain(&[dim + 1, *width, *width, *rank]) + *rank as f64 * dim as f64
            }
            FieldConfig::Planar(PlanarConfig { terms }) => chain(&[2 * dim + 3, *terms]),
            FieldConfig::Bottleneck(BottleneckConfig { hidden, narrow, .. }) => {
                let half = hidden.as_slice();
                chain(&[&[dim + 1], half, &[*narrow + 1], half, &[dim]].concat())
            }
            FieldConfig::Convolutional(ConvolutionalConfig { shape, hidden, .. }) => {
                check_image(*shape, dim)?;
                let (hidden, channels) = (*hidden as f64, shape.channels as f64);
                let biases = 2.0 * dim as f64 * (2.0 * hidden / channels + 1.0);
                hidden * (18.0 * channels + hidden) + biases
            }
            FieldConfig::Equivariant(EquivariantConfig { functions, .. }) => {
                4.0 * *functions as f64
            }
        })
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        let scale = |width: &mut usize| *width = scaled_width(*width, factor);
        let mut scaled = self.clone();
        match &mut scaled.field {
            FieldConfig::Perceptron(field) => field.hidden.iter_mut().for_each(scale),
            FieldConfig::Potential(field) => scale(&mut field.width),
            FieldConfig::Planar(field) => scale(&mut field.terms),
            FieldConfig::Bottleneck(field) => field.hidden.iter_mut().for_each(scale),
            FieldConfig::Convolutional(field) => scale(&mut field.hidden),
            FieldConfig::Equivariant(field) => scale(&mut field.functions),
        }
        Arc::new(scaled)
    }

    fn is_continuous(&self) -> bool {
        true
    }
}

/// Refuses rows that are no images of this shape.
fn check_image(shape: Shape, dim: usize) -> Result<()> {
    let (expected, op) = (shape.dim(), "convolutional field (flow.field.shape)");
    if expected == dim { Ok(()) } else { Err(Error::Dimension { op, expected, got: dim }) }
}

fn nonzero(steps: usize) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::MIN.saturating_add(steps - 1)
}
