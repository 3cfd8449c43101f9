#![doc = include_str!("../README.md")]

pub mod architecture;
mod autoregressive;
mod batch_norm;
mod block_autoregressive;
mod coupling;
mod elementwise;
pub mod linear;
mod mask;
mod order;
mod recurrent;
pub mod residual;
mod stick_breaking;
pub mod transformer;

pub use autoregressive::{Autoregressive, MaskedConditioner, Newton, Sampling};
pub use batch_norm::BatchNorm;
pub use block_autoregressive::BlockAutoregressive;
pub use coupling::Coupling;
pub use elementwise::Elementwise;
pub use flows_core::{ActNorm, Part, Pixelwise};
pub use linear::{LuLinear, Permutation};
pub use mask::Mask;
pub use order::Order;
pub use recurrent::Recurrent;
pub use residual::{Contractive, Planar, Radial, Sylvester};
pub use stick_breaking::StickBreaking;
pub use transformer::{
    Additive, Affine, Bernstein, CircularSpline, CubicSpline, DeepSigmoidal, DenseSigmoidal,
    FixedAffine, Gaussianization, HalfLine, Integrated, Interval, Inverted, LinearRational,
    LinearSpline, LogisticMixture, QuadraticSpline, RationalQuadratic, Scale, SumOfSquares, Tails,
    Transformer,
};
