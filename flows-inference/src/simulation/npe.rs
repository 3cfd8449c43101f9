//! Neural posterior estimation.

use flows_core::{Error, Real, Result, Space, Stream};
use rand::RngExt;

use super::data_units::{DataUnits, clip};
use super::estimation::{Pairs, fit};
use super::parameter_units::ParameterUnits;
use super::{Build, Estimation, Posterior, Prior, Report, Simulations, Simulator, Training};

/// Neural posterior estimation (NPE): simulates pairs (theta, x) from prior and simulator and trains a
/// flow q(theta | x) on them by maximum likelihood, whose minimum over all q is the posterior. It is
/// amortised: one flow for every x.
///
/// With flow matching as objective this is flow matching posterior estimation.
///
/// # Errors
/// As [`Estimation::check`], [`Simulations::of_prior`] and [`npe_of`].
///
/// # Reference
/// Papamakarios, Murray, *Fast epsilon-free Inference of Simulation Models with Bayesian Conditional
/// Density Estimation*, NeurIPS 2016, Section 2, <https://arxiv.org/abs/1605.06376>; Lueckmann et al.,
/// *Flexible statistical inference for mechanistic models of neural dynamics*, NeurIPS 2017,
/// <https://arxiv.org/abs/1711.01861>; Wildberger, Dax et al., *Flow Matching for Scalable
/// Simulation-Based Inference*, NeurIPS 2023, <https://arxiv.org/abs/2305.17161>.
pub fn npe<E: Real>(
    simulator: &dyn Simulator,
    build: Build<'_, E>,
    settings: &Estimation,
    report: Report<'_>,
    rng: &mut Stream,
) -> Result<Posterior<E>> {
    settings.check()?;
    let simulations =
        Simulations::of_prior(simulator, settings.rows, settings.invalid, report, rng)?;
    npe_of(&simulations, simulator.prior(), build, settings, report, rng)
}

/// [`npe`] of pairs whose parameters are draws of the prior.
///
/// # Errors
/// [`Error::Dimension`] or [`Error::Rows`] for a table that does not fit the prior, or a flow that does
/// not fit the table; [`Error::Caller`] for a parameter that does not vary and for a training that
/// diverges; errors of `report`.
pub fn npe_of<E: Real>(
    simulations: &Simulations,
    prior: &dyn Prior,
    build: Build<'_, E>,
    settings: &Estimation,
    report: Report<'_>,
    rng: &mut Stream,
) -> Result<Posterior<E>> {
    settings.check()?;
    let units = Units::fit(simulations, prior.support())?;
    let (pairs, clipped) = units.pairs(simulations, settings.clip);
    let flow = build(pairs.dim, pairs.context_dim, rng)?;
    let (flow, training) = fit(flow, &pairs, settings, report, rng.random())?;
    let Simulations { left_out, seconds: simulation_seconds, .. } = *simulations;
    let training = Training { left_out, clipped, simulation_seconds, ..training };
    let Units { parameters, data } = units;
    Ok(Posterior { flow, parameters, data, clip: settings.clip, training })
}

/// Units of a table of simulations.
pub(super) struct Units {
    pub(super) parameters: ParameterUnits,
    pub(super) data: DataUnits,
}

impl Units {
    pub(super) fn fit(simulations: &Simulations, support: Vec<Space>) -> Result<Self> {
        let dim = support.len();
        let expected = simulations.parameters.len() / dim.max(1);
        if expected == 0 || simulations.parameters.len() != expected * dim {
            let (op, got) = ("rows of parameters", simulations.parameters.len());
            return Err(Error::Dimension { op, expected: dim, got });
        }
        let columns = simulations.data.len() / expected;
        if columns == 0 || simulations.data.len() != expected * columns {
            let (op, got) = ("simulated data", simulations.data.len());
            return Err(Error::Rows { op, expected, got });
        }
        let parameters = ParameterUnits::fit(support, &simulations.parameters)?;
        Ok(Self { parameters, data: DataUnits::fit(&simulations.data, columns) })
    }

    /// Pairs of parameters given data, and the number of clipped values.
    pub(super) fn pairs(&self, simulations: &Simulations, limit: f64) -> (Pairs, usize) {
        let (values, _) = self.parameters.apply(&simulations.parameters);
        let mut context = self.data.apply(&simulations.data);
        let clipped = clip(&mut context, limit);
        let (dim, context_dim) = (self.parameters.dim(), self.data.columns());
        (Pairs { values, dim, context, context_dim }, clipped)
    }
}
