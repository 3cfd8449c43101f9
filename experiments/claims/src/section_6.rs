//! Claims of Section 6: applications.

pub(crate) mod neutra;
