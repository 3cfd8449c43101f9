//! The crate's public behaviour, in one binary because each takes long to link.

mod augmented;
mod base_update;
mod bases;
mod checkpoint;
mod coupling;
mod implicit;
mod layer;
mod maps;
mod matching;
mod mmd;
mod pass;
mod reverse;
mod tangents;
mod tape;
mod training;
