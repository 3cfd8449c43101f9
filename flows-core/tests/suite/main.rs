//! The crate's public behaviour, in one binary because each takes long to link.

mod augmented;
mod base_update;
mod bases;
mod checkpoint;
mod composites;
mod coupling;
mod elementwise;
mod implicit;
mod layer;
mod maps;
mod masked;
mod matching;
mod matmul;
mod mmd;
mod own_base;
mod pass;
mod reverse;
mod row_errors;
mod scratch;
mod seed;
mod sources;
mod tangents;
mod tape;
mod training;
