//! The claims of the review that can be tested, C1 to C50.
//!
//! A claim names what the review says and what is measured; its check measures. Criteria are derived
//! from arithmetic (rounding, orders of convergence, standard errors) and never tuned; each says
//! where it comes from.

mod adjoint;
mod bottleneck;
mod duality;
mod euler_residual;
mod fixed_point;
mod hutchinson;
mod instantaneous_change;
mod lipschitz;
mod perceptron;
mod planar_condition;
mod power_series;
mod probe_noise;
mod reverse_time;
mod roulette;
mod summary;
mod timing;
mod trace_cost;

use std::path::PathBuf;

use anyhow::Result;

use crate::finding::Findings;

/// A statement and the check of it: a numbered claim of the review, or a part of an experiment that
/// has no number.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// `C6`, or the name of the experiment.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What the review says, with its section.
    pub review: &'static str,
    /// What is measured.
    pub method: &'static str,
    /// The measurement.
    pub check: Check,
}

/// How a claim is checked.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// By measuring.
    Run(fn(&Setting) -> Result<Findings>),
    /// Not at all yet, and why.
    NotBuilt(&'static str),
}

/// What a check is told.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How much it may take.
    pub effort: Effort,
    /// Seed of all its random numbers.
    pub seed: u64,
    /// Tables of the user's, for experiments that take any.
    pub data: Vec<PathBuf>,
}

/// How much a check may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Seconds.
    Quick,
    /// Up to a minute or two.
    Full,
}

impl Setting {
    /// One of two numbers, by effort.
    #[must_use]
    pub fn either<T>(&self, quick: T, full: T) -> T {
        match self.effort {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }
}

/// All numbered claims, in order.
pub const ALL: &[Claim] = &[
    duality::C6,
    fixed_point::C23,
    power_series::C24,
    roulette::C25,
    hutchinson::C26,
    planar_condition::C27,
    lipschitz::C28,
    trace_cost::C29,
    instantaneous_change::C30,
    euler_residual::C31,
    reverse_time::C32,
    adjoint::C33,
    probe_noise::C34,
    bottleneck::C38,
];
