//! What is learned of a simulator: its posterior, or its likelihood.

use anyhow::Result;
use flows_core::train::{AdamConfig, TrainConfig};
use flows_core::{Architecture, Base, Chain, Flow, Parameters, Real, Stream, tensor};
use flows_finite::architecture::NormalFlow;
use flows_inference::Smc;
use flows_inference::chain::{Acceptance, Refit};
use flows_inference::simulation::{Likelihood, Posterior, Prior, Training};

/// The deviation of the normal that particles start from, in deviations of the prior's draws.
const WIDTH: f64 = 2.0;

/// A trained conditional flow, of parameters given data or the other way about.
#[derive(Debug)]
pub(super) enum Estimate<E: Real> {
    /// By neural posterior estimation.
    Posterior(Posterior<E>),
    /// By neural likelihood estimation.
    Likelihood(Likelihood<E>),
}

/// Draws of the posterior of an observation.
#[derive(Debug)]
pub(super) struct Drawn {
    /// Parameters, row after row.
    pub(super) rows: Vec<f64>,
    /// Values of the observation that lie far outside of what was simulated.
    pub(super) clipped: usize,
    /// How they came about, where a sampler made them.
    pub(super) sampler: Option<Sampler>,
}

/// What sequential Monte Carlo has to say of its draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    /// Logarithm of the prior's mean of the likelihood, in nats.
    pub(super) log_evidence: f64,
    /// Share of the last moves that was accepted.
    pub(super) acceptance: Option<f64>,
}

impl<E: Real> Estimate<E> {
    pub(super) fn training(&self) -> &Training {
        match self {
            Self::Posterior(posterior) => posterior.training(),
            Self::Likelihood(likelihood) => likelihood.training(),
        }
    }

    /// Draws of the posterior of one observation.
    pub(super) fn draw(
        &self,
        prior: &dyn Prior,
        observation: &[f64],
        draws: usize,
        rng: &mut Stream,
    ) -> Result<Drawn> {
        let likelihood = match self {
            Self::Posterior(posterior) => {
                let rows = posterior.sample(observation, draws, rng)?;
                let clipped = posterior.clipped(observation)?;
                return Ok(Drawn { rows, clipped, sampler: None });
            }
            Self::Likelihood(likelihood) => likelihood,
        };
        let posterior = likelihood.posterior(prior, observation)?;
        let dim = prior.dim();
        let settings = Smc { particles: draws, ..Smc::default() };
        let optimiser = AdamConfig { learning_rate: 2e-2, ..AdamConfig::default() };
        let config = TrainConfig { optimiser, ..TrainConfig::default() };
        let refit = Refit { config, ..Refit::default() };
        let preconditioner = NormalFlow::full_rank().build_f64(dim, 0, rng)?;
        let preconditioner = Flow::new(Base::standard_normal(dim), Box::new(preconditioner))?;
        let run = settings.run(&posterior, &wide(dim)?, preconditioner, &refit, rng)?;
        let last = run.temperatures.last();
        let acceptance =
            last.and_then(|at| [at.global, at.local].into_iter().sum::<Acceptance>().rate());
        let sampler = Some(Sampler { log_evidence: run.log_normaliser, acceptance });
        Ok(Drawn { rows: posterior.parameters(&run.particles), clipped: 0, sampler })
    }
}

/// N(0, WIDTH^2 I).
fn wide(dim: usize) -> Result<Flow<f64>> {
    let mut base = Base::diagonal_normal(dim)?;
    base.visit_mut(&mut |name, _, values| match name {
        "location" => Ok(()),
        _ => tensor::set_values(values, &vec![WIDTH.ln(); dim]),
    })?;
    Ok(Flow::new(base, Box::new(Chain::new(dim, Vec::new())?))?)
}
