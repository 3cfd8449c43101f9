#![doc = include_str!("../README.md")]

mod act_norm;
pub mod architecture;
mod coupling;
pub mod linear;
mod mask;
pub mod transformer;

pub use act_norm::ActNorm;
pub use coupling::Coupling;
pub use linear::{LuLinear, Permutation};
pub use mask::Mask;
pub use transformer::{Affine, RationalQuadratic, Scale, Tails, Transformer};
