#![doc = include_str!("../README.md")]

pub mod table;
pub mod targets;
pub mod toys;
pub mod trace_cost;
pub mod workload;
