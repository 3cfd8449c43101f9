#![doc = include_str!("../README.md")]

mod act_norm;
pub mod architecture;
mod autoregressive;
mod block;
mod coupling;
pub mod linear;
mod mask;
mod order;
pub mod transformer;

pub use act_norm::ActNorm;
pub use autoregressive::{Autoregressive, MaskedConditioner, Newton, Sampling};
pub use coupling::Coupling;
pub use linear::{LuLinear, Permutation};
pub use mask::Mask;
pub use order::Order;
pub use transformer::{Affine, Inverted, RationalQuadratic, Scale, Tails, Transformer};
