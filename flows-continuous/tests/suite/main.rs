//! The crate's public behaviour, in one binary because each takes long to link.

mod bijectors;
mod failures;
mod golden;
mod resume;
mod solvers;
mod traces;
