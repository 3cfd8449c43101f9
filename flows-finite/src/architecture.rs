//! Named flows that only compose: each config builds a chain for given data dimensions.

mod couplings;
mod nsf;
mod real_nvp;

pub use nsf::NsfCoupling;
pub use real_nvp::RealNvp;
