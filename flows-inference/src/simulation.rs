//! Simulation-based, or likelihood-free, inference (review, Section 6.2.4).
//!
//! A [`Simulator`] draws data x given parameters theta and has no likelihood that could be evaluated. A
//! conditional flow, trained on pairs of both, stands for the posterior p(theta | x) ([`npe`], and
//! [`snpe`] in rounds for one observation) or for the likelihood p(x | theta) ([`nle`]). Whether a
//! posterior can be believed, [`CalibrationDraws`] tell.

mod atomic;
mod calibration;
mod data_units;
mod estimation;
mod nle;
mod npe;
mod parameter_units;
mod posterior;
mod prior;
mod program;
mod simulations;
mod simulator;
mod snpe;

pub use calibration::{CalibrationDraws, RankHistogram};
pub use estimation::{Build, Estimation, Training, flow_of, unreported};
pub use nle::{Likelihood, LikelihoodPosterior, nle};
pub use npe::{npe, npe_of};
pub use posterior::Posterior;
pub use prior::{Marginal, Prior, ProductPrior};
pub use program::{ProgramSettings, ProgramSimulator};
pub use simulations::{Invalid, Progress, Report, Simulations};
pub use simulator::Simulator;
pub use snpe::{Sequential, snpe};
