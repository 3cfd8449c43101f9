//! Normalizing flows at work in inference (review, Section 6.2).
//!
//! Every method takes a [`Flow`](flows_core::Flow), of whatever architecture and family, and a density
//! that is known up to a constant, a [`Target`](flows_core::Target), or a [`simulation::Simulator`].

mod adam_step;
pub mod amortised;
pub mod annealed;
pub mod bootstrap;
pub mod chain;
mod flow_target;
pub mod hybrid;
pub mod importance;
pub mod laplace;
pub mod objective;
pub mod pareto;
mod program_density;
pub mod rejection;
pub mod resampling;
pub mod simulation;
pub mod smc;
pub mod stochastic;
mod worker;

pub use annealed::{Annealed, AnnealedSampler, AnnealedSampling};
pub use bootstrap::{Bootstrap, BootstrapConfig};
pub use flow_target::FlowTarget;
pub use importance::{LogNormaliser, LogWeights, Weighted};
pub use laplace::Laplace;
pub use program_density::ProgramDensity;
pub use smc::{Smc, SmcRun};
pub use worker::{Format, ProgramError};
