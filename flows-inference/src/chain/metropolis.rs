//! Metropolis-Hastings chains with a flow as proposal, mixed with local steps (review, Section 6.2.2).
//!
//! Draws of the flow take a chain from mode to mode; local steps explore what the flow has not learned.
//!
//! # Reference
//! Gabrié, Rotskoff, Vanden-Eijnden, *Adaptive Monte Carlo augmented with normalizing flows*, PNAS
//! 119(10), 2022. <https://arxiv.org/abs/2105.12603> Wong, Gabrié, Foreman-Mackey, *flowMC*, JOSS 8(83),
//! 2023. <https://arxiv.org/abs/2211.06397> Roberts, Rosenthal, *Optimal scaling for various
//! Metropolis-Hastings algorithms*, Statistical Science 16(4), 2001 (the acceptance of local steps).

mod refit;
mod walkers;

use flows_core::{Error, Flow, Real, Result, Stream, Target};
use serde::{Deserialize, Serialize};

pub use self::refit::Refit;
pub(crate) use self::walkers::Walkers;
use super::chains::{Chains, check_starts};
use super::diagnostics::mean_and_variance;
use super::exact::check_exact;
use crate::Weighted;

/// Fewest draws of the flow from which the scale of local steps is taken.
const FEWEST_FOR_SCALE: usize = 256;

/// The proposal of a local step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// A normal step, x + h s n; its size is adapted to an acceptance of 0.234.
    RandomWalk,
    /// The Metropolis-adjusted Langevin algorithm, x + h^2 s^2 / 2 grad log p~ + h s n; adapted to 0.574.
    #[default]
    Mala,
}

impl Local {
    /// The acceptance rate at which chains of many features move fastest.
    #[must_use]
    pub fn acceptance(self) -> f64 {
        match self {
            Self::RandomWalk => 0.234,
            Self::Mala => 0.574,
        }
    }
}

/// Settings of Metropolis-Hastings chains.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `warm_up` | 500 | steps that adapt the size of local steps, and are dropped | any |
/// | `draws` | 1000 | steps that are kept, a chain | >= 1 |
/// | `global_every` | 5 | one in so many steps proposes a draw of the flow; 1: all | >= 1 |
/// | `local` | MALA | the other steps, see [`Local`] | |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metropolis {
    /// Steps of a chain that are dropped.
    pub warm_up: usize,
    /// Steps of a chain that are kept.
    pub draws: usize,
    /// One in so many steps proposes a draw of the flow.
    pub global_every: usize,
    /// The other steps.
    pub local: Local,
}

impl Default for Metropolis {
    fn default() -> Self {
        Self { warm_up: 500, draws: 1000, global_every: 5, local: Local::default() }
    }
}

/// Proposals of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// How many were made.
    pub proposed: u64,
    /// How many were accepted.
    pub accepted: u64,
}

impl Acceptance {
    /// The share that was accepted; `None` if none was made.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.proposed > 0).then(|| self.accepted as f64 / self.proposed as f64)
    }

    pub(crate) fn note(&mut self, accepted: bool) {
        self.proposed += 1;
        self.accepted += u64::from(accepted);
    }
}

impl std::iter::Sum for Acceptance {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            proposed: sum.proposed + one.proposed,
            accepted: sum.accepted + one.accepted,
        })
    }
}

/// Metropolis-Hastings chains with what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct MetropolisChains {
    /// The draws after warm-up.
    pub chains: Chains,
    /// Proposals by the flow after warm-up, of each chain.
    pub global: Vec<Acceptance>,
    /// Local proposals after warm-up, of each chain.
    pub local: Vec<Acceptance>,
    /// Size h of the local steps of each chain after warm-up, in units of the standard deviations s of
    /// the flow's draws.
    pub step_size: Vec<f64>,
    /// Evaluations of the target, those of warm-up included.
    pub evaluations: u64,
    /// Local proposals that were refused because the target could not be evaluated there.
    pub undefined: u64,
}

impl MetropolisChains {
    fn empty(count: usize, draws: usize) -> Self {
        Self {
            chains: Chains::with_room(count, draws),
            global: vec![Acceptance::default(); count],
            local: vec![Acceptance::default(); count],
            step_size: Vec::new(),
            evaluations: 0,
            undefined: 0,
        }
    }

    /// The numbers of the chains that accepted no proposal after warm-up; their draws are one point.
    #[must_use]
    pub fn stuck(&self) -> Vec<usize> {
        let kinds = self.global.iter().zip(&self.local);
        let moved = kinds.map(|(global, local)| global.accepted + local.accepted > 0);
        moved.enumerate().filter(|(_, moved)| !moved).map(|(chain, _)| chain).collect()
    }
}

impl Metropolis {
    /// Samples a chain from each starting point; the flow stays as it is.
    ///
    /// The flow's draws for all steps are taken first, and weighed as for importance sampling.
    ///
    /// # Cost
    /// A draw and an evaluation of the target for each global step; a density of the flow for each that
    /// follows a local one.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Unavailable`] where the flow's
    /// log-determinants are estimates, or depend on the batch; as [`Weighted::draw`] and [`Flow::log_prob`],
    /// in the row of the chain; [`Error::Caller`] without starting points; [`Error::Dimension`] where a
    /// start has not the target's features; [`Error::NonFinite`] with the number of the chain where the
    /// target has no density at its start.
    pub fn sample<E: Real>(
        &self,
        target: &dyn Target,
        flow: &Flow<E>,
        starts: &[Vec<f64>],
        rng: &mut Stream,
    ) -> Result<MetropolisChains> {
        self.check()?;
        check_exact(flow)?;
        check_starts(starts, target.dim())?;
        let (count, dim, steps) = (starts.len(), target.dim(), self.warm_up + self.draws);
        let rows = (steps / self.global_every * count).max(FEWEST_FOR_SCALE);
        let weighted = Weighted::draw(flow, target, rows, rng)?;
        let scale = deviations(&weighted.draws, dim);
        let mut walkers = Walkers::new(target, self.local, scale, starts.concat())?;
        let mut run = MetropolisChains::empty(count, self.draws);
        let mut globals = 0;
        for step in 0..steps {
            let kept = step >= self.warm_up;
            let (accepted, counts) = if (step + 1).is_multiple_of(self.global_every) {
                globals += 1;
                let first = (globals - 1) * count;
                (walkers.global(flow, &weighted, first, rng)?, &mut run.global)
            } else {
                let (accepted, rates) = walkers.local(rng)?;
                if !kept {
                    walkers.adapt(&rates);
                }
                (accepted, &mut run.local)
            };
            if kept {
                counts.iter_mut().zip(accepted).for_each(|(count, accepted)| count.note(accepted));
                run.chains.push(walkers.points(), walkers.log_density());
            }
        }
        run.step_size = walkers.step_sizes();
        run.evaluations = walkers.evaluations() + rows as u64;
        run.undefined = walkers.undefined();
        Ok(run)
    }

    /// Refines a flow on the chains' draws and samples again, `rounds` times; then samples with the flow
    /// that came of it, which no longer changes, so that the chains returned are of the target.
    ///
    /// Each round starts where the one before ended. Evaluations are those of all rounds.
    ///
    /// # Errors
    /// As [`sample`](Self::sample) and [`Trainer::fit`](flows_core::train::Trainer::fit).
    pub fn adapt<E: Real>(
        &self,
        target: &dyn Target,
        mut flow: Flow<E>,
        mut starts: Vec<Vec<f64>>,
        (rounds, settings): (usize, &Refit),
        rng: &mut Stream,
    ) -> Result<(Flow<E>, MetropolisChains)> {
        let mut evaluations = 0;
        for _ in 0..rounds {
            let round = self.sample(target, &flow, &starts, rng)?;
            evaluations += round.evaluations;
            flow = settings.refit(flow, &round.chains.rows(), rng)?;
            starts = round.chains.last();
        }
        let last = self.sample(target, &flow, &starts, rng)?;
        Ok((flow, MetropolisChains { evaluations: evaluations + last.evaluations, ..last }))
    }

    fn check(&self) -> Result<()> {
        let checks = [
            ("draws of Metropolis-Hastings", self.draws),
            ("global_every of Metropolis-Hastings", self.global_every),
        ];
        match checks.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => {
                Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 })
            }
            None => Ok(()),
        }
    }
}

/// Standard deviation of each column of rows.
fn deviations(rows: &[f64], dim: usize) -> Vec<f64> {
    let deviation = |feature: usize| {
        let column: Vec<f64> = rows.iter().skip(feature).step_by(dim).copied().collect();
        mean_and_variance(&column).1.sqrt()
    };
    (0..dim).map(deviation).collect()
}
