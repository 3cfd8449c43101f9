//! Claims of Section 5: generalisations.

pub(crate) mod bridges;
pub(crate) mod symmetry;
pub(crate) mod torus;
