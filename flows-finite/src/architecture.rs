//! Named flows that only compose: each config builds a chain for given data dimensions.

mod conditioner;
mod couplings;
mod nsf;
mod real_nvp;

pub use conditioner::{Conditioner, Perceptron, Residual};
pub use nsf::NsfCoupling;
pub use real_nvp::RealNvp;
