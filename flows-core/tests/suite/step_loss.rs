//! Losses from outside of the crate in the trainer.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_core::tensor::batch;
use flows_core::testing::names;
use flows_core::train::{
    BaseUpdate, Budget, Schedule, StepLoss, StopReason, TableSource, TrainConfig, Trainer,
    TrainingData,
};
use flows_core::{
    Base, Chain, Context, Error, Flow, Loss, Parameters, Result, Stream, Tape, Values, forward_kl,
    normals,
};

const ROWS: [f64; 4] = [-1.0, 0.5, 2.0, 7.0];

/// N(m, exp(s)^2), from m = s = 0.
fn normal() -> Flow<f64> {
    let identity = Box::new(Chain::new(1, Vec::new()).unwrap());
    Flow::new(Base::diagonal_normal(1).unwrap(), identity).unwrap()
}

fn weights(flow: &Flow<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| all.extend(tensor.values()));
    all
}

/// Maximum likelihood of [`ROWS`], moved by noise of this scale.
#[derive(Debug)]
struct Likelihood {
    noise: f64,
    dim: usize,
}

impl Likelihood {
    fn rows(&self, rng: &mut Stream) -> Vec<f64> {
        let noise: Vec<f64> = normals(ROWS.len(), rng);
        ROWS.iter().zip(noise).map(|(row, noise)| row + self.noise * noise).collect()
    }
}

impl StepLoss<f64> for Likelihood {
    fn dim(&self) -> usize {
        self.dim
    }

    fn loss(
        &self,
        flow: &Flow<f64>,
        _rows: usize,
        fraction: f64,
        rng: &mut Stream,
    ) -> Result<Loss<f64>> {
        assert!((0.0..1.0).contains(&fraction));
        let x = batch(self.rows(rng), ROWS.len(), 1)?;
        forward_kl(flow, &x, &Context::none(), Tape::recording())
    }

    /// Distance of the location from 1, through which training passes.
    fn validation(&self, flow: &Flow<f64>, _: usize, _: &mut Stream) -> Result<Option<f64>> {
        Ok(Some((weights(flow)[0] - 1.0).abs()))
    }
}

fn trainer(config: TrainConfig, steps: u64) -> Trainer<f64> {
    Trainer::new(normal(), config, Budget::Steps { steps }, 3).unwrap()
}

#[test]
fn a_loss_trains_as_the_same_objective_of_rows() {
    let by_loss = trainer(TrainConfig::default(), 30)
        .fit(TrainingData::Loss(&Likelihood { noise: 0.0, dim: 1 }))
        .unwrap();
    let rows = TableSource::new(ROWS.to_vec(), 1, 0).unwrap();
    let by_rows = trainer(TrainConfig::default(), 30).fit(&rows).unwrap();
    // The table shuffles its rows, so that sums over them round differently.
    for (a, b) in weights(&by_loss).iter().zip(weights(&by_rows)) {
        assert!((a - b).abs() < 1e-12 && *a != 0.0, "{a} and {b}");
    }
}

#[test]
fn a_resumed_run_of_a_loss_has_the_same_bits() {
    let loss = Likelihood { noise: 1.0, dim: 1 };
    let whole = trainer(TrainConfig::default(), 20).fit(TrainingData::Loss(&loss)).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let mut first = trainer(TrainConfig::default(), 20);
    let reason = first.run(TrainingData::Loss(&loss), None, |trainer, progress| {
        assert!(progress.step_loss.is_some() && progress.train_nats.is_none());
        let stop = trainer.steps() == 7;
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(reason.unwrap(), StopReason::Interrupted);
    first.save(&path).unwrap();
    let mut second = trainer(TrainConfig::default(), 20);
    second.resume(&path).unwrap();
    let resumed = second.fit(TrainingData::Loss(&loss)).unwrap();
    assert_eq!(weights(&resumed), weights(&whole));
}

/// The mean of the rows is 2.125, so that the location passes the best one at 1.
#[test]
fn patience_keeps_the_weights_that_the_loss_validates_best() {
    let mut config = TrainConfig {
        schedule: Schedule::Constant,
        validate_every: 1,
        patience: Some(5),
        ..TrainConfig::default()
    };
    config.optimiser.learning_rate = 0.1;
    let mut trainer = trainer(config, 1000);
    let loss = Likelihood { noise: 0.0, dim: 1 };
    let reason =
        trainer.run(TrainingData::Loss(&loss), None, |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    assert_eq!(reason, StopReason::EarlyStop);
    assert!(weights(trainer.flow())[0] > 1.0);
    // A step of Adam moves a parameter by at most about its rate.
    assert!((weights(&trainer.into_flow().unwrap())[0] - 1.0).abs() < 0.1);
}

#[test]
fn what_a_loss_cannot_do_is_named() {
    let wide = Likelihood { noise: 0.0, dim: 2 };
    let result = trainer(TrainConfig::default(), 1).fit(TrainingData::Loss(&wide));
    assert!(matches!(result.unwrap_err(), Error::Dimension { expected: 1, got: 2, .. }));
    let base_update = Some(BaseUpdate { every: 1, rows: 4 });
    let config = TrainConfig { base_update, ..TrainConfig::default() };
    let loss = Likelihood { noise: 0.0, dim: 1 };
    let error = trainer(config, 1).fit(TrainingData::Loss(&loss)).unwrap_err();
    names(&error, &["base_update", "leave it out"]);
}
