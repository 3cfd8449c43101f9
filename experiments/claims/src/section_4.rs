//! Claims of Section 4: continuous-time flows.

pub(crate) mod adjoint;
pub(crate) mod bottleneck;
pub(crate) mod crossing;
pub(crate) mod euler_residual;
pub(crate) mod evaluations;
pub(crate) mod instantaneous_change;
pub(crate) mod matched;
pub(crate) mod probe_noise;
pub(crate) mod reverse_time;
pub(crate) mod simulation_free;
pub(crate) mod trace_cost;
pub(crate) mod work_precision;
