//! The training loop.

mod best;
mod discretisation;
mod resume;
mod validation;

use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use self::best::{Best, set_values_of, values_of};
use self::validation::ValidationData;
use super::adam::{Adam, gradient_norm};
use super::config::TrainConfig;
use super::optimised_flow::OptimisedFlow;
use super::progress::{Progress, StopReason, Validation};
use super::schedule::{Budget, Spent};
use super::step::{Step, Stop, tensors};
use super::training_data::TrainingData;
use crate::bijector::{Cost, Purpose};
use crate::objective::Loss;
use crate::parameters::{Parameters, Role};
use crate::{Context, Error, Flow, Real, Result, stream};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    steps: u64,
    seconds: f64,
    best_nats: Option<f64>,
    without_improvement: u64,
    /// None in checkpoints written before it was counted.
    #[serde(default)]
    work: u64,
    /// How often training's discretisation was made finer.
    #[serde(default)]
    refinements: u32,
}

impl State {
    fn spent(&self) -> Spent {
        Spent { steps: self.steps, seconds: self.seconds, work: self.work }
    }
}

/// Trains a flow; can be saved and resumed at any step.
#[derive(Debug)]
pub struct Trainer<E: Real> {
    config: TrainConfig,
    budget: Budget,
    seed: u64,
    flow: Flow<E>,
    adam: Adam<E>,
    average: Option<Vec<Vec<E>>>,
    best: Option<Best<E>>,
    state: State,
}

impl<E: Real> Trainer<E> {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Unavailable`] for base updates of
    /// a base without parameters.
    pub fn new(mut flow: Flow<E>, config: TrainConfig, budget: Budget, seed: u64) -> Result<Self> {
        config.check()?;
        budget.check()?;
        if config.base_update.is_some() && flow.base().count() == 0 {
            let advice = "the base has no parameters; leave it out, or choose a learned base";
            return Err(Error::Unavailable { what: "base_update", advice });
        }
        let trained = OptimisedFlow { flow: &mut flow, base: base_role(&config) };
        let adam = Adam::new(config.optimiser, &trained);
        let state = State::default();
        Ok(Self { config, budget, seed, flow, adam, average: None, best: None, state })
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// Seconds of training.
    pub fn seconds(&self) -> f64 {
        self.state.seconds
    }

    /// Forward network passes and field evaluations in training, times their rows.
    pub fn work(&self) -> u64 {
        self.state.work
    }

    /// Counts seconds and work that the training took outside of its steps, such as the making of its
    /// rows, which the budget is spent on too.
    pub fn count_outside(&mut self, seconds: f64, work: u64) {
        self.state.seconds += seconds;
        self.state.work += work;
    }

    /// How often training's discretisation of an ODE was made finer, because its log-likelihoods came
    /// apart from those that are reported.
    pub fn refinements(&self) -> u32 {
        self.state.refinements
    }

    /// The flow with the weights of the latest step.
    pub fn flow(&self) -> &Flow<E> {
        &self.flow
    }

    /// The least validation loss so far, nats, where patience keeps the best weights: that of the
    /// start too, which no [`Progress`] shows. None without patience or before the first validation.
    pub fn best_nats(&self) -> Option<f64> {
        self.state.best_nats
    }

    /// The flow with the best validated weights, or else the averaged ones, or else the latest.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn into_flow(mut self) -> Result<Flow<E>> {
        match (self.best.take(), self.average.take()) {
            (Some(best), _) => best.restore(&mut self.flow)?,
            (None, Some(average)) => set_values_of(Role::Learned, &mut self.flow, &average)?,
            (None, None) => {}
        }
        Ok(self.flow)
    }

    /// Trains until the budget is spent, without validation or reports, and returns the flow.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`Error::Caller`] with step and reason if the training diverges.
    pub fn fit<'a>(mut self, data: impl Into<TrainingData<'a, E>>) -> Result<Flow<E>> {
        match self.run(data, None, |_, _| Ok(ControlFlow::Continue(())))? {
            StopReason::Diverged { step, reason } => {
                Err(Error::Caller(format!("training stopped at step {step}: {reason}")))
            }
            _ => self.into_flow(),
        }
    }

    /// Trains until the budget is spent, validation stops improving, `report` breaks, or the loss
    /// is not finite. `report` sees every step; it and validation do not count as training time.
    ///
    /// `training_data` is a [`Source`](super::Source) of rows, for reverse KL a
    /// [`Target`](crate::Target), or a [`StepLoss`](super::StepLoss) with an objective of its own.
    /// Without validation rows a density is validated by the divergence over eight batches of draws, a
    /// loss by [`StepLoss::validation`](super::StepLoss::validation) as often.
    ///
    /// An ODE that training solves with too few steps has, by their error, another log-likelihood than
    /// the one that is reported, and training then improves the error. Each validation on rows
    /// compares the two, and doubles the steps or halves the tolerance of training where they have
    /// come apart ([`refinements`](Self::refinements)).
    ///
    /// With patience the start, after data-dependent initialisation, is validated too and is the
    /// first candidate for the best weights: training never returns what is worse than its start.
    ///
    /// # Errors
    /// Errors of the source, of `report`, or of validation; [`Error::Unavailable`] if objective and
    /// training data do not fit. Divergence is a [`StopReason`], not an error.
    pub fn run<'a>(
        &mut self,
        training_data: impl Into<TrainingData<'a, E>>,
        validation: Option<&Validation<E>>,
        mut report: impl FnMut(&Self, &Progress) -> Result<ControlFlow<()>>,
    ) -> Result<StopReason> {
        let training_data = training_data.into();
        if training_data.dim() != self.flow.dim() {
            let (expected, got) = (self.flow.dim(), training_data.dim());
            return Err(Error::Dimension { op: "training data", expected, got });
        }
        if let (Some(_), TrainingData::Loss(_)) = (self.config.base_update, training_data) {
            let advice = "it fits the base to rows; leave it out, or train on rows";
            return Err(Error::Unavailable { what: "base_update of a loss without rows", advice });
        }
        let validation_data = match (validation, training_data) {
            (Some(validation), _) => Some(ValidationData::Rows(validation)),
            (None, TrainingData::Density(target)) => Some(ValidationData::Density(target)),
            (None, TrainingData::Loss(loss)) => Some(ValidationData::Loss(loss)),
            (None, TrainingData::Rows(_)) => None,
        };
        if self.state.steps == 0 {
            self.initialise(training_data)?;
            if let Some(validation_data) = validation_data {
                self.validate_start(validation_data);
            }
        }
        if self.is_exhausted() {
            return Ok(StopReason::EarlyStop);
        }
        while self.budget.progress(self.state.spent()) < 1.0 {
            let clock = Instant::now();
            let mut progress = match self.step(training_data) {
                Ok(progress) => progress,
                Err(Stop::Source(error)) => return Err(error),
                Err(Stop::Diverged(error)) => return Ok(self.diverged(&error.to_string())),
            };
            self.state.seconds += clock.elapsed().as_secs_f64();
            progress.seconds = self.state.seconds;
            progress.fraction = self.budget.progress(self.state.spent());
            if matches!(self.budget, Budget::Work { .. }) && self.state.work == 0 {
                let what = "a budget of work for a flow without networks";
                let advice = "there are no passes to count; give seconds or steps";
                return Err(Error::Unavailable { what, advice });
            }
            let due = self.state.steps.is_multiple_of(self.config.validate_every);
            if let (Some(validation_data), true) =
                (validation_data, due || progress.fraction >= 1.0)
            {
                let nats = match self.validate(validation_data) {
                    Ok(nats) => nats,
                    Err(error) => return self.failed_validation(error),
                };
                progress.validation_nats = nats;
                if let Some(nats) = nats {
                    self.note_validation(nats);
                }
            }
            if report(self, &progress)?.is_break() {
                return Ok(StopReason::Interrupted);
            }
            if self.is_exhausted() {
                return Ok(StopReason::EarlyStop);
            }
        }
        Ok(StopReason::Finished)
    }

    /// Data-dependent initialisation on the rows of the first step; without rows, on draws of the
    /// flow, if it can invert them.
    fn initialise(&mut self, training_data: TrainingData<'_, E>) -> Result<()> {
        let (x, context) = match training_data {
            TrainingData::Rows(source) => {
                tensors(source.minibatch(0, self.config.batch_rows)?, source)?
            }
            TrainingData::Density(_) | TrainingData::Loss(_)
                if self.flow.bijector().costs().inverse == Cost::Unavailable =>
            {
                return Ok(());
            }
            TrainingData::Density(_) | TrainingData::Loss(_) => {
                let (rows, mut rng) = (self.config.batch_rows, stream(self.seed, "initial draws"));
                (self.flow.sample(rows, &Context::none(), &mut rng)?.0, Context::none())
            }
        };
        self.flow.bijector_mut().initialise(&x, &context)?;
        Ok(())
    }

    fn step(&mut self, training_data: TrainingData<'_, E>) -> Result<Progress, Stop> {
        let index = self.state.steps;
        let bijector = self.flow.bijector_mut();
        bijector.set_purpose(Purpose::Training)?;
        bijector.begin_step(&mut stream(self.seed, &format!("probes {index}")))?;
        self.update_base(training_data)?;
        let fraction = self.budget.progress(self.state.spent());
        let step = Step { seed: self.seed, index, fraction, rows: self.config.batch_rows };
        let (loss, measured, rows) =
            step.loss(&self.flow, &self.config.objective, training_data)?;
        let Loss { value: loss, gradient: mut gradients, work } = loss;
        let mut trained = OptimisedFlow { flow: &mut self.flow, base: base_role(&self.config) };
        let norm = gradient_norm(&trained, &mut gradients).map_err(Stop::Source)?;
        if !loss.is_finite() || !norm.is_finite() {
            let what = if loss.is_finite() { "gradient" } else { "loss" };
            return Err(Stop::Diverged(Error::Caller(format!("the {what} is not finite"))));
        }
        let rate = self.config.schedule.factor(fraction);
        let scale = if norm > self.config.clip_norm { self.config.clip_norm / norm } else { 1.0 };
        self.adam.update(&mut trained, &mut gradients, rate, scale).map_err(Stop::Source)?;
        self.flow.bijector_mut().end_step(&mut gradients)?;
        self.state.steps += 1;
        self.state.work += work.evaluations() * rows;
        self.update_average();
        let mut progress = Progress {
            step: self.state.steps,
            seconds: self.state.seconds,
            fraction,
            learning_rate: rate * self.config.optimiser.learning_rate,
            gradient_norm: norm,
            work,
            ..Progress::default()
        };
        measured.note(&mut progress);
        Ok(progress)
    }

    /// Fits the base, where the config asks for it at this step.
    fn update_base(&mut self, training_data: TrainingData<'_, E>) -> Result<(), Stop> {
        let (Some(update), TrainingData::Rows(source)) = (self.config.base_update, training_data)
        else {
            return Ok(());
        };
        if !self.state.steps.is_multiple_of(update.every) {
            return Ok(());
        }
        let number = u64::MAX - self.state.steps / update.every;
        let rows = source.minibatch(number, update.rows).map_err(Stop::Source)?;
        let (x, context) = tensors(rows, source).map_err(Stop::Source)?;
        Ok(self.flow.fit_base(&x, &context)?)
    }

    fn diverged(&self, what: &str) -> StopReason {
        let step = self.state.steps;
        let reason = format!(
            "{what} at step {}; lower learning_rate or clip_norm, or check the data for outliers",
            step + 1
        );
        StopReason::Diverged { step, reason }
    }

    /// Updates the exponential moving average of the weights, with a shorter decay at first to
    /// forget the random start.
    fn update_average(&mut self) {
        let Some(decay) = self.config.ema else { return };
        let steps = self.state.steps as f64;
        let decay = E::of(decay.min((1.0 + steps) / (10.0 + steps)));
        let latest = values_of(Role::Learned, &self.flow);
        match &mut self.average {
            None => self.average = Some(latest),
            Some(average) => {
                for (average, latest) in average.iter_mut().zip(&latest) {
                    for (average, &latest) in average.iter_mut().zip(latest) {
                        *average = *average + (E::one() - decay) * (latest - *average);
                    }
                }
            }
        }
    }
}

/// Whether the base takes gradient steps.
fn base_role(config: &TrainConfig) -> Role {
    if config.base_update.is_some() { Role::Fixed } else { Role::Learned }
}
