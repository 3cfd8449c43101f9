#![doc = include_str!("../README.md")]

pub mod activation;
mod augmented;
mod base;
mod bijector;
mod chain;
mod context;
mod conv;
mod derived;
pub mod elementwise;
mod error;
mod flow;
mod inverse;
pub mod masked;
pub mod matching;
pub mod matmul;
mod mlp;
mod network;
pub mod objective;
pub mod operation;
pub mod parameters;
mod real;
mod residual_net;
pub mod rowwise;
mod seed;
pub mod target;
pub mod tensor;
pub mod testing;
pub mod train;
mod work;

pub use augmented::{Augmented, AugmentedSource, Bound};
pub use base::{
    Base, DiagonalNormal, FullNormal, Laplace, Logistic, Mixture, StandardNormal, StudentT,
    UniformBox,
};
pub use bijector::{Bijector, BoxBijector, Cost, Costs, LogDet, Mapped, Purpose};
pub use chain::Chain;
pub use context::Context;
pub use conv::{ConvKernel, ConvWorkspace, ImageSplit};
pub use derived::derive;
pub use error::{Error, Result};
pub use flow::{Flow, LogProb, Sampled};
pub use inverse::Inverse;
pub use mlp::{Mlp, MlpKernel, MlpWorkspace, Tangents};
pub use network::{LastLayer, Layout, Layouts, Network, NetworkKernel};
pub use objective::{Estimator, Loss, forward_kl, reverse_kl};
pub use parameters::{Parameters, Role};
pub use real::Real;
pub use residual_net::{ResidualKernel, ResidualNetwork, ResidualWorkspace};
pub use seed::{Stream, normals, stream};
pub use target::Target;
pub use tensor::{Batch, Mode, NoneTape, PerRow, PutTape, SplitTape, Traced, Values};
pub use work::{Tally, Work};
