//! The claims of the review that can be tested, C1 to C50.
//!
//! A claim names what the review says and what is measured; its check measures. Criteria are derived
//! from arithmetic (rounding, orders of convergence, standard errors), not from the outcome; each
//! says where it comes from.
//!
//! Modules follow the sections of the review; `helper` holds what several checks share.

mod cost;
mod helper;
pub mod memory;
mod not_built;
mod section_2;
mod section_3_1;
mod section_3_2;
mod section_3_3;
mod section_3_4;
mod section_4;
mod section_5;
mod section_6;

use std::sync::Arc;

use anyhow::Result;
use flows_core::Architecture;
use flows_report::finding::Findings;
use flows_report::record::Family;

pub use cost::PART as COST;
pub use section_3_1::k_parts::PART as K_PARTS;
pub use section_4::work_precision::PART as WORK_PRECISION;

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
    Run(fn(&Setting<'_>) -> Result<Findings>),
    /// Not at all yet, and why.
    NotBuilt(&'static str),
}

/// What a check is told.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// How much it may take.
    pub effort: Effort,
    /// Seed of all its random numbers.
    pub seed: u64,
    /// The flows that claims about every flow go over.
    pub flows: &'a [NamedFlow],
    /// Seconds of training of each flow, for a check that trains flows for the same time, in place of its
    /// own.
    pub seconds: Option<f64>,
}

/// An architecture with its name for readers.
#[derive(Clone, Debug)]
pub struct NamedFlow {
    /// Name for readers.
    pub title: &'static str,
    /// Finite or continuous.
    pub family: Family,
    /// The architecture.
    pub architecture: Arc<dyn Architecture>,
}

/// How much a check may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Seconds.
    Quick,
    /// Up to a minute or two.
    Full,
}

impl Setting<'_> {
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
    section_2::normalisation::C1,
    section_2::composition::C2,
    section_2::invertibility::C3,
    section_2::invertibility::C4,
    section_2::rosenblatt::C5,
    section_2::duality::C6,
    section_2::gradients::C7,
    section_2::base_update::C8,
    section_2::modes::C9,
    section_2::discrepancy::C10,
    section_3_1::cost_asymmetry::C11,
    section_3_1::direction::C12,
    section_3_1::accelerated_inverse::C13,
    section_3_1::affine_limit::C14,
    section_3_1::coupling_universality::C15,
    section_3_1::flexibility::C16,
    section_3_1::integrals::C17,
    section_3_1::spline_boundary::C18,
    section_3_1::masks::C19,
    section_3_1::gaussian_conditionals::C20,
    section_3_2::linear_cost::C21,
    section_3_2::mixing::C22,
    section_3_3::fixed_point::C23,
    section_3_3::power_series::C24,
    section_3_3::roulette::C25,
    section_3_3::hutchinson::C26,
    section_3_3::planar_condition::C27,
    section_3_3::lipschitz::C28,
    section_4::trace_cost::C29,
    section_4::instantaneous_change::C30,
    section_4::euler_residual::C31,
    section_4::reverse_time::C32,
    section_4::adjoint::C33,
    section_4::probe_noise::C34,
    section_4::evaluations::C35,
    section_4::crossing::C36,
    section_5::bridges::C37,
    section_4::bottleneck::C38,
    section_4::matched::C39,
    section_4::simulation_free::C40,
    not_built::C41,
    not_built::C42,
    section_5::torus::C43,
    section_5::symmetry::C44,
    section_6::importance::C45,
    section_6::neutra::C46,
    section_6::variational::C47,
    section_6::posterior_estimation::C48,
    section_6::hybrid::C49,
    section_3_4::normalisation_layers::C50,
];
