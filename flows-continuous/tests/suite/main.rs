//! The crate's public behaviour, in one binary because each takes long to link.

mod bijectors;
mod bottleneck_field;
mod equivariant_field;
mod failures;
mod field_case;
mod golden;
mod planar_field;
mod potential_field;
mod resume;
mod solvers;
mod traces;
