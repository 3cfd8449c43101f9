//! Simulation-based, or likelihood-free, inference (review, Section 6.2.4).
//!
//! A [`Simulator`] draws data x given parameters theta and has no likelihood that could be evaluated. A
//! conditional flow, trained on pairs of both, stands for the posterior p(theta | x) or for the
//! likelihood p(x | theta).

mod prior;
mod program;
mod simulations;
mod simulator;

pub use prior::{Marginal, Prior, ProductPrior};
pub use program::{ProgramSettings, ProgramSimulator};
pub use simulations::{Invalid, Progress, Report, Simulations};
pub use simulator::Simulator;
