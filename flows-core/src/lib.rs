#![doc = include_str!("../README.md")]

pub mod activation;
mod base;
mod bijector;
mod chain;
mod context;
pub mod elementwise;
mod error;
mod flow;
mod inverse;
pub mod matmul;
mod mlp;
mod network;
pub mod operation;
pub mod parameters;
mod real;
pub mod rowwise;
mod seed;
pub mod tensor;
pub mod testing;
pub mod train;
mod work;

pub use base::{Base, DiagonalNormal, StandardNormal, UniformBox};
pub use bijector::{Bijector, BoxBijector, Cost, Costs, LogDet, Mapped, Purpose};
pub use chain::Chain;
pub use context::Context;
pub use error::{Error, Result};
pub use flow::{Flow, LogProb, Sampled, forward_kl};
pub use inverse::Inverse;
pub use mlp::{Mlp, MlpKernel, MlpWorkspace, Tangents};
pub use network::{LastLayer, Layout, Layouts, Network, NetworkKernel};
pub use parameters::{Parameters, Role};
pub use real::Real;
pub use seed::{Stream, normals, stream};
pub use tensor::{Batch, Mode, NoneTape, PerRow, PutTape, SplitTape, Traced, Values};
pub use work::Work;
