//! Refining a run's flow on rows that a sampler has drawn.

use flows_core::train::{Objective, TrainConfig};
use flows_inference::chain::Refit;

use crate::config::RunConfig;

/// Maximum likelihood with the settings of the run, for 200 steps at a time.
pub(crate) fn refit(config: &RunConfig) -> Refit {
    let objective = Objective::MaximumLikelihood;
    // There are no rows to validate on.
    let config = TrainConfig { objective, patience: None, ..config.train.clone() };
    Refit { config, ..Refit::default() }
}
