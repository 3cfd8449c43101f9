//! Claims of Section 3.3: residual flows.

pub(crate) mod fixed_point;
pub(crate) mod hutchinson;
pub(crate) mod lipschitz;
pub(crate) mod planar_condition;
pub(crate) mod power_series;
pub(crate) mod roulette;
