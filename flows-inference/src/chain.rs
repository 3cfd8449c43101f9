//! Markov chain Monte Carlo with flows (review, Section 6.2.2).
//!
//! A flow gives chains a base space in which the target is simple ([`neutra`]), or proposals for an
//! independence sampler ([`metropolis`]). The leapfrog integrator of Hamiltonian dynamics is itself a flow,
//! with log-determinant zero ([`Leapfrog`]).

mod chains;
pub mod diagnostics;
pub(crate) mod exact;
mod leapfrog;
pub mod metropolis;
pub mod neutra;
pub mod nuts;

pub use self::chains::Chains;
pub use self::diagnostics::Diagnostics;
pub use self::leapfrog::Leapfrog;
pub use self::metropolis::{Acceptance, Local, Metropolis, MetropolisChains, Refit};
pub use self::neutra::Pullback;
pub use self::nuts::{Nuts, NutsChains, NutsCounts, Trajectory};
