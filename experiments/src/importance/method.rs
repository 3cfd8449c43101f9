//! How the draws of `importance` are made and weighed.

use anyhow::{Result, bail};
use flows_core::{Flow, Real, Stream, Target};
use flows_inference::stochastic::{Langevin, Metropolis, StochasticFlow, StochasticLayer};
use flows_inference::{AnnealedSampler, AnnealedSampling, LogWeights, Weighted};

use crate::Usage;
use crate::cli::{Importance, ImportanceMethod};

/// Rounds that adapt the step sizes of annealed sampling, and draws of each.
const TUNING: (usize, usize) = (20, 512);

impl Importance {
    /// Refuses settings that the method does not have.
    ///
    /// # Errors
    /// [`Usage`] with the flag.
    pub(super) fn check_method(&self) -> Result<()> {
        if self.levels == Some(0) {
            bail!(Usage("--levels must be at least 1, got 0".into()));
        }
        let direct = self.method == ImportanceMethod::Direct;
        let given =
            [("--levels", self.levels.is_some()), ("--step-size", self.step_size.is_some())];
        match given.into_iter().find(|(_, given)| direct && *given) {
            Some((flag, _)) => bail!(Usage(format!(
                "{flag} is for draws that are moved; add --method annealed, langevin or metropolis"
            ))),
            None => Ok(()),
        }
    }

    /// Draws with their weights for a density.
    pub(super) fn draw<E: Real>(
        &self,
        flow: &Flow<E>,
        target: &dyn Target,
        rng: &mut Stream,
    ) -> Result<Weighted> {
        let (rows, levels) = (self.rows, self.levels.unwrap_or(4));
        let size = |default| self.step_size.unwrap_or(default);
        Ok(match self.method {
            ImportanceMethod::Direct => Weighted::draw(flow, target, rows, rng)?,
            ImportanceMethod::Annealed => {
                let first = AnnealedSampling::default();
                let step_size = size(first.step_size);
                let settings = AnnealedSampling { intermediate: levels, step_size, ..first };
                let mut sampler = AnnealedSampler::new(settings, 1.0)?;
                sampler.tune(flow, target, TUNING, rng)?;
                let annealed = sampler.draw(flow, target, rows, rng)?;
                let log_weights = LogWeights::new(annealed.log_weights)?;
                let (draws, log_proposal) = (annealed.draws, annealed.log_proposal);
                Weighted { draws, log_proposal, log_weights, work: annealed.work }
            }
            ImportanceMethod::Langevin => {
                let step_size = size(1e-2);
                let layer = |fraction| Langevin { steps: 1, step_size, fraction };
                let layers = fractions(levels).map(|t| StochasticLayer::Langevin(layer(t)));
                StochasticFlow::new(flow, layers.collect())?.draw(target, rows, rng)?
            }
            ImportanceMethod::Metropolis => {
                let scale = size(0.2);
                let layer = |fraction| Metropolis { steps: 1, scale, fraction };
                let layers = fractions(levels).map(|t| StochasticLayer::Metropolis(layer(t)));
                StochasticFlow::new(flow, layers.collect())?.draw(target, rows, rng)?
            }
        })
    }
}

/// From the flow to the density.
fn fractions(levels: usize) -> impl Iterator<Item = f64> {
    (1..=levels).map(move |level| level as f64 / levels as f64)
}
