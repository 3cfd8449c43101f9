//! Config of continuous flows: a vector field, a time interval, solvers and trace estimators.

use std::sync::Arc;

use flows_core::{ActNorm, Architecture, Bijector, Chain, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::continuous::Continuous;
use crate::continuous::solve::GradientMethod;
use crate::dynamics::divergence::{Divergence, HutchPlusPlus, Hutchinson, Probe};
use crate::dynamics::penalty::Penalties;
use crate::field::Field;
use crate::field::config::{ConvolutionalConfig, FieldConfig, PotentialConfig};
use crate::requirement::require;
use crate::solver::control::Adaptive;
use crate::solver::{Accuracy, EqualSteps, Solver};

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
        let mut parts = vec![self.solved(self.field.build(dim, context, rng)?)?];
        if self.act_norm {
            parts.push(Box::new(Layer::new(ActNorm::new(dim), rng)?));
        }
        Chain::new(dim, parts)
    }

    /// The flow of a field, solved as the config says.
    fn solved<E: Real>(&self, field: Field<E>) -> Result<Box<dyn Bijector<E>>> {
        let sound = self.end_time > 0.0 && self.end_time.is_finite();
        require(sound, "end_time", "positive and finite", self.end_time)?;
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
        self.field.weights(dim)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { field: self.field.scaled(factor), ..self.clone() })
    }

    fn is_continuous(&self) -> bool {
        true
    }
}

fn nonzero(steps: usize) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::MIN.saturating_add(steps - 1)
}
