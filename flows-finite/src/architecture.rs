//! Named flows that only compose: each config builds a chain for given data dimensions.

/// Gives a config its `build`, made of its generic `compose`.
///
/// A generic function is compiled in every crate that calls it, and this one needs every layer of
/// this crate: a function that is not generic, and a cast that cannot fail, have that done here,
/// once for each precision.
macro_rules! compiled_once {
    ($config:ty) => {
        impl $config {
            /// Builds the chain for `dim` features and `context_dim` conditioning features.
            ///
            /// # Errors
            /// [`flows_core::Error::Parameter`] for a value outside the table above.
            pub fn build<E: flows_core::Real>(
                &self,
                dim: usize,
                context_dim: usize,
                rng: &mut flows_core::Stream,
            ) -> flows_core::Result<flows_core::Chain<E>> {
                super::same(self.of_precision(E::NAME, dim, context_dim, rng)?)
            }

            fn of_precision(
                &self,
                name: &str,
                dim: usize,
                context_dim: usize,
                rng: &mut flows_core::Stream,
            ) -> flows_core::Result<Box<dyn std::any::Any>> {
                Ok(if name == <f32 as flows_core::Real>::NAME {
                    Box::new(self.compose::<f32>(dim, context_dim, rng)?)
                } else {
                    Box::new(self.compose::<f64>(dim, context_dim, rng)?)
                })
            }
        }
    };
}

mod autoregressive;
mod block_naf;
mod conditioner;
mod couplings;
mod determinant_lemma;
mod gaussianization;
mod glow;
mod glow_image;
mod maf;
mod mixing;
mod naf;
mod nice;
mod nsf;
mod real_nvp;
mod recurrent;
mod residual_flow;
mod transformer;

use std::any::Any;

use flows_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub use autoregressive::{AutoregressiveFlow, LayerOrder};
pub use block_naf::BlockNaf;
pub use conditioner::{Conditioner, Perceptron, Residual};
pub use couplings::{CouplingFlow, MaskConfig};
pub use determinant_lemma::{Columns, LemmaFlow, LemmaLayer, SylvesterConfig};
pub use gaussianization::GaussianizationFlow;
pub use glow::Glow;
pub use glow_image::GlowImage;
pub use mixing::Mixing;
pub use nsf::NsfCoupling;
pub use real_nvp::RealNvp;
pub use recurrent::RecurrentFlow;
pub use residual_flow::ResidualFlow;
pub use transformer::{
    AffineConfig, BernsteinConfig, DeepSigmoidalConfig, DenseSigmoidalConfig, IntegratedConfig,
    MixtureConfig, NoSettings, SplineConfig, SumOfSquaresConfig, TransformerConfig,
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

/// A value under the name that its type has in generic code.
fn same<T: 'static>(value: Box<dyn Any>) -> Result<T> {
    value.downcast().map(|value| *value).map_err(|_| {
        let (name, requirement) = ("bits of a precision", "32 or 64");
        Error::Parameter { name, requirement, value: 0.0 }
    })
}
