//! Training of a variational autoencoder by its evidence lower bound.

use std::ops::ControlFlow;
use std::time::Instant;

use flows_core::tensor::{batch, set_values};
use flows_core::train::{Adam, Progress, Source, Spent, StopReason};
use flows_core::{Batch, Error, Loss, Parameters, Purpose, Real, Result, Stream, Values, stream};
use serde::{Deserialize, Serialize};

use super::{Autoencoder, AutoencoderTraining};
use crate::adam_step::{AdamStep, adam_step, is_numerical, values};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) steps: u64,
    pub(super) seconds: f64,
    pub(super) work: u64,
    pub(super) best_nats: Option<f64>,
    pub(super) without_improvement: u64,
}

impl State {
    fn spent(&self) -> Spent {
        Spent { steps: self.steps, seconds: self.seconds, work: self.work }
    }
}

/// Trains an autoencoder; can be saved and resumed at any step, bit for bit.
#[derive(Debug)]
pub struct AutoencoderTrainer<E: Real> {
    settings: AutoencoderTraining,
    seed: u64,
    pub(super) model: Autoencoder<E>,
    pub(super) adam: Adam<E>,
    /// Values of all tensors with the least validation loss, in the order of the model.
    pub(super) best: Option<Vec<Vec<E>>>,
    pub(super) state: State,
}

impl<E: Real> AutoencoderTrainer<E> {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// As [`AutoencoderTraining::check`].
    pub fn new(model: Autoencoder<E>, settings: AutoencoderTraining, seed: u64) -> Result<Self> {
        settings.check()?;
        let adam = Adam::new(settings.train.optimiser, &model);
        Ok(Self { settings, seed, model, adam, best: None, state: State::default() })
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// Seconds of training.
    pub fn seconds(&self) -> f64 {
        self.state.seconds
    }

    /// The autoencoder with the weights of the latest step.
    pub fn model(&self) -> &Autoencoder<E> {
        &self.model
    }

    /// The autoencoder with the best validated weights, where there is patience, or else the latest, ready
    /// for reports.
    ///
    /// # Errors
    /// As [`Autoencoder::set_purpose`].
    pub fn into_model(mut self) -> Result<Autoencoder<E>> {
        if let Some(best) = self.best {
            let mut values = best.iter();
            self.model.visit_mut(&mut |_, _, tensor| {
                values.next().map_or(Ok(()), |values| set_values(tensor, values))
            })?;
        }
        self.model.set_purpose(Purpose::Reporting)?;
        Ok(self.model)
    }

    /// Trains until the budget is spent, validation stops improving, `report` breaks, or the loss is not
    /// finite. `validation` has rows one after another, none for no validation; it and `report`, which
    /// sees every step, do not count as training time.
    ///
    /// In [`Progress`], `train_nats` is the loss of the step at its weight of the KL, and
    /// `validation_nats` the mean negative evidence lower bound.
    ///
    /// # Errors
    /// Errors of the source, of the data, of `report`, or of validation. Divergence is a [`StopReason`],
    /// not an error.
    pub fn run(
        &mut self,
        source: &dyn Source<E>,
        validation: &[E],
        mut report: impl FnMut(&Self, &Progress) -> Result<ControlFlow<()>>,
    ) -> Result<StopReason> {
        for (op, expected, got) in [
            ("training data of an autoencoder", self.model.dim(), source.dim()),
            ("context of an autoencoder's data", 0, source.context_dim()),
        ] {
            if expected != got {
                return Err(Error::Dimension { op, expected, got });
            }
        }
        let budget = self.settings.budget;
        while budget.progress(self.state.spent()) < 1.0 {
            if self.is_exhausted() {
                return Ok(StopReason::EarlyStop);
            }
            let clock = Instant::now();
            let x = self.minibatch(source)?;
            let mut progress = match self.step(&x) {
                Ok(progress) => progress,
                Err(error) if is_numerical(&error) => return Ok(self.diverged(&error)),
                Err(error) => return Err(error),
            };
            self.state.seconds += clock.elapsed().as_secs_f64();
            progress.seconds = self.state.seconds;
            progress.fraction = budget.progress(self.state.spent());
            let due = self.state.steps.is_multiple_of(self.settings.train.validate_every);
            if !validation.is_empty() && (due || progress.fraction >= 1.0) {
                let nats = self.validate(validation)?;
                progress.validation_nats = Some(nats);
                self.note_validation(nats);
            }
            if report(self, &progress)?.is_break() {
                return Ok(StopReason::Interrupted);
            }
        }
        Ok(StopReason::Finished)
    }

    fn minibatch(&self, source: &dyn Source<E>) -> Result<Batch<E>> {
        let rows = source.minibatch(self.state.steps, self.settings.train.batch_rows)?.values;
        let count = rows.len() / self.model.dim();
        batch(rows, count, self.model.dim())
    }

    /// The stream of one step.
    fn stream(&self, name: &str) -> Stream {
        stream(self.seed, &format!("{name} {}", self.state.steps))
    }

    fn step(&mut self, x: &Batch<E>) -> Result<Progress> {
        let AutoencoderTraining { train, budget, draws, .. } = &self.settings;
        let (mut probes, mut noise) = (self.stream("probes"), self.stream("draws"));
        self.model.set_purpose(Purpose::Training)?;
        self.model.begin_step(&mut probes)?;
        let fraction = budget.progress(self.state.spent());
        let weight = self.settings.kl_weight(fraction);
        let Loss { value, mut gradient, work } = self.model.loss(x, *draws, weight, &mut noise)?;
        let AdamStep { learning_rate, gradient_norm } =
            adam_step(&mut self.model, &mut self.adam, (value, &mut gradient), train, fraction)?;
        self.model.end_step(&mut gradient)?;
        self.state.steps += 1;
        self.state.work += work.evaluations() * (x.rows() * draws) as u64;
        Ok(Progress {
            step: self.state.steps,
            train_nats: Some(value),
            learning_rate,
            gradient_norm,
            work,
            ..Progress::default()
        })
    }

    fn diverged(&self, error: &Error) -> StopReason {
        let step = self.state.steps;
        let reason = format!("step {} failed: {error}", step + 1);
        StopReason::Diverged { step, reason }
    }

    /// The mean negative evidence lower bound.
    fn validate(&mut self, rows: &[E]) -> Result<f64> {
        self.model.set_purpose(Purpose::Reporting)?;
        let rng = &mut stream(self.seed, "validation");
        let elbo = self.model.evaluate(rows, self.settings.validation_draws, rng)?.elbo();
        Ok(-elbo.iter().sum::<f64>() / elbo.len() as f64)
    }

    fn note_validation(&mut self, nats: f64) {
        if self.settings.train.patience.is_none() {
            return;
        }
        if self.state.best_nats.is_none_or(|best| nats < best) {
            self.state.best_nats = Some(nats);
            self.state.without_improvement = 0;
            self.best = Some(values(&self.model));
        } else {
            self.state.without_improvement += 1;
        }
    }

    fn is_exhausted(&self) -> bool {
        let without = self.state.without_improvement;
        self.settings.train.patience.is_some_and(|patience| without >= patience)
    }
}
