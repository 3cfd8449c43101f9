#![doc = include_str!("../README.md")]

pub mod table;
pub mod toys;
pub mod workload;
