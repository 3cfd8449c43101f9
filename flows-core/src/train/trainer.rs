//! Training of a flow: from minibatches or from a density.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::adam::{Adam, gradient_norm};
use super::checkpoint::Checkpoint;
use super::config::TrainConfig;
use super::material::Material;
use super::progress::{Outcome, Progress, Validation};
use super::schedule::{Budget, Spent};
use super::step::{Step, Stop, reverse_nats, tensors};
use super::trained::Trained;
use crate::bijector::{Cost, Purpose};
use crate::objective::Loss;
use crate::parameters::{Parameters, Role};
use crate::tensor::{Values, set_values};
use crate::{Context, Error, Flow, Real, Result, Target, stream};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    steps: u64,
    seconds: f64,
    best_nats: Option<f64>,
    without_improvement: u64,
    /// Checkpoints of before it was counted have none.
    #[serde(default)]
    work: u64,
}

impl State {
    fn spent(&self) -> Spent {
        Spent { steps: self.steps, seconds: self.seconds, work: self.work }
    }
}

/// Trains a flow as its config says and can be saved and resumed at any step.
#[derive(Debug)]
pub struct Trainer<E: Real> {
    config: TrainConfig,
    budget: Budget,
    seed: u64,
    flow: Flow<E>,
    adam: Adam<E>,
    average: Option<Vec<Vec<E>>>,
    best: Option<Vec<Vec<E>>>,
    state: State,
}

impl<E: Real> Trainer<E> {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Unavailable`] for fits of a base that
    /// has no parameters.
    pub fn new(mut flow: Flow<E>, config: TrainConfig, budget: Budget, seed: u64) -> Result<Self> {
        config.check()?;
        budget.check()?;
        if config.base_update.is_some() && flow.base().count() == 0 {
            let advice = "the base has no parameters; leave it out, or choose a learned base";
            return Err(Error::Unavailable { what: "base_update", advice });
        }
        let trained = Trained { flow: &mut flow, base: base_role(&config) };
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

    /// Network passes and evaluations of vector fields in training, forwards, times their rows.
    pub fn work(&self) -> u64 {
        self.state.work
    }

    /// The flow with the weights of the latest step.
    pub fn flow(&self) -> &Flow<E> {
        &self.flow
    }

    /// The flow with the weights to be used: the best validated ones, else the averaged ones, else
    /// the latest.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn into_flow(mut self) -> Result<Flow<E>> {
        if let Some(weights) = self.best.take().or_else(|| self.average.take()) {
            set_weights(&mut self.flow, &weights)?;
        }
        Ok(self.flow)
    }

    /// Trains until the budget is spent, validation stops improving, `report` breaks, or the loss
    /// stops being finite. `report` sees every step; validation and `report` do not count as
    /// training time.
    ///
    /// `material` is a [`Source`](super::Source) of rows or, for reverse KL, a [`Target`]. Without
    /// validation rows a density is validated on: by the divergence over eight batches of draws.
    ///
    /// # Errors
    /// Of the source, of `report`, or of validation; [`Error::Unavailable`] where objective and
    /// material do not go together. Divergence is an [`Outcome`], not an error.
    pub fn run<'a>(
        &mut self,
        material: impl Into<Material<'a, E>>,
        validation: Option<&Validation<E>>,
        mut report: impl FnMut(&Self, &Progress) -> Result<ControlFlow<()>>,
    ) -> Result<Outcome> {
        let material = material.into();
        if material.dim() != self.flow.dim() {
            let (expected, got) = (self.flow.dim(), material.dim());
            return Err(Error::Dimension { op: "training data", expected, got });
        }
        let judge = match (validation, material) {
            (Some(validation), _) => Some(Judge::Rows(validation)),
            (None, Material::Density(target)) => Some(Judge::Density(target)),
            (None, Material::Rows(_)) => None,
        };
        if self.state.steps == 0 {
            self.initialise(material)?;
        }
        if self.is_exhausted() {
            return Ok(Outcome::EarlyStop);
        }
        while self.budget.progress(self.state.spent()) < 1.0 {
            let clock = Instant::now();
            let mut progress = match self.step(material) {
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
            if let (Some(judge), true) = (judge, due || progress.fraction >= 1.0) {
                let nats = match self.validate(judge) {
                    Ok(nats) => nats,
                    Err(error) => {
                        let (step, advice) = (self.state.steps, "loosen the reporting solver");
                        let reason =
                            format!("validation at step {step} failed ({error}); {advice}");
                        return Ok(Outcome::Diverged { step, reason });
                    }
                };
                progress.validation_nats = Some(nats);
                self.note_validation(nats);
            }
            if report(self, &progress)?.is_break() {
                return Ok(Outcome::Interrupted);
            }
            if self.is_exhausted() {
                return Ok(Outcome::EarlyStop);
            }
        }
        Ok(Outcome::Finished)
    }

    /// Sets what is initialised from data, on the rows of the first step; without rows, on draws of
    /// the flow, where it can bring them back.
    fn initialise(&mut self, material: Material<'_, E>) -> Result<()> {
        let (x, context) = match material {
            Material::Rows(source) => {
                tensors(source.minibatch(0, self.config.batch_rows)?, source)?
            }
            Material::Density(_) if self.flow.bijector().costs().inverse == Cost::Unavailable => {
                return Ok(());
            }
            Material::Density(_) => {
                let (rows, mut rng) = (self.config.batch_rows, stream(self.seed, "initial draws"));
                (self.flow.sample(rows, &Context::none(), &mut rng)?.0, Context::none())
            }
        };
        self.flow.bijector_mut().initialise(&x, &context)?;
        Ok(())
    }

    fn step(&mut self, material: Material<'_, E>) -> Result<Progress, Stop> {
        let index = self.state.steps;
        let bijector = self.flow.bijector_mut();
        bijector.set_purpose(Purpose::Training)?;
        bijector.begin_step(&mut stream(self.seed, &format!("probes {index}")))?;
        self.update_base(material)?;
        let fraction = self.budget.progress(self.state.spent());
        let step = Step { seed: self.seed, index, fraction, rows: self.config.batch_rows };
        let (loss, measured, rows) = step.loss(&self.flow, &self.config.objective, material)?;
        let Loss { value: loss, gradient: mut gradients, work } = loss;
        let mut trained = Trained { flow: &mut self.flow, base: base_role(&self.config) };
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
    fn update_base(&mut self, material: Material<'_, E>) -> Result<(), Stop> {
        let (Some(update), Material::Rows(source)) = (self.config.base_update, material) else {
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

    fn diverged(&self, what: &str) -> Outcome {
        let step = self.state.steps;
        let reason = format!(
            "{what} at step {}; lower learning_rate or clip_norm, or check the data for outliers",
            step + 1
        );
        Outcome::Diverged { step, reason }
    }

    /// Exponential moving average of the weights, its decay shortened at first so that the random
    /// start is forgotten.
    fn update_average(&mut self) {
        let Some(decay) = self.config.ema else { return };
        let steps = self.state.steps as f64;
        let decay = E::of(decay.min((1.0 + steps) / (10.0 + steps)));
        let latest = weights(&self.flow);
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

    fn validate(&mut self, judge: Judge<'_, E>) -> Result<f64> {
        let latest = self.average.as_ref().map(|_| weights(&self.flow));
        if let Some(average) = &self.average {
            set_weights(&mut self.flow, average)?;
        }
        self.flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        let result = match judge {
            Judge::Rows(rows) => {
                let log_prob = self.flow.evaluate(&rows.values, &rows.context);
                log_prob.map(|(v, _)| -v.iter().sum::<f64>() / v.len() as f64)
            }
            Judge::Density(target) => {
                reverse_nats(&self.flow, target, self.config.batch_rows, self.seed)
            }
        };
        self.flow.bijector_mut().set_purpose(Purpose::Training)?;
        if let Some(latest) = latest {
            set_weights(&mut self.flow, &latest)?;
        }
        result
    }

    /// Keeps the best weights, where patience asks for them.
    fn note_validation(&mut self, nats: f64) {
        // Validation rows beyond the reach of the flow cannot tell which weights are better.
        if self.config.patience.is_none() || !nats.is_finite() {
            return;
        }
        if self.state.best_nats.is_none_or(|best| nats < best) {
            self.state.best_nats = Some(nats);
            self.state.without_improvement = 0;
            self.best = Some(self.average.clone().unwrap_or_else(|| weights(&self.flow)));
        } else {
            self.state.without_improvement += 1;
        }
    }

    /// Whether validation has not improved for as long as patience lasts.
    fn is_exhausted(&self) -> bool {
        self.config.patience.is_some_and(|patience| self.state.without_improvement >= patience)
    }

    /// Writes everything that [`resume`](Self::resume) needs to go on bit for bit.
    ///
    /// # Errors
    /// [`Error::File`] with the system's reason.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = Checkpoint::new();
        file.add_model("flow", &self.flow);
        file.add_vectors("adam.first", &self.adam.first);
        file.add_vectors("adam.second", &self.adam.second);
        for (prefix, vectors) in [("average", &self.average), ("best", &self.best)] {
            if let Some(vectors) = vectors {
                file.add_vectors(prefix, vectors);
            }
        }
        let state = serde_json::to_string(&self.state).unwrap_or_default();
        file.metadata.insert("state".into(), state);
        file.metadata.insert("average".into(), self.average.is_some().to_string());
        file.metadata.insert("best".into(), self.best.is_some().to_string());
        file.write(path)
    }

    /// Takes over what [`save`](Self::save) wrote for the same flow, config and seed.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Checkpoint`] or [`Error::Tensors`] where the file does not fit.
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        let file = Checkpoint::read(path)?;
        let state = file.metadata.get("state").and_then(|s| serde_json::from_str::<State>(s).ok());
        let Some(state) = state else {
            let problem = "expected a training checkpoint, got a file without a training state; \
                           resume from the checkpoint of a run, not from its model";
            return Err(Error::Checkpoint { path: path.to_owned(), problem: problem.into() });
        };
        // Everything is checked before anything of this trainer changes.
        let mut adam = self.adam.clone();
        file.restore_vectors("adam.first", &mut adam.first)?;
        file.restore_vectors("adam.second", &mut adam.second)?;
        adam.steps = state.steps;
        let read = |name: &str| -> Result<Option<Vec<Vec<E>>>> {
            if file.metadata.get(name).is_none_or(|present| present != "true") {
                return Ok(None);
            }
            let mut vectors = weights(&self.flow);
            file.restore_vectors(name, &mut vectors)?;
            Ok(Some(vectors))
        };
        let (average, best) = (read("average")?, read("best")?);
        file.restore_model("flow", &mut self.flow)?;
        (self.adam, self.average, self.best) = (adam, average, best);
        self.state = state;
        Ok(())
    }
}

/// Whether the base takes gradient steps.
fn base_role(config: &TrainConfig) -> Role {
    if config.base_update.is_some() { Role::Fixed } else { Role::Learned }
}

/// What weights are judged by.
#[derive(Clone, Copy)]
enum Judge<'a, E: Real> {
    Rows(&'a Validation<E>),
    Density(&'a dyn Target),
}

/// The learned tensors, in the order of [`Parameters::visit`].
fn weights<E: Real>(flow: &Flow<E>) -> Vec<Vec<E>> {
    let mut weights = Vec::new();
    flow.visit(&mut |_, role, tensor| {
        if role == Role::Learned {
            weights.push(tensor.values());
        }
    });
    weights
}

fn set_weights<E: Real>(flow: &mut Flow<E>, weights: &[Vec<E>]) -> Result<()> {
    let mut next = weights.iter();
    flow.visit_mut(&mut |_, role, tensor| match (role, next.as_slice().first()) {
        (Role::Learned, Some(values)) => {
            next.next();
            set_values(tensor, values)
        }
        _ => Ok(()),
    })
}
