//! Training of a hybrid model.

use std::ops::ControlFlow;
use std::time::Instant;

use flows_core::tensor::{batch, set_values};
use flows_core::train::{Adam, Minibatch, Progress, Source, Spent, StopReason, Validation};
use flows_core::{Batch, Context, Error, Loss, Parameters, Purpose, Real, Result, Values, stream};

use super::{Hybrid, HybridTraining};
use crate::adam_step::{AdamStep, adam_step, is_numerical, values};

/// Trains a hybrid model on rows with classes.
///
/// A source gives the class of a row as its context: one column with whole numbers from 0. So a
/// [`TableSource`](flows_core::train::TableSource) with classes for its context is one.
#[derive(Debug)]
pub struct HybridTrainer<E: Real> {
    settings: HybridTraining,
    seed: u64,
    model: Hybrid<E>,
    adam: Adam<E>,
    spent: Spent,
    /// The least validation loss with the weights that had it.
    best: Option<(f64, Vec<Vec<E>>)>,
    without_improvement: u64,
}

impl<E: Real> HybridTrainer<E> {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// As [`HybridTraining::check`].
    pub fn new(model: Hybrid<E>, settings: HybridTraining, seed: u64) -> Result<Self> {
        settings.check()?;
        let adam = Adam::new(settings.train.optimiser, &model);
        let (spent, best, without_improvement) = (Spent::default(), None, 0);
        Ok(Self { settings, seed, model, adam, spent, best, without_improvement })
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.spent.steps
    }

    /// Seconds of training.
    pub fn seconds(&self) -> f64 {
        self.spent.seconds
    }

    /// The model with the weights of the latest step.
    pub fn model(&self) -> &Hybrid<E> {
        &self.model
    }

    /// The model with the best validated weights, where there is patience, or else the latest, ready for
    /// reports.
    ///
    /// # Errors
    /// Those of [`Bijector::set_purpose`](flows_core::Bijector::set_purpose).
    pub fn into_model(mut self) -> Result<Hybrid<E>> {
        if let Some((_, best)) = self.best {
            let mut values = best.iter();
            self.model.visit_mut(&mut |_, _, tensor| {
                values.next().map_or(Ok(()), |values| set_values(tensor, values))
            })?;
        }
        self.model.flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        Ok(self.model)
    }

    /// Trains until the budget is spent, without validation or reports, and returns the model.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`Error::Caller`] with step and reason if the training diverges.
    pub fn fit(mut self, source: &dyn Source<E>) -> Result<Hybrid<E>> {
        match self.run(source, None, |_, _| Ok(ControlFlow::Continue(())))? {
            StopReason::Diverged { reason, .. } => Err(Error::Caller(reason)),
            _ => self.into_model(),
        }
    }

    /// Trains until the budget is spent, validation stops improving, `report` breaks, or the loss is not
    /// finite. Validation, on rows with their classes, and `report`, which sees every step, do not count as
    /// training time. In [`Progress`], `step_loss` is the loss of the step, and `validation_nats` that of the
    /// validation rows: with patience, what the best weights are chosen by.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the columns fit, with one of context; errors of the source, of the classes,
    /// of `report`, or of validation. Divergence is a [`StopReason`], not an error.
    pub fn run(
        &mut self,
        source: &dyn Source<E>,
        validation: Option<&Validation<E>>,
        mut report: impl FnMut(&Self, &Progress) -> Result<ControlFlow<()>>,
    ) -> Result<StopReason> {
        for (op, expected, got) in [
            ("training data of a hybrid model", self.model.dim(), source.dim()),
            ("classes of a hybrid model's rows", 1, source.context_dim()),
        ] {
            if expected != got {
                return Err(Error::Dimension { op, expected, got });
            }
        }
        let budget = self.settings.budget;
        while budget.progress(self.spent) < 1.0 {
            if self.is_exhausted() {
                return Ok(StopReason::EarlyStop);
            }
            let clock = Instant::now();
            let (x, classes) = self.minibatch(source)?;
            let mut progress = match self.step(&x, &classes) {
                Ok(progress) => progress,
                Err(error) if is_numerical(&error) => return Ok(self.diverged(&error)),
                Err(error) => return Err(error),
            };
            self.spent.seconds += clock.elapsed().as_secs_f64();
            progress.seconds = self.spent.seconds;
            progress.fraction = budget.progress(self.spent);
            let due = self.spent.steps.is_multiple_of(self.settings.train.validate_every);
            if let Some(validation) = validation
                && (due || progress.fraction >= 1.0)
            {
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

    fn minibatch(&self, source: &dyn Source<E>) -> Result<(Batch<E>, Vec<usize>)> {
        let Minibatch { values, context } =
            source.minibatch(self.spent.steps, self.settings.train.batch_rows)?;
        let rows = values.len() / self.model.dim();
        Ok((batch(values, rows, self.model.dim())?, classes(&context)?))
    }

    fn step(&mut self, x: &Batch<E>, classes: &[usize]) -> Result<Progress> {
        let HybridTraining { train, budget, weight } = &self.settings;
        let bijector = self.model.flow.bijector_mut();
        if self.spent.steps == 0 {
            bijector.initialise(x, &Context::none())?;
        }
        bijector.set_purpose(Purpose::Training)?;
        bijector.begin_step(&mut stream(self.seed, &format!("probes {}", self.spent.steps)))?;
        let Loss { value, mut gradient, work } = self.model.loss(x, classes, *weight)?;
        let fraction = budget.progress(self.spent);
        let AdamStep { learning_rate, gradient_norm } =
            adam_step(&mut self.model, &mut self.adam, (value, &mut gradient), train, fraction)?;
        self.model.flow.bijector_mut().end_step(&mut gradient)?;
        self.spent.steps += 1;
        self.spent.work += work.evaluations() * x.rows() as u64;
        Ok(Progress {
            step: self.spent.steps,
            step_loss: Some(value),
            learning_rate,
            gradient_norm,
            work,
            ..Progress::default()
        })
    }

    fn diverged(&self, error: &Error) -> StopReason {
        let step = self.spent.steps;
        let reason = format!("step {} failed: {error}", step + 1);
        StopReason::Diverged { step, reason }
    }

    /// The loss of the validation rows, without penalties.
    fn validate(&mut self, validation: &Validation<E>) -> Result<f64> {
        self.model.flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        let found = self.model.evaluate(&validation.values)?;
        let classes = match validation.context.features() {
            None => Vec::new(),
            Some(features) => classes(&features.values())?,
        };
        if classes.len() != found.log_prob.len() {
            let (expected, got) = (found.log_prob.len(), classes.len());
            return Err(Error::Rows { op: "classes of validation rows", expected, got });
        }
        let count = found.classes;
        let mut total = 0.0;
        for ((log_classes, log_prob), &class) in
            found.log_classes.chunks(count).zip(&found.log_prob).zip(&classes)
        {
            let log_class = log_classes.get(class).copied().unwrap_or(f64::NAN);
            total -= log_class + self.settings.weight / self.model.dim() as f64 * log_prob;
        }
        Ok(total / classes.len() as f64)
    }

    fn note_validation(&mut self, nats: f64) {
        if self.settings.train.patience.is_none() {
            return;
        }
        if self.best.as_ref().is_none_or(|(best, _)| nats < *best) {
            self.best = Some((nats, values(&self.model)));
            self.without_improvement = 0;
        } else {
            self.without_improvement += 1;
        }
    }

    fn is_exhausted(&self) -> bool {
        let patience = self.settings.train.patience;
        patience.is_some_and(|patience| self.without_improvement >= patience)
    }
}

/// Classes that a context holds as numbers.
fn classes<E: Real>(context: &[E]) -> Result<Vec<usize>> {
    let class = |(row, value): (usize, &E)| {
        let number = value.as_f64();
        if number >= 0.0 && number.fract() == 0.0 {
            return Ok(number as usize);
        }
        Err(Error::Caller(format!(
            "class of a hybrid model: expected a whole number from 0, got {number} (row {row})"
        )))
    };
    context.iter().enumerate().map(class).collect()
}
