//! Normalizing flows at work in inference (review, Section 6.2).
//!
//! Every method takes a [`Flow`](flows_core::Flow), of whatever architecture and family, and a density
//! that is known up to a constant, a [`Target`](flows_core::Target).

pub mod chain;
pub mod importance;
pub mod pareto;
pub mod smc;

pub use importance::{LogNormaliser, LogWeights, Weighted};
pub use smc::{Smc, SmcRun};
