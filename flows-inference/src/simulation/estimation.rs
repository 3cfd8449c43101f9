//! Maximum-likelihood training of a conditional flow on simulated pairs.

use std::ops::ControlFlow;

use flows_core::tensor::{batch, cast};
use flows_core::train::{
    Budget, Objective, StopReason, TableSource, TrainConfig, Trainer, Validation,
};
use flows_core::{
    Architecture, Base, Context, Error, Flow, Purpose, Real, Result, Stream, architecture, stream,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Invalid, Progress, Report};

/// Builds a conditional flow for a number of features and of conditioning features; see [`flow_of`].
pub type Build<'a, E> = &'a dyn Fn(usize, usize, &mut Stream) -> Result<Flow<E>>;

/// Builds flows of an architecture on a standard normal base.
pub fn flow_of<E: Real>(
    architecture: &dyn Architecture,
) -> impl Fn(usize, usize, &mut Stream) -> Result<Flow<E>> + '_ {
    |dim, context_dim, rng| {
        let chain = architecture::build(architecture, dim, context_dim, rng)?;
        Flow::new(Base::standard_normal(dim), Box::new(chain))
    }
}

/// Settings of an estimation.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `rows` | 10,000 | simulations, of each round if there are several | >= 2 |
/// | `invalid` | refuse | see [`Invalid`] | |
/// | `clip` | 10 | robust standard deviations from the median beyond which conditioning data are clipped | > 0 |
/// | `validation` | 0.1 | share of the rows that is validated on | in (0, 1) |
/// | `train` | batches of 256, patience 10 | see [`TrainConfig`]; its objective may be flow matching | |
/// | `budget` | 5,000 steps | of training, of each round if there are several | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Estimation {
    /// Simulations.
    pub rows: usize,
    /// What is done with rows of data that are not finite.
    pub invalid: Invalid,
    /// Distance from the median beyond which conditioning data are clipped.
    pub clip: f64,
    /// Share of the rows that is validated on.
    pub validation: f64,
    /// Training of the flow.
    pub train: TrainConfig,
    /// Its budget.
    pub budget: Budget,
}

impl Default for Estimation {
    fn default() -> Self {
        Self {
            rows: 10_000,
            invalid: Invalid::default(),
            clip: 10.0,
            validation: 0.1,
            train: TrainConfig { batch_rows: 256, patience: Some(10), ..TrainConfig::default() },
            budget: Budget::Steps { steps: 5_000 },
        }
    }
}

impl Estimation {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above; [`Error::Unavailable`] for an
    /// objective that conditional flows do not have.
    pub fn check(&self) -> Result<()> {
        self.train.check()?;
        self.budget.check()?;
        let inside = self.validation > 0.0 && self.validation < 1.0;
        let checks = [
            ("rows of simulations", "at least 2", self.rows as f64, self.rows >= 2),
            ("clip", "positive", self.clip, self.clip > 0.0),
            ("validation", "between 0 and 1", self.validation, inside),
        ];
        if let Some((name, requirement, value, _)) = checks.into_iter().find(|(.., holds)| !holds) {
            return Err(Error::Parameter { name, requirement, value });
        }
        match self.train.objective {
            Objective::MaximumLikelihood | Objective::FlowMatching(_) => Ok(()),
            Objective::ReverseKl(_) | Objective::MaximumMeanDiscrepancy(_) => {
                let what = "estimation by reverse KL or by maximum mean discrepancy";
                let advice = "choose maximum likelihood or flow matching";
                Err(Error::Unavailable { what, advice })
            }
        }
    }

    /// A random order of so many rows, and how many of them, at the front, are validated on.
    pub(super) fn split(&self, rows: usize, seed: u64) -> Result<(Vec<usize>, usize)> {
        if rows < 2 {
            let (name, requirement) = ("rows of finite data to train on", "at least 2");
            return Err(Error::Parameter { name, requirement, value: rows as f64 });
        }
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut stream(seed, "validation rows"));
        let count = (self.validation * rows as f64).round() as usize;
        Ok((order, count.clamp(1, rows - 1)))
    }
}

/// What a training took and came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Rows that were simulated and kept, over all rounds.
    pub rows: usize,
    /// Rows that were left out, because a value was not finite.
    pub left_out: usize,
    /// Values of conditioning data that were clipped.
    pub clipped: usize,
    /// Seconds of simulation.
    pub simulation_seconds: f64,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Forward network passes and field evaluations in training, times their rows.
    pub work: u64,
    /// The least validation loss, nats in the flow's units; after several rounds, the atomic loss of
    /// the last one.
    pub validation_nats: f64,
}

/// Rows of a flow's values with their conditioning features, both in the flow's units.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    pub(super) values: Vec<f64>,
    pub(super) dim: usize,
    pub(super) context: Vec<f64>,
    pub(super) context_dim: usize,
}

impl Pairs {
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Values and features of some rows in a flow's precision.
    pub(super) fn select<E: Real>(&self, rows: &[usize]) -> (Vec<E>, Vec<E>) {
        let of = |values: &[f64], width: usize| {
            let row = |&row: &usize| cast::<E>(&values[row * width..(row + 1) * width]);
            rows.iter().flat_map(row).collect()
        };
        (of(&self.values, self.dim), of(&self.context, self.context_dim))
    }
}

/// Trains a flow on pairs and returns it ready for reports, with what it took.
pub(super) fn fit<E: Real>(
    flow: Flow<E>,
    pairs: &Pairs,
    settings: &Estimation,
    report: Report<'_>,
    seed: u64,
) -> Result<(Flow<E>, Training)> {
    let (order, count) = settings.split(pairs.rows(), seed)?;
    let (values, context) = pairs.select(&order[..count]);
    let context = Context::of(batch(context, count, pairs.context_dim)?);
    let validation = Validation { values, context };
    let (values, context) = pairs.select(&order[count..]);
    let source =
        TableSource::new(values, pairs.dim, seed)?.with_context(context, pairs.context_dim)?;
    let mut trainer = Trainer::new(flow, settings.train.clone(), settings.budget, seed)?;
    let mut best = f64::INFINITY;
    let stopped = trainer.run(&source, Some(&validation), |_, progress| {
        best = progress.validation_nats.map_or(best, |nats| best.min(nats));
        report(&Progress::Training(*progress))
    })?;
    if let StopReason::Diverged { step, reason } = stopped {
        return Err(Error::Caller(format!("training stopped at step {step}: {reason}")));
    }
    let training = Training {
        rows: pairs.rows(),
        left_out: 0,
        clipped: 0,
        simulation_seconds: 0.0,
        steps: trainer.steps(),
        seconds: trainer.seconds(),
        work: trainer.work(),
        validation_nats: trainer.best_nats().map_or(best, |nats| nats.min(best)),
    };
    let mut flow = trainer.into_flow()?;
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok((flow, training))
}

/// A report that sees nothing and never stops.
///
/// # Errors
/// None.
pub fn unreported(_: &Progress) -> Result<ControlFlow<()>> {
    Ok(ControlFlow::Continue(()))
}
