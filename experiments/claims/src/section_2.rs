//! Claims of Section 2: the change of variables, and fitting a flow.

pub(crate) mod base_update;
pub(crate) mod composition;
pub(crate) mod discrepancy;
pub(crate) mod duality;
pub(crate) mod gradients;
pub(crate) mod invertibility;
pub(crate) mod modes;
pub(crate) mod normalisation;
pub(crate) mod rosenblatt;
