//! The crate's public behaviour, in one binary because each takes long to link.

mod checkpoint;
mod tangents;
mod training;
