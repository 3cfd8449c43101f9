//! Neural likelihood estimation.

use flows_core::target::at_point;
use flows_core::tensor::{batch, cast};
use flows_core::{Context, Error, Flow, Real, Result, Stream, Tape, Target, Values};
use rand::RngExt;

use super::data_units::DataUnits;
use super::estimation::{Pairs, fit};
use super::npe::Units;
use super::parameter_units::ParameterUnits;
use super::{Build, Estimation, Prior, Report, Simulations, Simulator, Training};

/// Rows of a flow that are evaluated at a time, which bounds the memory of a tape.
const CHUNK: usize = 4096;

/// A conditional flow q(x | theta) in the units of the data x and the parameters theta.
#[derive(Debug)]
pub struct Likelihood<E: Real> {
    flow: Flow<E>,
    parameters: ParameterUnits,
    data: DataUnits,
    training: Training,
}

/// Neural likelihood estimation (NLE): simulates pairs (theta, x) and trains a flow q(x | theta) on
/// them by maximum likelihood. The likelihood holds for any prior and for any number of independent
/// observations; a posterior is drawn from by a sampler, see [`Likelihood::posterior`].
///
/// The data must have a density; of [`Estimation`], `clip` is not used, since a flow of clipped data
/// would have none.
///
/// # Errors
/// As [`npe`](super::npe).
///
/// # Reference
/// Papamakarios, Sterratt, Murray, *Sequential Neural Likelihood*, AISTATS 2019, Section 3 (a single
/// round). <https://arxiv.org/abs/1805.07226>
pub fn nle<E: Real>(
    simulator: &dyn Simulator,
    build: Build<'_, E>,
    settings: &Estimation,
    report: Report<'_>,
    rng: &mut Stream,
) -> Result<Likelihood<E>> {
    settings.check()?;
    let (rows, invalid) = (settings.rows, settings.invalid);
    let simulations = Simulations::of_prior(simulator, rows, invalid, report, rng)?;
    let Units { parameters, data } = Units::fit(&simulations, simulator.prior().support())?;
    let (context, _) = parameters.apply(&simulations.parameters);
    let values = data.apply(&simulations.data);
    let (dim, context_dim) = (data.columns(), parameters.dim());
    let pairs = Pairs { values, dim, context, context_dim };
    let flow = build(dim, context_dim, rng)?;
    let (flow, training) = fit(flow, &pairs, settings, report, rng.random())?;
    let Simulations { left_out, seconds: simulation_seconds, .. } = simulations;
    let training = Training { left_out, simulation_seconds, ..training };
    Ok(Likelihood { flow, parameters, data, training })
}

impl<E: Real> Likelihood<E> {
    /// What its estimation took and came to.
    #[must_use]
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// log q(x | theta) of each row of data given the same row of parameters, in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] and [`Error::Rows`] for rows that do not fit; [`Error::NonFinite`] for
    /// parameters outside of the prior's support; errors of the flow.
    pub fn log_density(&self, data: &[f64], parameters: &[f64]) -> Result<Vec<f64>> {
        let rows = check_rows("data", data, self.data.columns())?;
        let got = check_rows("parameters", parameters, self.parameters.dim())?;
        if rows != got {
            return Err(Error::Rows { op: "parameters for data", expected: rows, got });
        }
        let (units, log_det) = self.parameters.apply(parameters);
        if let Some(row) = log_det.iter().position(|nats| !nats.is_finite()) {
            let advice = "give parameters inside of the prior's support";
            return Err(Error::NonFinite {
                quantity: "parameter in the flow's units",
                row,
                advice,
            });
        }
        let context = Context::of(batch(cast(&units), rows, self.parameters.dim())?);
        let (nats, _) = self.flow.evaluate(&cast(&self.data.apply(data)), &context)?;
        Ok(nats.into_iter().map(|nats| nats + self.data.log_det()).collect())
    }

    /// The posterior for one or more independent rows of observations, as an unnormalised density of
    /// the parameters in unconstrained units.
    ///
    /// # Errors
    /// [`Error::Dimension`] and [`Error::NonFinite`] unless there are one or more rows of finite data,
    /// or if the prior has another number of parameters.
    pub fn posterior<'a>(
        &'a self,
        prior: &'a dyn Prior,
        observations: &[f64],
    ) -> Result<LikelihoodPosterior<'a, E>> {
        let (expected, got) = (self.parameters.dim(), prior.dim());
        if expected != got {
            return Err(Error::Dimension { op: "prior", expected, got });
        }
        check_rows("observations", observations, self.data.columns())?;
        if let Some(at) = observations.iter().position(|value| !value.is_finite()) {
            let row = at / self.data.columns();
            let advice = "give finite data, as those that were trained on";
            return Err(Error::NonFinite { quantity: "observation", row, advice });
        }
        let observations = cast(&self.data.apply(observations));
        Ok(LikelihoodPosterior { likelihood: self, prior, observations })
    }
}

/// p(theta) times the product of q(x_i | theta) over the observations x_i, as a density of u: the
/// parameters, mapped from the prior's support onto the line and standardised.
///
/// ```text
/// log density(u) = log p(theta(u)) + ln |det dtheta/du| + sum over i of log q(x_i | theta(u))
/// ```
///
/// Nats, up to a constant. The gradient goes through the flow's conditioning features.
#[derive(Debug)]
pub struct LikelihoodPosterior<'a, E: Real> {
    likelihood: &'a Likelihood<E>,
    prior: &'a dyn Prior,
    /// In the flow's units, row after row.
    observations: Vec<E>,
}

impl<E: Real> LikelihoodPosterior<'_, E> {
    /// The parameters of points u, row after row.
    #[must_use]
    pub fn parameters(&self, points: &[f64]) -> Vec<f64> {
        self.likelihood.parameters.undo(points).parameters
    }

    /// The points u of parameters, and ln |det du/dtheta| of each row; NaN, and minus infinity,
    /// outside of the prior's support.
    #[must_use]
    pub fn points(&self, parameters: &[f64]) -> (Vec<f64>, Vec<f64>) {
        self.likelihood.parameters.apply(parameters)
    }

    /// The likelihood of a few points and its gradient.
    fn likelihoods(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        let Likelihood { flow, parameters, data, .. } = self.likelihood;
        let (dim, columns) = (parameters.dim(), data.columns());
        let each = self.observations.len() / columns;
        let rows = points.len() / dim * each;
        let repeated = points.chunks_exact(dim).flat_map(|row| cast::<E>(row).repeat(each));
        let features = batch(repeated.collect(), rows, dim)?;
        let values = batch(self.observations.repeat(points.len() / dim), rows, columns)?;
        let mut tape = Tape::recording();
        let log_prob = flow.log_prob(&values, &Context::of(features.clone()), &mut tape)?.value;
        let mut slopes =
            tape.backward(|gradients| gradients.add(&log_prob, &vec![E::one(); rows]))?;
        let slopes = slopes.of(&features)?.chunks_exact(dim * each);
        for (gradient, slopes) in gradients.chunks_exact_mut(dim).zip(slopes) {
            gradient.fill(0.0);
            for slopes in slopes.chunks_exact(dim) {
                gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope.as_f64());
            }
        }
        let values = log_prob.values();
        Ok(values.chunks_exact(each).map(|row| row.iter().map(|v| v.as_f64()).sum()).collect())
    }
}

impl<E: Real> Target for LikelihoodPosterior<'_, E> {
    fn dim(&self) -> usize {
        self.likelihood.parameters.dim()
    }

    fn is_cheaper_together(&self) -> bool {
        true
    }

    /// As [`evaluate`](Target::evaluate) of one point; NaN where that fails.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    /// # Errors
    /// Errors of the flow, and of the prior.
    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        let units = &self.likelihood.parameters;
        let (dim, columns) = (units.dim(), self.likelihood.data.columns());
        let back = units.undo(points);
        let mut prior_slopes = vec![0.0; points.len()];
        let log_prior = self.prior.evaluate(&back.parameters, &mut prior_slopes)?;
        let together = (CHUNK / (self.observations.len() / columns)).max(1);
        let mut values = Vec::with_capacity(log_prior.len());
        let parts = points.chunks(together * dim).zip(gradients.chunks_mut(together * dim));
        for (index, (points, gradients)) in parts.enumerate() {
            let part = self.likelihoods(points, gradients);
            let row = |row: usize| index * together + row / (self.observations.len() / columns);
            values.extend(part.map_err(|error| error.in_row_of(row))?);
        }
        for (value, (log_prior, log_det)) in
            values.iter_mut().zip(log_prior.iter().zip(&back.log_det))
        {
            *value += log_prior + log_det;
        }
        let chain = prior_slopes.iter().zip(&back.slopes).zip(&back.log_det_slopes);
        for (gradient, ((prior, slope), log_det)) in gradients.iter_mut().zip(chain) {
            *gradient += prior * slope + log_det;
        }
        for (value, gradient) in values.iter().zip(gradients.chunks_exact_mut(dim)) {
            if *value == f64::NEG_INFINITY {
                gradient.fill(0.0);
            }
        }
        Ok(values)
    }
}

/// The number of rows, at least one.
fn check_rows(op: &'static str, values: &[f64], columns: usize) -> Result<usize> {
    if values.is_empty() || !values.len().is_multiple_of(columns) {
        return Err(Error::Dimension { op, expected: columns, got: values.len() });
    }
    Ok(values.len() / columns)
}
