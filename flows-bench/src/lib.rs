#![doc = include_str!("../README.md")]

pub mod conditional;
pub mod correlated_mixture;
pub mod metrics;
pub mod table;
pub mod targets;
pub mod toys;
