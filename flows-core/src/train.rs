//! Training of flows: Adam, schedules, averaging, early stopping, checkpoints.

mod adam;
mod checkpoint;
mod config;
mod objective;
mod optimised_flow;
mod progress;
mod schedule;
mod source;
mod step;
mod trainer;
mod training_data;

pub use adam::{Adam, AdamConfig, gradient_norm};
pub use checkpoint::{Checkpoint, write_atomically};
pub use config::{BaseUpdate, TrainConfig};
pub use objective::{Annealing, MaximumMeanDiscrepancy, Objective, ReverseKl, SimulationFree};
pub use progress::{Progress, StopReason, Validation};
pub use schedule::{Budget, Schedule, Spent};
pub use source::{Minibatch, SamplerSource, Source, TableSource};
pub use trainer::Trainer;
pub use training_data::{StepLoss, TrainingData};
