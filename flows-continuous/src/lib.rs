#![doc = include_str!("../README.md")]

mod adaptive;
mod adjoint;
mod batched;
mod bottleneck_field;
mod continuous;
mod continuous_flow;
mod control;
mod dense;
mod divergence;
mod elimination;
mod equivariant_field;
mod field;
mod fixed_point;
mod fixed_step;
mod lanes;
mod mlp_field;
mod monitor;
mod orthogonal;
mod path;
mod penalty;
mod planar_field;
mod potential_field;
mod potential_gradient;
mod potential_trace;
mod radial_functions;
mod rates;
mod recorder;
mod requirement;
mod residual_operation;
mod residual_steps;
mod row_batch;
mod row_wise;
mod runge_kutta;
mod solution;
mod solve;
mod solver;
mod tableau;
mod time_gate;
mod time_input;
mod velocity;

pub use adaptive::{dop853, dopri5};
pub use bottleneck_field::BottleneckField;
pub use continuous::Continuous;
pub use continuous_flow::{
    BottleneckConfig, ContinuousFlow, EquivariantConfig, FieldConfig, PerceptronField,
    PlanarConfig, PotentialConfig,
};
pub use control::{Adaptive, Method};
pub use divergence::{Divergence, HutchPlusPlus, Hutchinson, Probe};
pub use equivariant_field::EquivariantField;
pub use field::{Field, FieldGradients, FieldKernel, Instant, Structure};
pub use fixed_step::{integrate, uniform_mesh};
pub use flows_core::Direction;
pub use mlp_field::MlpField;
pub use penalty::{Penalties, Penalty};
pub use planar_field::PlanarField;
pub use potential_field::PotentialField;
pub use residual_steps::ResidualSteps;
pub use solution::{Failure, FieldError, Keep, RowReport, Solution, SolveError, Status};
pub use solve::{Checkpoints, GradientMethod};
pub use solver::{Accuracy, EqualSteps, Solver};
pub use tableau::{DORMAND_PRINCE, DORMAND_PRINCE_8, EULER, HEUN, MIDPOINT, RALSTON, RK4, Tableau};
pub use time_input::{Fourier, TimeInput};
