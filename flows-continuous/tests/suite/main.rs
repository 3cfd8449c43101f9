//! The crate's public behaviour, in one binary because each takes long to link.
#![allow(clippy::print_stdout, reason = "measured errors are shown with --nocapture")]

mod bijectors;
mod bottleneck_field;
mod equivariant_field;
mod failures;
mod field_case;
mod flow_matching;
mod golden;
mod planar_field;
mod potential_field;
mod residual_steps;
mod resume;
mod solvers;
mod traces;
