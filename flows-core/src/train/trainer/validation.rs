//! Validation between steps, and the best weights by it.

use super::Trainer;
use super::best::{Best, set_values_of, values_of};
use crate::bijector::Purpose;
use crate::parameters::Role;
use crate::train::step::{Stop, mean_validation, reverse_nats};
use crate::train::{StepLoss, StopReason, Validation};
use crate::{Error, Real, Result, Target};

/// What weights are validated on.
#[derive(Clone, Copy)]
pub(super) enum ValidationData<'a, E: Real> {
    Rows(&'a Validation<E>),
    Density(&'a dyn Target),
    Loss(&'a dyn StepLoss<E>),
}

impl<E: Real> Trainer<E> {
    /// Makes the start the first candidate for the best weights. A start that cannot be validated is
    /// none; what is wrong for all weights, the first validation in training tells.
    pub(super) fn validate_start(&mut self, validation_data: ValidationData<'_, E>) {
        if self.config.patience.is_some()
            && self.best.is_none()
            && let Ok(Some(nats)) = self.validate(validation_data)
        {
            self.note_validation(nats);
        }
    }

    /// A divergence, unless other weights would not avoid the error.
    pub(super) fn failed_validation(&self, error: Error) -> Result<StopReason> {
        match Stop::from(error) {
            Stop::Source(error) => Err(error),
            Stop::Diverged(error) => {
                let (step, advice) = (self.state.steps, "loosen the reporting solver");
                let reason = format!("validation at step {step} failed ({error}); {advice}");
                Ok(StopReason::Diverged { step, reason })
            }
        }
    }

    /// `None` for a loss that only rows validate.
    pub(super) fn validate(
        &mut self,
        validation_data: ValidationData<'_, E>,
    ) -> Result<Option<f64>> {
        let latest = self.average.as_ref().map(|_| values_of(Role::Learned, &self.flow));
        if let Some(average) = &self.average {
            set_values_of(Role::Learned, &mut self.flow, average)?;
        }
        self.flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        let result = match validation_data {
            ValidationData::Rows(rows) => self.validate_rows(rows).map(Some),
            ValidationData::Density(target) => {
                reverse_nats(&self.flow, target, self.config.batch_rows, self.seed).map(Some)
            }
            ValidationData::Loss(loss) => {
                mean_validation(&self.flow, loss, self.config.batch_rows, self.seed)
            }
        };
        self.flow.bijector_mut().set_purpose(Purpose::Training)?;
        if let Some(latest) = latest {
            set_values_of(Role::Learned, &mut self.flow, &latest)?;
        }
        result
    }

    /// Mean negative log-likelihood; leaves the purpose of training behind.
    fn validate_rows(&mut self, rows: &Validation<E>) -> Result<f64> {
        let (log_prob, _) = self.flow.evaluate(&rows.values, &rows.context)?;
        self.keep_discretisation_fine(rows, &log_prob)?;
        Ok(-log_prob.iter().sum::<f64>() / log_prob.len() as f64)
    }

    /// Keeps the best weights, where patience asks for them.
    pub(super) fn note_validation(&mut self, nats: f64) {
        // A validation loss that is not finite cannot rank weights.
        if self.config.patience.is_none() || !nats.is_finite() {
            return;
        }
        if self.state.best_nats.is_none_or(|best| nats < best) {
            self.state.best_nats = Some(nats);
            self.state.without_improvement = 0;
            self.best = Some(Best::of(&self.flow, self.average.as_deref()));
        } else {
            self.state.without_improvement += 1;
        }
    }

    /// Whether validation has not improved for longer than the patience.
    pub(super) fn is_exhausted(&self) -> bool {
        self.config.patience.is_some_and(|patience| self.state.without_improvement >= patience)
    }
}
