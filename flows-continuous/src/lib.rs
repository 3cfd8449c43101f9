#![doc = include_str!("../README.md")]

mod continuous;
mod continuous_flow;
mod dynamics;
mod field;
mod lane_sums;
mod requirement;
mod residual_steps;
mod solver;

pub use continuous::Continuous;
pub use continuous::solve::{Checkpoints, GradientMethod};
pub use continuous_flow::ContinuousFlow;
pub use dynamics::divergence::{Divergence, HutchPlusPlus, Hutchinson, Probe};
pub use dynamics::penalty::{Penalties, Penalty};
pub use field::bottleneck::BottleneckField;
pub use field::config::{
    BottleneckConfig, ConvolutionalConfig, EquivariantConfig, FieldConfig, PerceptronField,
    PlanarConfig, PotentialConfig,
};
pub use field::conv::ConvField;
pub use field::equivariant::EquivariantField;
pub use field::mlp::MlpField;
pub use field::planar::PlanarField;
pub use field::potential::PotentialField;
pub use field::time_input::{Fourier, TimeInput};
pub use field::{Field, FieldGradients, FieldInput, FieldKernel, Structure};
pub use flows_core::Direction;
pub use residual_steps::ResidualSteps;
pub use solver::adaptive::{dop853, dopri5};
pub use solver::control::{Adaptive, Method};
pub use solver::fixed_step::{integrate, uniform_mesh};
pub use solver::solution::{Failure, FieldError, Keep, RowReport, Solution, SolveError, Status};
pub use solver::tableau::{
    DORMAND_PRINCE, DORMAND_PRINCE_8, EULER, HEUN, MIDPOINT, RALSTON, RK4, Tableau,
};
pub use solver::{Accuracy, EqualSteps, Solver};
