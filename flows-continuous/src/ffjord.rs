//! FFJORD: a perceptron field, solved adaptively, with Hutchinson's trace in training.

use flows_core::activation::Activation;
use flows_core::{Error, LastLayer, Network, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::Adaptive;
use crate::continuous::{Accuracy, Continuous, Solver};
use crate::divergence::{Divergence, Hutchinson};
use crate::field::{MlpField, TimeInput};

/// A continuous flow with a perceptron field.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `hidden` | `[64, 64, 64]` | widths of the field's hidden layers | each >= 1 |
/// | `activation` | tanh | of the field | relu, tanh, softplus, silu |
/// | `time` | concat | how time enters | concat, concat_squash |
/// | `end_time` | 1 | the interval is [0, end_time] | > 0 |
/// | `training` | Dopri5 1e-3, one Rademacher probe | for gradients | |
/// | `reporting` | Dopri5 1e-5 / 1e-6, exact trace | for reported densities and samples | |
///
/// # Reference
/// Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, *FFJORD*, ICLR 2019.
/// <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ffjord {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Activation of the field.
    pub activation: Activation,
    /// How time enters.
    pub time: TimeInput,
    /// End of the time interval that starts at 0.
    pub end_time: f64,
    /// Accuracy of gradients.
    pub training: Accuracy,
    /// Accuracy of reported numbers.
    pub reporting: Accuracy,
}

impl Default for Ffjord {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64, 64],
            activation: Activation::Tanh,
            time: TimeInput::Concat,
            end_time: 1.0,
            training: Accuracy {
                solver: Solver::Dopri5(Adaptive::new(1e-3, 1e-3)),
                divergence: Divergence::Hutchinson(Hutchinson::default()),
            },
            reporting: Accuracy {
                solver: Solver::Dopri5(Adaptive::new(1e-5, 1e-6)),
                divergence: Divergence::Exact,
            },
        }
    }
}

impl Ffjord {
    /// Builds the flow for `dim` features and `context_dim` conditioning features.
    ///
    /// # Errors
    /// [`flows_core::Error::Parameter`] for a value outside the table above.
    pub fn build<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Continuous<E, MlpField>> {
        if !(self.end_time > 0.0 && self.end_time.is_finite()) {
            let (name, requirement) = ("end_time", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: self.end_time });
        }
        let kernel = MlpField::new(dim, context_dim, &self.hidden, self.activation, self.time)?;
        let field = Network::new(kernel, LastLayer::Random, rng)?;
        Continuous::new(field, [0.0, self.end_time], self.training, self.reporting)
    }
}
