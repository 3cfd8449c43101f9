//! Named flows that only compose: each config builds a chain for given data dimensions.

mod autoregressive;
mod conditioner;
mod couplings;
mod nsf;
mod real_nvp;
mod transformer;

pub use autoregressive::{AutoregressiveFlow, Direction, LayerOrder};
pub use conditioner::{Conditioner, Perceptron, Residual};
pub use nsf::NsfCoupling;
pub use real_nvp::RealNvp;
pub use transformer::{AffineConfig, RationalQuadraticConfig, TransformerConfig};
