#![doc = include_str!("../README.md")]

mod act_norm;
mod affine;
pub mod architecture;
mod coupling;
mod lu_linear;
mod mask;
mod partition;
mod permutation;
mod rational_quadratic;
mod transformer;

pub use act_norm::ActNorm;
pub use affine::{Affine, Scale};
pub use coupling::Coupling;
pub use lu_linear::LuLinear;
pub use mask::Mask;
pub use permutation::Permutation;
pub use rational_quadratic::{RationalQuadratic, Tails};
pub use transformer::Transformer;
