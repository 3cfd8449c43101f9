//! The no-U-turn sampler: Hamiltonian Monte Carlo that chooses the length of its trajectories.
//!
//! The sampler is the crate `nuts-rs`, with a diagonal mass matrix adapted from draws and gradients;
//! this module gives it a [`Target`] and counts.
//!
//! # Reference
//! Hoffman, Gelman, *The No-U-Turn Sampler*, JMLR 15, 2014.
//! <https://www.jmlr.org/papers/v15/hoffman14a.html> Betancourt, *A Conceptual Introduction to
//! Hamiltonian Monte Carlo*, 2017, Appendix A. <https://arxiv.org/abs/1701.02434>

mod density;
mod together;

use flows_core::{Error, Result, Stream, Target, stream};
use nuts_rs::{Chain as _, CpuMath, DiagNutsSettings, Settings as _};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::density::{Density, Evaluate, Evaluations};
use self::together::together;
use super::chains::{Chains, check_starts};
use super::diagnostics::mean_and_variance;

/// Settings of the no-U-turn sampler.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `warm_up` | 1000 | draws that adapt step size and mass matrix, and are dropped | any |
/// | `draws` | 1000 | draws that are kept, a chain | >= 1 |
/// | `acceptance` | 0.8 | mean acceptance statistic that the step size is adapted to | in (0, 1) |
/// | `max_depth` | 10 | doublings of a trajectory, at most | 1 to 20 |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nuts {
    /// Draws of a chain that are dropped.
    pub warm_up: usize,
    /// Draws of a chain that are kept.
    pub draws: usize,
    /// Mean acceptance statistic that the step size is adapted to.
    pub acceptance: f64,
    /// Doublings of a trajectory, at most.
    pub max_depth: u32,
}

impl Default for Nuts {
    fn default() -> Self {
        Self { warm_up: 1000, draws: 1000, acceptance: 0.8, max_depth: 10 }
    }
}

/// What was counted in a part of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NutsCounts {
    /// Evaluations of the target with its gradient.
    pub gradient_evaluations: u64,
    /// Evaluations where the log-density or its gradient was not a number, or could not be computed.
    /// Each ends its trajectory as a divergence.
    pub undefined: u64,
    /// Draws whose trajectory diverged: the energy rose by more than 1,000 nats, or there was no
    /// density. After warm-up they say that the chain misses a part of the target.
    pub divergences: u64,
    /// Draws whose trajectory had the largest length.
    pub at_max_depth: u64,
}

/// The trajectory that a draw was taken from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trajectory {
    /// Leapfrog steps, each an evaluation of the target with its gradient.
    pub steps: u64,
    /// Doublings.
    pub depth: u64,
    /// Mean acceptance statistic of its points.
    pub acceptance: f64,
    /// Whether it diverged, see [`NutsCounts::divergences`].
    pub diverging: bool,
}

/// Chains of the no-U-turn sampler with what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct NutsChains {
    /// The draws after warm-up.
    pub chains: Chains,
    /// Hamiltonian energy of each draw in nats, -log p~ and the kinetic energy: `[chain][draw]`.
    pub energy: Vec<Vec<f64>>,
    /// The trajectory of each draw: `[chain][draw]`.
    pub trajectories: Vec<Vec<Trajectory>>,
    /// Step size of each chain after warm-up, in units of the mass matrix.
    pub step_size: Vec<f64>,
    /// Counts of each chain's warm-up, with the search for a first step size.
    pub warm_up: Vec<NutsCounts>,
    /// Counts of each chain after warm-up.
    pub sampling: Vec<NutsCounts>,
}

impl Nuts {
    /// Samples a chain from each starting point; the chains run side by side, each with a random
    /// stream of its own, and are the same with any number of threads.
    ///
    /// Points of a target that [is cheaper so](Target::is_cheaper_together) are evaluated together, one
    /// of each chain.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Caller`] without starting points, and
    /// with chain and reason where the sampler gives up; [`Error::Dimension`] where a start has not the
    /// target's features; [`Error::NonFinite`] with the number of the chain where the target has no
    /// density or gradient at its start; errors of the target other than a failed computation at a
    /// point, which counts as [`undefined`](NutsCounts::undefined).
    pub fn sample(
        &self,
        target: &dyn Target,
        starts: &[Vec<f64>],
        rng: &mut Stream,
    ) -> Result<NutsChains> {
        self.check()?;
        check_starts(starts, target.dim())?;
        for (index, start) in starts.iter().enumerate() {
            check_start(target, start, index)?;
        }
        let seed = rng.next_u64();
        let run = |index: usize, evaluate: &Evaluate<'_>| {
            let mut rng = stream(seed, &format!("chain {index}"));
            self.chain(evaluate, index, &starts[index], &mut rng)
        };
        let alone = |point: &[f64], gradient: &mut [f64]| {
            Ok(target.evaluate(point, gradient)?.first().copied().unwrap_or(f64::NAN))
        };
        let chains: Vec<Result<OneChain>> = if target.is_cheaper_together() {
            together(target, starts.len(), run)
        } else {
            (0..starts.len()).into_par_iter().map(|index| run(index, &alone)).collect()
        };
        let mut all = NutsChains {
            chains: Chains { draws: Vec::new(), log_density: Vec::new() },
            energy: Vec::new(),
            trajectories: Vec::new(),
            step_size: Vec::new(),
            warm_up: Vec::new(),
            sampling: Vec::new(),
        };
        for chain in chains {
            let chain = chain?;
            all.chains.draws.push(chain.draws);
            all.chains.log_density.push(chain.log_density);
            all.energy.push(chain.energy);
            all.trajectories.push(chain.trajectories);
            all.step_size.push(chain.step_size);
            all.warm_up.push(chain.warm_up);
            all.sampling.push(chain.sampling);
        }
        Ok(all)
    }

    fn check(&self) -> Result<()> {
        let (acceptance, depth) = (self.acceptance, f64::from(self.max_depth));
        let checks = [
            ("draws of NUTS", "at least 1", self.draws as f64, self.draws > 0),
            ("acceptance of NUTS", "in (0, 1)", acceptance, acceptance > 0.0 && acceptance < 1.0),
            ("max_depth of NUTS", "1 to 20", depth, (1..=20).contains(&self.max_depth)),
        ];
        match checks.into_iter().find(|check| !check.3) {
            Some((name, requirement, value, _)) => {
                Err(Error::Parameter { name, requirement, value })
            }
            None => Ok(()),
        }
    }

    fn chain(
        &self,
        evaluate: &Evaluate<'_>,
        index: usize,
        start: &[f64],
        rng: &mut Stream,
    ) -> Result<OneChain> {
        let evaluations = Evaluations::default();
        let stopped = |error: &dyn std::fmt::Display| match evaluations.take_failure() {
            Some(failure) => failure,
            None => Error::Caller(format!(
                "NUTS stopped in chain {index} ({error}); start it elsewhere, or check the gradient \
                 of the target"
            )),
        };
        let mut settings = DiagNutsSettings {
            num_tune: self.warm_up as u64,
            num_draws: self.draws as u64,
            maxdepth: u64::from(self.max_depth),
            ..DiagNutsSettings::default()
        };
        settings.adapt_options.step_size_settings.target_accept = self.acceptance;
        let density =
            CpuMath::new(Density { dim: start.len(), evaluate, evaluations: &evaluations });
        let mut sampler =
            settings.new_chain(index as u64, density, rng).map_err(|error| stopped(&error))?;
        sampler.set_position(start).map_err(|error| stopped(&error))?;

        let mut chain = OneChain::default();
        let mut counts = NutsCounts::default();
        for draw in 0..self.warm_up + self.draws {
            if draw == self.warm_up {
                chain.warm_up = evaluations.move_to(std::mem::take(&mut counts));
            }
            let (position, _, stats, progress) =
                sampler.expanded_draw().map_err(|error| stopped(&error))?;
            counts.divergences += u64::from(progress.diverging);
            counts.at_max_depth += u64::from(stats.maxdepth_reached);
            if draw >= self.warm_up {
                chain.draws.push(position.into_vec());
                chain.log_density.push(stats.point.logp);
                // The crate's own energy holds the log-determinant of the mass matrix as well.
                chain.energy.push(stats.point.kinetic_energy - stats.point.logp);
                chain.trajectories.push(Trajectory {
                    steps: progress.num_steps,
                    depth: stats.depth,
                    acceptance: stats.adapt.step_size.mean_tree_accept,
                    diverging: progress.diverging,
                });
                chain.step_size = progress.step_size;
            }
        }
        chain.sampling = evaluations.move_to(counts);
        Ok(chain)
    }
}

impl NutsChains {
    /// All evaluations of the target with its gradient, those of warm-up included.
    #[must_use]
    pub fn gradient_evaluations(&self) -> u64 {
        self.warm_up.iter().chain(&self.sampling).map(|counts| counts.gradient_evaluations).sum()
    }

    /// Divergences after warm-up, of all chains.
    #[must_use]
    pub fn divergences(&self) -> u64 {
        self.sampling.iter().map(|counts| counts.divergences).sum()
    }

    /// Bayesian fraction of missing information of each chain: the mean squared change of the energy
    /// over its variance. Below 0.3 the energy changes too slowly for the tails to be seen. `None` with
    /// fewer than three draws.
    #[must_use]
    pub fn missing_information(&self) -> Vec<Option<f64>> {
        let of = |energy: &Vec<f64>| {
            let changes = energy.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum::<f64>();
            let spread = mean_and_variance(energy).1 * (energy.len() as f64 - 1.0);
            (energy.len() > 2 && spread > 0.0).then(|| changes / spread)
        };
        self.energy.iter().map(of).collect()
    }
}

/// One chain with what was counted.
#[derive(Debug, Default)]
struct OneChain {
    draws: Vec<Vec<f64>>,
    log_density: Vec<f64>,
    energy: Vec<f64>,
    trajectories: Vec<Trajectory>,
    step_size: f64,
    warm_up: NutsCounts,
    sampling: NutsCounts,
}

/// Checks that the target has a density and a gradient at the start of chain `index`. The first step
/// size is scaled by every component of the gradient, so none may be zero.
fn check_start(target: &dyn Target, start: &[f64], index: usize) -> Result<()> {
    let mut gradient = vec![0.0; start.len()];
    let density = target.evaluate(start, &mut gradient).map_err(|e| e.in_rows_from(index))?;
    let bad = |quantity, advice| Err(Error::NonFinite { quantity, row: index, advice });
    if !density.iter().all(|value| value.is_finite()) {
        let advice = "start the chain of that number where the target has a density";
        return bad("log-density at a starting point", advice);
    }
    if !gradient.iter().all(|slope| slope.is_finite()) {
        return bad("gradient at a starting point", "start the chain of that number elsewhere");
    }
    match gradient.iter().position(|slope| *slope == 0.0) {
        Some(feature) => Err(Error::Caller(format!(
            "the gradient at the starting point of chain {index} is zero in feature {feature}, and the \
             first step is scaled by it; start elsewhere, such as at a random point"
        ))),
        None => Ok(()),
    }
}
