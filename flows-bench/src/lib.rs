#![doc = include_str!("../README.md")]

pub mod table;
pub mod targets;
pub mod toys;
