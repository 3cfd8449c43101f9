//! Claims of Section 3.2: linear flows.

pub(crate) mod linear_cost;
pub(crate) mod mixing;
