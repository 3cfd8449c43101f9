//! Estimated posteriors.

use flows_core::tensor::{batch, cast};
use flows_core::{Context, Error, Flow, Real, Result, Stream, Values};

use super::Training;
use super::data_units::{DataUnits, clip};
use super::parameter_units::ParameterUnits;

/// Rows drawn at a time.
const CHUNK: usize = 4096;

/// A conditional flow q(theta | x) in the units of the parameters theta and the data x.
#[derive(Debug)]
pub struct Posterior<E: Real> {
    pub(super) flow: Flow<E>,
    pub(super) parameters: ParameterUnits,
    pub(super) data: DataUnits,
    pub(super) clip: f64,
    pub(super) training: Training,
}

impl<E: Real> Posterior<E> {
    /// What its estimation took and came to.
    #[must_use]
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The flow, in its own units.
    #[must_use]
    pub fn flow(&self) -> &Flow<E> {
        &self.flow
    }

    /// Number of values of an observation that are clipped: as far from the simulated data, the
    /// posterior is an extrapolation.
    ///
    /// # Errors
    /// [`Error::Dimension`] and [`Error::NonFinite`] for an observation that is not one row of finite
    /// data.
    pub fn clipped(&self, observation: &[f64]) -> Result<usize> {
        Ok(self.context(observation, 1)?.1)
    }

    /// Draws of theta given an observation, rows x parameters, row after row; inside of the prior's
    /// support.
    ///
    /// # Errors
    /// As [`clipped`](Self::clipped), and errors of the flow; [`Error::NonFinite`] where a draw is
    /// not finite.
    pub fn sample(&self, observation: &[f64], rows: usize, rng: &mut Stream) -> Result<Vec<f64>> {
        let (context, _) = self.context(observation, 1)?;
        self.sample_in_units(&context.repeat(rows), rng)
    }

    /// log q(theta | x) of each row of parameters given one observation, in nats; minus infinity
    /// outside of the prior's support.
    ///
    /// # Errors
    /// As [`clipped`](Self::clipped), and errors of the flow; [`Error::Dimension`] unless the
    /// parameters fill whole rows.
    pub fn log_density(&self, observation: &[f64], parameters: &[f64]) -> Result<Vec<f64>> {
        let (context, _) = self.context(observation, 1)?;
        let rows = parameters.len() / self.parameters.dim();
        self.log_density_in_units(&context.repeat(rows), parameters)
    }

    /// `draws` rows of theta for each row of `observations`, one after another.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_each(
        &self,
        observations: &[f64],
        draws: usize,
        rng: &mut Stream,
    ) -> Result<Vec<f64>> {
        self.sample_in_units(&self.repeated(observations, draws)?, rng)
    }

    /// log q(theta | x) of `each` rows of parameters for each row of observations, in nats.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density); [`Error::Rows`] unless there are `each` rows of
    /// parameters for each observation.
    pub fn log_density_each(
        &self,
        observations: &[f64],
        parameters: &[f64],
        each: usize,
    ) -> Result<Vec<f64>> {
        self.log_density_in_units(&self.repeated(observations, each)?, parameters)
    }

    fn repeated(&self, observations: &[f64], times: usize) -> Result<Vec<E>> {
        let columns = self.data.columns();
        let (context, _) = self.context(observations, observations.len() / columns)?;
        Ok(context.chunks_exact(columns).flat_map(|row| row.repeat(times)).collect())
    }

    /// Observations as conditioning features, and how many of their values are clipped.
    fn context(&self, observations: &[f64], rows: usize) -> Result<(Vec<E>, usize)> {
        let (expected, got) = (self.data.columns(), observations.len());
        if got != rows * expected {
            return Err(Error::Dimension { op: "observation", expected, got });
        }
        if let Some(at) = observations.iter().position(|value| !value.is_finite()) {
            let advice = "give finite data, as those that were trained on";
            return Err(Error::NonFinite { quantity: "observation", row: at / expected, advice });
        }
        let mut units = self.data.apply(observations);
        let clipped = clip(&mut units, self.clip);
        Ok((cast(&units), clipped))
    }

    fn sample_in_units(&self, context: &[E], rng: &mut Stream) -> Result<Vec<f64>> {
        let columns = self.data.columns();
        let mut draws = Vec::with_capacity(context.len() / columns * self.parameters.dim());
        for (index, part) in context.chunks(CHUNK * columns).enumerate() {
            let rows = part.len() / columns;
            let given = Context::of(batch(part.to_vec(), rows, columns)?);
            let (units, _) = self
                .flow
                .sample(rows, &given, rng)
                .map_err(|error| error.in_rows_from(index * CHUNK))?;
            let units: Vec<f64> = units.values().iter().map(|u| u.as_f64()).collect();
            if let Some(at) = units.iter().position(|u| !u.is_finite()) {
                let row = index * CHUNK + at / self.parameters.dim();
                let (quantity, advice) = ("draw of the posterior", "train the flow for longer");
                return Err(Error::NonFinite { quantity, row, advice });
            }
            draws.extend(self.parameters.undo(&units).parameters);
        }
        Ok(draws)
    }

    fn log_density_in_units(&self, context: &[E], parameters: &[f64]) -> Result<Vec<f64>> {
        let (dim, columns) = (self.parameters.dim(), self.data.columns());
        if !parameters.len().is_multiple_of(dim) {
            let (op, got) = ("last row of parameters", parameters.len() % dim);
            return Err(Error::Dimension { op, expected: dim, got });
        }
        let (expected, got) = (context.len() / columns, parameters.len() / dim);
        if expected != got {
            return Err(Error::Rows { op: "parameters for observations", expected, got });
        }
        let (units, mut log_density) = self.parameters.apply(parameters);
        // Rows outside of the support are no matter of the flow.
        let inside: Vec<usize> = (0..got).filter(|&row| log_density[row].is_finite()).collect();
        if inside.is_empty() {
            return Ok(log_density);
        }
        let rows = || inside.iter().copied();
        let values: Vec<f64> =
            rows().flat_map(|row| units[row * dim..(row + 1) * dim].iter().copied()).collect();
        let features: Vec<E> = rows()
            .flat_map(|row| context[row * columns..(row + 1) * columns].iter().copied())
            .collect();
        let given = Context::of(batch(features, inside.len(), columns)?);
        let (nats, _) = self
            .flow
            .evaluate(&cast(&values), &given)
            .map_err(|error| error.in_row_of(|row| inside.get(row).copied().unwrap_or(row)))?;
        rows().zip(nats).for_each(|(row, nats)| log_density[row] += nats);
        Ok(log_density)
    }
}
