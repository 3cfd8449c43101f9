//! Markov chain Monte Carlo with flows (review, Section 6.2.2).
//!
//! Chains of a density that is known up to a constant, and whether they have converged.

mod chains;
pub mod diagnostics;
pub mod nuts;

pub use self::chains::Chains;
pub use self::diagnostics::Diagnostics;
pub use self::nuts::{Nuts, NutsChains, NutsCounts};
