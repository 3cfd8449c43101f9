//! Sequential neural posterior estimation with atomic proposals.

use std::cell::Cell;

use flows_core::train::Objective;
use flows_core::{Error, Real, Result, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::atomic::{AtomicPairs, Spending, train};
use super::npe::{Units, npe_of};
use super::{Build, Estimation, Posterior, Prior, Progress, Report, Simulations, Simulator};

/// Draws of a proposal outside of the prior, for each one inside, after which it is given up.
const MOST_REJECTED: usize = 100;

/// Settings of sequential estimation.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `rounds` | 5 | rounds of simulation and training; with one it is [`npe`](super::npe) | >= 1 |
/// | `atoms` | 10 | parameters that a row's own are told from | >= 2 |
/// | `estimation` | 2,000 rows | see [`Estimation`]; rows and budget are those of a round, the objective is maximum likelihood | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sequential {
    /// Rounds of simulation and training.
    pub rounds: usize,
    /// Parameters that a row's own are told from, these among them.
    pub atoms: usize,
    /// Simulation and training of a round.
    pub estimation: Estimation,
}

impl Default for Sequential {
    fn default() -> Self {
        let estimation = Estimation { rows: 2_000, ..Estimation::default() };
        Self { rounds: 5, atoms: 10, estimation }
    }
}

impl Sequential {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above; [`Error::Unavailable`] for a training
    /// that the atomic loss does not have.
    pub fn check(&self) -> Result<()> {
        self.estimation.check()?;
        for (name, least, value) in [("rounds", 1, self.rounds), ("atoms", 2, self.atoms)] {
            if value < least {
                let requirement = if least == 1 { "at least 1" } else { "at least 2" };
                return Err(Error::Parameter { name, requirement, value: value as f64 });
            }
        }
        let config = &self.estimation.train;
        let what = if config.objective != Objective::MaximumLikelihood {
            "sequential estimation by another objective than maximum likelihood"
        } else if config.ema.is_some() || config.base_update.is_some() {
            "sequential estimation with averaged weights or base updates"
        } else {
            return Ok(());
        };
        let advice = "train by the likelihood and without them, or in a single round";
        Err(Error::Unavailable { what, advice })
    }
}

/// Sequential neural posterior estimation (SNPE-C, also APT) for one observation x_o. The first round
/// is [`npe`](super::npe); each later one simulates from draws of the present q(theta | x_o), truncated
/// to the prior, and trains on all rounds by the atomic loss,
///
/// ```text
/// -ln of [q(theta_0 | x) / p(theta_0)] / sum over atoms k of [q(theta_k | x) / p(theta_k)]
/// ```
///
/// with the parameters of other rows as atoms. Its minimum is the posterior, whatever the proposals
/// were. The result is meant for x_o: elsewhere it has seen the first round only.
///
/// # Errors
/// As [`Sequential::check`] and [`npe`](super::npe); [`Error::Caller`] where the proposals miss the
/// prior, where rows are fewer than atoms, and for a training that diverges.
///
/// # Reference
/// Greenberg, Nonnenmacher, Macke, *Automatic Posterior Transformation for Likelihood-Free Inference*,
/// ICML 2019, Section 3.2 (atomic proposals). <https://arxiv.org/abs/1905.07488>
pub fn snpe<E: Real>(
    simulator: &dyn Simulator,
    observation: &[f64],
    build: Build<'_, E>,
    settings: &Sequential,
    report: Report<'_>,
    rng: &mut Stream,
) -> Result<Posterior<E>> {
    settings.check()?;
    let (prior, estimation) = (simulator.prior(), &settings.estimation);
    let (rows, invalid) = (estimation.rows, estimation.invalid);
    let (expected, got) = (simulator.data_columns(), observation.len());
    if expected != got {
        return Err(Error::Dimension { op: "observation", expected, got });
    }
    if observation.iter().any(|value| !value.is_finite()) {
        let advice = "give finite data, as those that are simulated";
        return Err(Error::NonFinite { quantity: "observation", row: 0, advice });
    }
    // A training that is stopped has given its best so far, and no other round begins.
    let is_stopped = Cell::new(false);
    let report: Report<'_> = &mut |progress: &Progress| {
        let flow = report(progress)?;
        is_stopped.set(flow.is_break());
        Ok(flow)
    };
    let mut all = Simulations::of_prior(simulator, rows, invalid, report, rng)?;
    let mut posterior = npe_of(&all, prior, build, estimation, report, rng)?;
    for _ in 1..settings.rounds {
        if is_stopped.get() {
            break;
        }
        let proposals = proposals(&posterior, observation, prior, rows, rng)?;
        all.append(Simulations::of_parameters(simulator, proposals, invalid, report, rng)?);
        let Posterior { parameters, data, .. } = &posterior;
        let units = Units { parameters: parameters.clone(), data: data.clone() };
        let (pairs, clipped) = units.pairs(&all, estimation.clip);
        let (_, log_det) = units.parameters.apply(&all.parameters);
        let log_prior = prior.log_densities(&all.parameters)?;
        let log_prior = log_prior.iter().zip(log_det).map(|(p, det)| p - det).collect();
        let data = AtomicPairs { pairs, log_prior };
        let seed = rng.random();
        let taken = train(&mut posterior.flow, &data, settings.atoms, estimation, report, seed)?;
        let Spending { spent, best_nats } = taken;
        let training = &mut posterior.training;
        (training.rows, training.left_out) = (data.pairs.rows(), all.left_out);
        (training.clipped, training.simulation_seconds) = (clipped, all.seconds);
        training.steps += spent.steps;
        training.seconds += spent.seconds;
        training.work += spent.work;
        training.validation_nats = best_nats;
    }
    Ok(posterior)
}

/// Draws of the posterior that the prior allows.
fn proposals<E: Real>(
    posterior: &Posterior<E>,
    observation: &[f64],
    prior: &dyn Prior,
    rows: usize,
    rng: &mut Stream,
) -> Result<Vec<f64>> {
    let dim = prior.dim();
    let mut kept = Vec::with_capacity(rows * dim);
    let mut drawn = 0;
    while kept.len() < rows * dim {
        if drawn > MOST_REJECTED * rows {
            return Err(Error::Caller(format!(
                "proposals: expected {rows} draws of the posterior where the prior has density, got {} \
                 among {drawn}; let the prior's support name its bounds, or train a round for longer",
                kept.len() / dim
            )));
        }
        let draws = posterior.sample(observation, rows, rng)?;
        let log_prior = prior.log_densities(&draws)?;
        let inside = draws.chunks_exact(dim).zip(log_prior).filter(|(_, nats)| nats.is_finite());
        kept.extend(inside.flat_map(|(row, _)| row.iter().copied()));
        drawn += rows;
    }
    kept.truncate(rows * dim);
    Ok(kept)
}
