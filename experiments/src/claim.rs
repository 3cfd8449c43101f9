//! The claims of the review that can be tested, C1 to C50.
//!
//! A claim names what the review says and what is measured; its check measures. Criteria are derived
//! from arithmetic (rounding, orders of convergence, standard errors), not from the outcome; each
//! says where it comes from.

mod accelerated_inverse;
mod adjoint;
mod affine_limit;
mod base_update;
mod bottleneck;
mod bridges;
mod composition;
mod cost_asymmetry;
mod coupling_universality;
mod crossing;
mod direction;
mod discrepancy;
mod duality;
mod euler_residual;
mod evaluations;
mod fixed_point;
mod flexibility;
mod gaussian_conditionals;
mod gradients;
mod hutchinson;
mod instantaneous_change;
mod integrals;
mod invertibility;
mod jacobian;
mod known_conditionals;
mod known_density;
mod kolmogorov;
mod linear_cost;
mod lipschitz;
mod masks;
mod matched;
mod mixing;
mod modes;
mod normal;
mod normalisation;
mod normalisation_layers;
mod not_built;
mod perceptron;
mod plain_conditioner;
mod planar_condition;
mod power_series;
mod probe_noise;
mod reverse_time;
mod rosenblatt;
mod roulette;
mod scalar_map;
mod short_training;
mod simulation_free;
mod small_field;
mod specimen;
mod spline_boundary;
mod spline_roots;
mod statistics;
mod symmetry;
mod timing;
mod torus;
mod trace_cost;
mod training;

use anyhow::Result;

use crate::finding::Findings;

pub(crate) use short_training::Course;
pub(crate) use statistics::{distance, mean};

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
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How much it may take.
    pub effort: Effort,
    /// Seed of all its random numbers.
    pub seed: u64,
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
    normalisation::C1,
    composition::C2,
    invertibility::C3,
    invertibility::C4,
    rosenblatt::C5,
    duality::C6,
    gradients::C7,
    base_update::C8,
    modes::C9,
    discrepancy::C10,
    cost_asymmetry::C11,
    direction::C12,
    accelerated_inverse::C13,
    affine_limit::C14,
    coupling_universality::C15,
    flexibility::C16,
    integrals::C17,
    spline_boundary::C18,
    masks::C19,
    gaussian_conditionals::C20,
    linear_cost::C21,
    mixing::C22,
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
    evaluations::C35,
    crossing::C36,
    bridges::C37,
    bottleneck::C38,
    matched::C39,
    simulation_free::C40,
    not_built::C41,
    not_built::C42,
    torus::C43,
    symmetry::C44,
    not_built::C45,
    not_built::C46,
    not_built::C47,
    not_built::C48,
    not_built::C49,
    normalisation_layers::C50,
];
