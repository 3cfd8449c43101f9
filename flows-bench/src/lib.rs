#![doc = include_str!("../README.md")]

pub mod conditional;
pub mod correlated_mixture;
pub mod metrics;
pub mod posteriors;
mod reference_error;
pub mod simulators;
pub mod table;
pub mod targets;
pub mod toys;

pub use reference_error::ReferenceError;
