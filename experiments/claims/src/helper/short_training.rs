//! Training for a number of steps, so that a seed gives the same weights every time.

use anyhow::Result;
use flows_core::train::{
    AdamConfig, Budget, Objective, ReverseKl, SamplerSource, TrainConfig, Trainer,
};
use flows_core::{Base, Bijector, Flow, Purpose, Stream, Target};

/// Rows, or draws, of a step.
pub(crate) const ROWS: usize = 256;

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
        let trainer = self.trainer(bijector, Objective::MaximumLikelihood)?;
        Ok(trainer.fit(&SamplerSource::new(sample, dim, self.seed))?)
    }

    /// The flow from N(0, I) by `bijector`, trained by the reverse divergence from `target` over 256 of
    /// its own draws a step, and set for reports.
    pub(crate) fn train_on_density(
        self,
        bijector: Box<dyn Bijector<f64>>,
        reverse: ReverseKl,
        target: &dyn Target,
    ) -> Result<Flow<f64>> {
        let mut flow = self.trainer(bijector, Objective::ReverseKl(reverse))?.fit(target)?;
        flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        Ok(flow)
    }

    fn trainer(
        self,
        bijector: Box<dyn Bijector<f64>>,
        objective: Objective,
    ) -> Result<Trainer<f64>> {
        let flow = Flow::new(Base::standard_normal(bijector.dim()), bijector)?;
        let config = TrainConfig {
            objective,
            batch_rows: ROWS,
            optimiser: AdamConfig { learning_rate: self.learning_rate, ..AdamConfig::default() },
            ..TrainConfig::default()
        };
        Ok(Trainer::new(flow, config, Budget::Steps { steps: self.steps }, self.seed)?)
    }
}
