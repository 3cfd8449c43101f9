//! The flows whose cost is measured.

use std::sync::Arc;

use anyhow::Result;
use flows_continuous::{
    Accuracy, Checkpoints, Continuous, Divergence, GradientMethod, Hutchinson, MlpField, Solver,
    TimeInput,
};
use flows_core::activation::Activation;
use flows_core::{Architecture, Base, Bijector, Flow, LastLayer, Network, Stream, stream};
use flows_finite::Sampling;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, CouplingFlow, Mixing, RationalQuadraticConfig,
    ResidualFlow, SplineConfig, TransformerConfig,
};
use flows_finite::residual::Determinant;

use super::size::Size;
use crate::helper::perceptron::equal;

/// Hidden units of a network whose width is free.
const UNITS: usize = 64;

/// A kind of flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// Affine couplings.
    RealNvp,
    /// Masked affine layers, drawn from feature by feature with a whole pass for each.
    Maf,
    /// Spline couplings.
    NsfCoupling,
    /// Masked spline layers, drawn from with each unit computed once.
    NsfAutoregressive,
    /// Contractive residual layers, log-det by four terms of the series.
    Residual,
    /// A continuous flow with the exact trace.
    ExactTrace,
    /// A continuous flow with one probe.
    Hutchinson,
    /// The same with gradients by the adjoint.
    Adjoint,
}

impl Model {
    /// Name for readers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RealNvp => "Real NVP",
            Self::Maf => "MAF",
            Self::NsfCoupling => "NSF (coupling)",
            Self::NsfAutoregressive => "NSF (autoregressive)",
            Self::Residual => "residual flow, series",
            Self::ExactTrace => "continuous, exact trace",
            Self::Hutchinson => "continuous, Hutchinson",
            Self::Adjoint => "the same by the adjoint",
        }
    }

    /// The flow with its first weights.
    pub(super) fn flow(self, size: Size, seed: u64) -> Result<Flow<f32>> {
        let bijector = self.bijector(size, &mut stream(seed, "init"))?;
        Ok(Flow::new(Base::standard_normal(size.dim), bijector)?)
    }

    fn bijector(self, size: Size, rng: &mut Stream) -> Result<Box<dyn Bijector<f32>>> {
        let Size { dim, depth, .. } = size;
        let architecture: Arc<dyn Architecture> = match self {
            Self::RealNvp => coupling(AffineConfig::default().shared(), depth),
            Self::Maf => {
                masked(AffineConfig::inverted().shared(), Sampling::Sequential, (dim, depth))
            }
            Self::NsfCoupling => coupling(spline(), depth),
            Self::NsfAutoregressive => masked(spline(), Sampling::Incremental, (dim, depth)),
            Self::Residual => residual(depth),
            Self::ExactTrace => return continuous(Divergence::Exact, keeping(depth), size, rng),
            Self::Hutchinson => return continuous(one_probe(), keeping(depth), size, rng),
            Self::Adjoint => return continuous(one_probe(), GradientMethod::Adjoint, size, rng),
        };
        Ok(Box::new(architecture.build_f32(dim, 0, rng)?))
    }
}

fn spline() -> Arc<dyn TransformerConfig> {
    RationalQuadraticConfig(SplineConfig { bins: 8, ..SplineConfig::default() }).shared()
}

fn coupling(transformer: Arc<dyn TransformerConfig>, layers: usize) -> Arc<dyn Architecture> {
    Arc::new(CouplingFlow {
        layers,
        transformer,
        conditioner: Conditioner::perceptron(vec![UNITS]),
        mixing: Mixing::None,
        act_norm: false,
        ..CouplingFlow::default()
    })
}

/// Masked layers of as many units as features: a unit of each degree.
fn masked(
    transformer: Arc<dyn TransformerConfig>,
    sampling: Sampling,
    (dim, layers): (usize, usize),
) -> Arc<dyn Architecture> {
    Arc::new(AutoregressiveFlow {
        layers,
        transformer,
        conditioner: Conditioner::perceptron(vec![dim]),
        sampling,
        act_norm: false,
        ..AutoregressiveFlow::default()
    })
}

fn residual(layers: usize) -> Arc<dyn Architecture> {
    let series = Determinant::Series { terms: 4, probes: 1 };
    let (training, reporting) = (series, series);
    Arc::new(ResidualFlow {
        layers,
        hidden: vec![UNITS],
        training,
        reporting,
        ..ResidualFlow::default()
    })
}

fn one_probe() -> Divergence {
    Divergence::Hutchinson(Hutchinson::default())
}

/// Gradients through the steps, each of which is kept.
fn keeping(steps: usize) -> GradientMethod {
    GradientMethod::Replay(Checkpoints { checkpoints: equal(steps).steps })
}

/// By steps of Euler's method; whatever the gradient needs is kept, as far as it asks for it.
fn continuous(
    divergence: Divergence,
    gradient: GradientMethod,
    Size { dim, depth, .. }: Size,
    rng: &mut Stream,
) -> Result<Box<dyn Bijector<f32>>> {
    let field = MlpField::new(dim, 0, &[UNITS], Activation::Tanh, TimeInput::Concat)?;
    let field = Network::new(field, LastLayer::Random, rng)?;
    let accuracy = Accuracy { solver: Solver::Euler(equal(depth)), divergence };
    let flow = Continuous::new(field, [0.0, 1.0], accuracy, accuracy)?;
    Ok(Box::new(flow.with_gradient(gradient).with_stage_memory(usize::MAX)))
}
