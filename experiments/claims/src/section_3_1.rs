//! Claims of Section 3.1: autoregressive flows.

pub(crate) mod accelerated_inverse;
pub(crate) mod affine_limit;
pub(crate) mod cost_asymmetry;
pub(crate) mod coupling_universality;
pub(crate) mod direction;
pub(crate) mod flexibility;
pub(crate) mod gaussian_conditionals;
pub(crate) mod integrals;
pub(crate) mod k_parts;
pub(crate) mod masks;
pub(crate) mod spline_boundary;
