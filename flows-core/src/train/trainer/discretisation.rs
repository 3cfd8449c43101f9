//! Keeps what training solves close to what is reported.

use super::Trainer;
use crate::bijector::Purpose;
use crate::train::Validation;
use crate::{Real, Result};

/// Nats a row that the log-likelihoods of training may be off by: half of a hundredth, to which reported
/// divergences of good flows are told apart.
const TOLERANCE: f64 = 0.005;

/// Most refinements: 32 times the steps.
const MOST: u32 = 5;

impl<E: Real> Trainer<E> {
    /// Makes training's discretisation finer where its log-likelihoods of `rows` differ from the
    /// reported ones by more than a tolerance, noise of their estimate apart, or cannot be computed.
    /// Leaves the purpose of training behind.
    pub(super) fn keep_discretisation_fine(
        &mut self,
        rows: &Validation<E>,
        reported: &[f64],
    ) -> Result<()> {
        if self.state.refinements >= MOST || !self.flow.bijector().discretises_training() {
            return Ok(());
        }
        self.flow.bijector_mut().set_purpose(Purpose::Training)?;
        let trained = self.flow.evaluate(&rows.values, &rows.context);
        if trained.map_or(true, |(trained, _)| is_off(&trained, reported)) {
            self.flow.bijector_mut().refine_training();
            self.state.refinements += 1;
        }
        Ok(())
    }
}

/// Whether the mean of the differences is beyond the tolerance by more than three standard errors.
fn is_off(trained: &[f64], reported: &[f64]) -> bool {
    let count = trained.len() as f64;
    let differences = || trained.iter().zip(reported).map(|(t, r)| t - r);
    let mean = differences().sum::<f64>() / count;
    let squares = differences().map(|difference| (difference - mean).powi(2)).sum::<f64>();
    let error = (squares / count / count).sqrt();
    let close = mean.abs() <= TOLERANCE + 3.0 * error; // what is not a number is not close
    !close
}
