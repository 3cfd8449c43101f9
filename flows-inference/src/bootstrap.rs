//! Flow annealed importance sampling bootstrap: fitting a density with many modes, without data.

mod buffer;
mod loss;
mod resume;

use std::ops::ControlFlow;
use std::time::Instant;

use flows_core::train::{Budget, StopReason, TrainConfig, Trainer, TrainingData};
use flows_core::{Error, Flow, Real, Result, Target, stream};
use serde::{Deserialize, Serialize};

pub use self::buffer::ReplayBuffer;
use self::loss::BufferLoss;
use crate::{AnnealedSampler, AnnealedSampling, LogWeights};

/// Gain of the step sizes' adaptation in each round: at most a tenth in one, since rounds go on for as
/// long as the flow changes.
const GAIN: f64 = 0.15;

/// Settings of the bootstrap.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `alpha` | 2 | a: order of the alpha divergence that is minimised | > 0, not 1 |
/// | `annealed` | 1 density between q and p~^a q^(1-a) | see [`AnnealedSampling`] | |
/// | `rows` | 512 | draws that a round anneals | >= 1 |
/// | `steps` | 8 | gradient steps of a round | >= 1 |
/// | `fewest` | 4,096 | rows in the buffer before training begins | >= 1, at most `capacity` |
/// | `capacity` | 65,536 | rows of the buffer; the newest replace the oldest | >= `rows` |
/// | `clip` | 10 | largest correction of a row for the change of the flow | >= 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Order of the divergence.
    pub alpha: f64,
    /// Annealed importance sampling of a round.
    pub annealed: AnnealedSampling,
    /// Draws of a round.
    pub rows: usize,
    /// Gradient steps of a round.
    pub steps: u64,
    /// Rows in the buffer before training begins.
    pub fewest: usize,
    /// Rows of the buffer.
    pub capacity: usize,
    /// Largest correction of a row's weight in the loss.
    pub clip: f64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            alpha: 2.0,
            annealed: AnnealedSampling::default(),
            rows: 512,
            steps: 8,
            fewest: 4096,
            capacity: 65_536,
            clip: 10.0,
        }
    }
}

impl BootstrapConfig {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above.
    pub fn check(&self) -> Result<()> {
        self.annealed.check()?;
        let Self { alpha, rows, steps, fewest, capacity, clip, .. } = *self;
        let fits = (1..=capacity).contains(&fewest);
        let order = alpha > 0.0 && alpha.is_finite() && alpha != 1.0;
        let checks = [
            ("alpha of the bootstrap", "positive and finite, other than 1", alpha, order),
            ("rows of a round", "at least 1", rows as f64, rows > 0),
            ("steps of a round", "at least 1", steps as f64, steps > 0),
            ("capacity of the buffer", "at least rows", capacity as f64, capacity >= rows),
            ("fewest rows of the buffer", "from 1 to its capacity", fewest as f64, fits),
            (
                "clip of the bootstrap",
                "at least 1 and finite",
                clip,
                (1.0..f64::MAX).contains(&clip),
            ),
        ];
        for (name, requirement, value, holds) in checks {
            if !holds {
                return Err(Error::Parameter { name, requirement, value });
            }
        }
        Ok(())
    }
}

/// What a round of the bootstrap did.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Its number, from 1.
    pub number: u64,
    /// Gradient steps so far.
    pub steps: u64,
    /// Fraction of the budget used.
    pub fraction: f64,
    /// Effective share of the annealed weights; `None` where all are zero.
    pub effective_share: Option<f64>,
    /// Mean acceptance of the transitions.
    pub acceptance: f64,
    /// Mean loss of the steps in nats; `None` while the buffer fills.
    pub loss: Option<f64>,
    /// What was out of the ordinary.
    pub events: Vec<Event>,
}

/// What is out of the ordinary in a round, without ending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many annealed draws have weight zero: they ended outside of the support of the target.
    ZeroWeights(usize),
    /// All have: the round added nothing that training can use.
    AllWeightsZero,
    /// So many annealed draws have a weight that is not a number or infinite, and were left out.
    NonFiniteWeights(usize),
    /// So many rows of the steps had their correction clipped: the flow is much less likely there than
    /// when they were annealed.
    ClippedCorrections(u64),
}

/// Flow annealed importance sampling bootstrap (FAB) with a prioritised replay buffer.
///
/// A round draws from the flow q, anneals the draws to p~^a q^(1-a) (with a = 2 to p~^2/q, where the flow
/// lacks mass that the target has) and adds them with their weights to the buffer. Each step then takes a
/// minibatch of the buffer with probabilities proportional to the weights w and minimises
///
/// ```text
/// - mean of c log q(x),   c = min(clip, (q(x) / q_then(x))^(1-a))
/// ```
///
/// whose gradient is that of the alpha divergence of q from p (chi squared for a = 2) up to a factor; c
/// corrects for the change of the flow since the row was annealed or last used, is held constant, and
/// updates the weight in the buffer.
///
/// # Errors
/// Of all methods: those of the flow and of the target. [`Error::Caller`] if no row of a full buffer has
/// a weight above zero.
///
/// # Reference
/// Midgley, Stimper, Simm, Schölkopf, Hernández-Lobato, *Flow Annealed Importance Sampling Bootstrap*, ICLR
/// 2023, Section 3 and Algorithm 1. <https://arxiv.org/abs/2208.01893>
#[derive(Debug)]
pub struct Bootstrap<E: Real> {
    config: BootstrapConfig,
    seed: u64,
    sampler: AnnealedSampler,
    trainer: Trainer<E>,
    buffer: ReplayBuffer,
    rounds: u64,
}

impl<E: Real> Bootstrap<E> {
    /// A run before its first round. The objective of `train` is not used; its batches are rows of the
    /// buffer, and the paper's learning rate is 3e-4.
    ///
    /// # Errors
    /// As [`BootstrapConfig::check`] and [`Trainer::new`].
    pub fn new(
        flow: Flow<E>,
        config: BootstrapConfig,
        train: TrainConfig,
        budget: Budget,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let sampler = AnnealedSampler::new(config.annealed, config.alpha)?;
        let buffer = ReplayBuffer::new(flow.dim(), config.capacity)?;
        let trainer = Trainer::new(flow, train, budget, seed)?;
        Ok(Self { config, seed, sampler, trainer, buffer, rounds: 0 })
    }

    /// Rounds done.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// The trainer, with the flow of the latest step.
    #[must_use]
    pub fn trainer(&self) -> &Trainer<E> {
        &self.trainer
    }

    /// The buffer.
    #[must_use]
    pub fn buffer(&self) -> &ReplayBuffer {
        &self.buffer
    }

    /// The sampler, with its present step sizes.
    #[must_use]
    pub fn sampler(&self) -> &AnnealedSampler {
        &self.sampler
    }

    /// The trainer, for its flow: with averaged weights where the config asks for them.
    #[must_use]
    pub fn into_trainer(self) -> Trainer<E> {
        self.trainer
    }

    /// Rounds until the budget is spent, training diverges or `report` breaks; it sees every round, after
    /// which the run can be saved. Seconds and work of the annealing count for the budget.
    ///
    /// # Errors
    /// Errors of the flow, of the target and of `report`; [`Error::Caller`] if all weights of a buffer
    /// that is filled for training are zero.
    pub fn run(
        &mut self,
        target: &dyn Target,
        mut report: impl FnMut(&Self, &Round) -> Result<ControlFlow<()>>,
    ) -> Result<StopReason> {
        loop {
            let mut round = self.anneal(target)?;
            let stop = self.train(&mut round)?;
            round.steps = self.trainer.steps();
            let broken = report(self, &round)?.is_break();
            match stop {
                StopReason::Interrupted if broken => return Ok(StopReason::Interrupted),
                StopReason::Interrupted => {}
                stop => return Ok(stop),
            }
        }
    }

    /// Adds annealed draws to the buffer and adapts the step sizes to them.
    fn anneal(&mut self, target: &dyn Target) -> Result<Round> {
        self.rounds += 1;
        let clock = Instant::now();
        let mut rng = stream(self.seed, &format!("annealing {}", self.rounds));
        let annealed =
            self.sampler.draw(self.trainer.flow(), target, self.config.rows, &mut rng)?;
        self.trainer.count_outside(clock.elapsed().as_secs_f64(), annealed.evaluations());
        let acceptance = &annealed.acceptance;
        let mut round = Round {
            number: self.rounds,
            steps: self.trainer.steps(),
            fraction: 0.0,
            effective_share: None,
            acceptance: acceptance.iter().sum::<f64>() / acceptance.len() as f64,
            loss: None,
            events: Vec::new(),
        };
        let is_number = |w: &f64| !w.is_nan() && *w != f64::INFINITY;
        let numbers: Vec<f64> =
            annealed.log_weights.iter().copied().filter(|w| is_number(w)).collect();
        let non_finite = annealed.log_weights.len() - numbers.len();
        if non_finite > 0 {
            round.events.push(Event::NonFiniteWeights(non_finite));
        }
        match LogWeights::new(numbers) {
            Ok(weights) => {
                round.effective_share = Some(weights.effective_share());
                if weights.zeros() > 0 {
                    round.events.push(Event::ZeroWeights(weights.zeros()));
                }
            }
            Err(_) => round.events.push(Event::AllWeightsZero),
        }
        self.sampler.adapt(&annealed, GAIN);
        self.buffer.add(&annealed.draws, &annealed.log_proposal, &annealed.log_weights);
        Ok(round)
    }

    /// The gradient steps of a round; [`StopReason::Interrupted`] if more can follow.
    fn train(&mut self, round: &mut Round) -> Result<StopReason> {
        if self.buffer.rows() < self.config.fewest {
            return Ok(StopReason::Interrupted);
        }
        if self.buffer.positive() == 0 {
            return Err(Error::Caller(format!(
                "all {} weights of the replay buffer are zero: no draw of the flow reached the support \
                 of the target; choose a base that overlaps it, more intermediate densities or a larger \
                 step size",
                self.buffer.rows()
            )));
        }
        let (steps, alpha) = (self.config.steps, self.config.alpha);
        let loss = BufferLoss::new(&mut self.buffer, alpha, self.config.clip);
        let (mut done, mut total) = (0, 0.0);
        let stop = self.trainer.run(TrainingData::Loss(&loss), None, |_, progress| {
            done += 1;
            total += progress.step_loss.unwrap_or(f64::NAN);
            round.fraction = progress.fraction;
            // The trainer itself ends a budget that is spent.
            let goes_on = done < steps || progress.fraction >= 1.0;
            Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        round.loss = (done > 0).then(|| total / done as f64);
        if loss.clipped() > 0 {
            round.events.push(Event::ClippedCorrections(loss.clipped()));
        }
        Ok(stop)
    }
}
