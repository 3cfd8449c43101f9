//! Training of a flow on rows that a sampler has drawn.

use flows_core::tensor::cast;
use flows_core::train::{Budget, TableSource, TrainConfig, Trainer};
use flows_core::{Flow, Purpose, Real, Result, Stream};
use rand::Rng;

/// How a flow is refined on the rows of a sampler: by maximum likelihood, or another objective that
/// takes rows, from its present weights.
///
/// Layers that are initialised from data, such as act-norm, are set anew to the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// Settings of the training.
    pub config: TrainConfig,
    /// Its length.
    pub budget: Budget,
}

impl Default for Refit {
    /// Maximum likelihood with minibatches of 512 rows, 200 steps.
    fn default() -> Self {
        Self { config: TrainConfig::default(), budget: Budget::Steps { steps: 200 } }
    }
}

impl Refit {
    /// The flow trained on rows, set for reporting.
    pub(crate) fn refit<E: Real>(
        &self,
        flow: Flow<E>,
        rows: &[f64],
        rng: &mut Stream,
    ) -> Result<Flow<E>> {
        let (dim, seed) = (flow.dim(), rng.next_u64());
        let source = TableSource::new(cast(rows), dim, seed)?;
        let trainer = Trainer::new(flow, self.config.clone(), self.budget, seed)?;
        let mut flow = trainer.fit(&source)?;
        flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        Ok(flow)
    }
}
