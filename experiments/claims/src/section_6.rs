//! Claims of Section 6: applications.

pub(crate) mod hybrid;
pub(crate) mod importance;
pub(crate) mod neutra;
pub(crate) mod posterior_estimation;
pub(crate) mod variational;
