//! The crate's public behaviour, in one binary because each takes long to link.

mod calibration;
mod conditional;
mod conditional_linear;
mod metrics;
#[cfg(feature = "clocks")]
mod normalisation;
mod table_damage;
mod table_dialects;
mod table_errors;
mod table_inspect;
mod table_round_trips;
mod table_uci;
