//! Claims of Section 3.4: practical considerations.

pub(crate) mod normalisation_layers;
