//! Named flows that only compose: each config builds a chain for given data dimensions.

mod autoregressive;
mod block_naf;
mod conditioner;
mod couplings;
mod determinant_lemma;
mod gaussianization;
mod glow;
mod maf;
mod mixing;
mod multi_scale;
mod naf;
mod nice;
mod normal;
mod nsf;
mod real_nvp;
mod recurrent;
mod residual_flow;

use flows_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub use autoregressive::{AutoregressiveFlow, LayerOrder};
pub use block_naf::BlockNaf;
pub use conditioner::{Conditioner, Perceptron, Residual};
pub use couplings::{CouplingFlow, MaskConfig};
pub use determinant_lemma::{Columns, LemmaFlow, LemmaLayer, SylvesterConfig};
pub use gaussianization::GaussianizationFlow;
pub use glow::Glow;
pub use mixing::Mixing;
pub use multi_scale::MultiScaleFlow;
pub use normal::{Covariance, NormalFlow};
pub use recurrent::RecurrentFlow;
pub use residual_flow::ResidualFlow;

pub use crate::transformer::{
    AdditiveConfig, AffineConfig, BernsteinConfig, CircularSplineConfig, CubicSplineConfig,
    DeepSigmoidalConfig, DenseSigmoidalConfig, GaussianizationConfig, IntegratedConfig,
    LinearRationalConfig, LinearSplineConfig, LogisticMixtureConfig, MixtureConfig,
    QuadraticSplineConfig, RationalQuadraticConfig, SplineConfig, SumOfSquaresConfig,
    TransformerConfig,
};

/// A direction of a flow by its use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Data to base.
    #[default]
    Density,
    /// Base to data.
    Sampling,
}

/// A number of layers, if it is one.
fn layers(count: usize) -> Result<usize> {
    if count > 0 {
        return Ok(count);
    }
    let (name, requirement) = ("layers", "at least 1");
    Err(Error::Parameter { name, requirement, value: 0.0 })
}
