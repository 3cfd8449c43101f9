//! The crate's public behaviour, in one binary because each takes long to link.

mod act_norm;
mod autoregressive;
mod base_update;
mod bijectors;
mod conditioning;
mod edges;
mod golden;
mod monotone;
mod orders;
mod presets;
mod resume;
mod reverse_kl;
mod rows;
