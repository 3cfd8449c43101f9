#![doc = include_str!("../README.md")]

mod adaptive;
mod batched;
mod continuous;
mod divergence;
mod ffjord;
mod field;
mod fixed_step;
mod monitor;
mod replay;
mod solution;
mod tableau;

pub use adaptive::{Adaptive, dopri5};
pub use continuous::{Accuracy, Continuous, Solver, Steps};
pub use divergence::{Divergence, Hutchinson, Probe};
pub use ffjord::Ffjord;
pub use field::{FieldGradients, FieldKernel, Instant, MlpField, MlpFieldWorkspace, TimeInput};
pub use fixed_step::{integrate, uniform_mesh};
pub use solution::{Failure, FieldError, Solution, SolveError, Status};
pub use tableau::{DORMAND_PRINCE, EULER, MIDPOINT, RK4, Tableau};
