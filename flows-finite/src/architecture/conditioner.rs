//! The network that computes a coupling's parameters, by config.

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::architecture::scaled_width;
use flows_core::masked::Hidden;
use flows_core::{Bijector, LastLayer, Layer, MlpKernel, Real, ResidualKernel, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::{Coupling, Mask, MaskedConditioner, Transformer};

/// Which network conditions each layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Conditioner {
    /// A multilayer perceptron.
    Perceptron(Perceptron),
    /// A residual network, as in the original neural spline flows.
    Residual(Residual),
}

/// A multilayer perceptron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Perceptron {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Activation.
    pub activation: Activation,
}

impl Default for Perceptron {
    fn default() -> Self {
        Self { hidden: vec![128, 128], activation: Activation::Relu }
    }
}

/// A residual network of constant width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Residual {
    /// Units of each layer.
    pub width: usize,
    /// Blocks of two layers.
    pub blocks: usize,
    /// Activation.
    pub activation: Activation,
}

impl Default for Residual {
    fn default() -> Self {
        Self { width: 128, blocks: 2, activation: Activation::Relu }
    }
}

impl Default for Conditioner {
    fn default() -> Self {
        Self::Perceptron(Perceptron::default())
    }
}

impl Conditioner {
    /// A perceptron with `hidden` ReLU layers.
    #[must_use]
    pub fn perceptron(hidden: Vec<usize>) -> Self {
        Self::Perceptron(Perceptron { hidden, activation: Activation::Relu })
    }

    /// Number of weights between `inputs` and `outputs`, biases left out; a float, because a config
    /// may ask for more than an integer holds.
    #[must_use]
    pub fn weights(&self, inputs: usize, outputs: usize) -> f64 {
        let (inputs, outputs) = (inputs as f64, outputs as f64);
        match self {
            Self::Perceptron(Perceptron { hidden, .. }) => {
                let mut total = 0.0;
                let mut below = inputs;
                for &width in hidden {
                    total += below * width as f64;
                    below = width as f64;
                }
                total + below * outputs
            }
            Self::Residual(Residual { width, blocks, .. }) => {
                let width = *width as f64;
                width * (inputs + outputs + 2.0 * *blocks as f64 * width)
            }
        }
    }

    /// The same with its widths times `factor`.
    #[must_use]
    pub(super) fn scaled(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        match &mut scaled {
            Self::Perceptron(Perceptron { hidden, .. }) => {
                hidden.iter_mut().for_each(|width| *width = scaled_width(*width, factor));
            }
            Self::Residual(Residual { width, .. }) => *width = scaled_width(*width, factor),
        }
        scaled
    }

    /// The same as a masked network.
    pub(super) fn masked(&self) -> MaskedConditioner {
        match self {
            Self::Perceptron(Perceptron { hidden, activation }) => MaskedConditioner {
                hidden: Hidden::Perceptron(hidden.clone()),
                activation: *activation,
            },
            Self::Residual(Residual { width, blocks, activation }) => MaskedConditioner {
                hidden: Hidden::Residual { width: *width, blocks: *blocks },
                activation: *activation,
            },
        }
    }

    /// An elementwise map of all features whose parameters are a function of the context alone: a
    /// coupling that keeps no feature.
    pub(super) fn of_context<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        transformer: Arc<dyn Transformer<E>>,
        rng: &mut Stream,
    ) -> Result<Box<dyn Bijector<E>>> {
        let mask = Mask::new(vec![true; dim])?;
        self.coupling((&mask, LastLayer::Zero), context_dim, transformer, rng)
    }

    /// A coupling layer with this conditioner, whose last layer starts as `last` says.
    pub(super) fn coupling<E: Real>(
        &self,
        (mask, last): (&Mask, LastLayer),
        context_dim: usize,
        transformer: Arc<dyn Transformer<E>>,
        rng: &mut Stream,
    ) -> Result<Box<dyn Bijector<E>>> {
        let coupling = match self {
            Self::Perceptron(Perceptron { hidden, activation }) => {
                let kernel = |inputs, outputs| MlpKernel::new(inputs, hidden, outputs, *activation);
                Coupling::new(mask, context_dim, transformer, kernel)?
            }
            Self::Residual(Residual { width, blocks, activation }) => {
                let size = (*width, *blocks);
                let kernel =
                    |inputs, outputs| ResidualKernel::new(inputs, size, outputs, *activation);
                Coupling::new(mask, context_dim, transformer, kernel)?
            }
        };
        Ok(Box::new(Layer::new(coupling.starting_from(last), rng)?))
    }
}
