//! Training: minibatches, Adam, schedules, averaging, early stopping, checkpoints.

mod adam;
mod checkpoint;
mod config;
mod schedule;
mod source;
mod trainer;

pub use adam::{Adam, AdamConfig, gradient_norm};
pub use checkpoint::{Checkpoint, write_atomically};
pub use config::{Objective, SimulationFree, TrainConfig};
pub use schedule::{Budget, Schedule, Spent};
pub use source::{Minibatch, SamplerSource, Source, TableSource};
pub use trainer::{Outcome, Progress, Trainer, Validation};
