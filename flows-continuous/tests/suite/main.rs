//! The crate's public behaviour, in one binary because each takes long to link.
#![allow(clippy::print_stdout, reason = "measured errors are shown with --nocapture")]

mod adjoint;
mod bijectors;
mod bottleneck_field;
mod closed_traces;
mod conv_field;
mod discretisation;
mod elementwise_field;
mod end_time;
mod equivariant_field;
mod failures;
mod field_case;
mod flow_matching;
mod golden;
mod objective;
mod penalties;
mod planar_field;
mod potential_field;
mod residual_step_errors;
mod residual_steps;
mod resume;
mod reverse_kl;
mod row_wise;
mod solutions;
mod solvers;
mod stages;
mod tableau;
mod trace_estimates;
mod traces;
