//! Maximum likelihood for a number of steps, so that a seed gives the same weights every time.

use anyhow::Result;
use flows_core::train::{AdamConfig, Budget, SamplerSource, TrainConfig, Trainer};
use flows_core::{Base, Bijector, Flow, Stream};

/// How much a training may take, and its seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) steps: u64,
    pub(crate) learning_rate: f64,
    pub(crate) seed: u64,
}

impl Course {
    /// The flow from N(0, I) by `bijector`, trained on fresh draws of `sample`, 256 a step.
    pub(crate) fn train(
        self,
        bijector: Box<dyn Bijector<f64>>,
        sample: impl Fn(usize, &mut Stream) -> Vec<f64>,
    ) -> Result<Flow<f64>> {
        let dim = bijector.dim();
        let flow = Flow::new(Base::standard_normal(dim), bijector)?;
        let config = TrainConfig {
            batch_rows: 256,
            optimiser: AdamConfig { learning_rate: self.learning_rate, ..AdamConfig::default() },
            ..TrainConfig::default()
        };
        let trainer = Trainer::new(flow, config, Budget::Steps { steps: self.steps }, self.seed)?;
        Ok(trainer.fit(&SamplerSource::new(sample, dim, self.seed))?)
    }
}
