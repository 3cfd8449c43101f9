//! Sequential Monte Carlo preconditioned by a flow, with the evidence (review, Section 6.2).
//!
//! # Reference
//! Del Moral, Doucet, Jasra, *Sequential Monte Carlo samplers*, Journal of the Royal Statistical Society
//! B 68(3), 2006. Karamanis, Beutler, Peacock, Nabergoj, Seljak, *Accelerating astronomical and
//! cosmological inference with preconditioned Monte Carlo*, MNRAS 516(2), 2022.
//! <https://arxiv.org/abs/2207.05652>

mod tempered;
mod weights;

use flows_core::{Base, Chain, Context, Error, Flow, Result, Stream, Target, Values};
use serde::{Deserialize, Serialize};

use self::tempered::Tempered;
use self::weights::next_temperature;
use crate::annealed::density::FlowDensity;
use crate::chain::exact::check_exact;
use crate::chain::metropolis::Walkers;
use crate::chain::{Acceptance, Local, Pullback, Refit};
use crate::importance::{LogNormaliser, LogWeights, Weighted};
use crate::resampling::systematic;

/// Most temperatures of a run.
const MOST_TEMPERATURES: usize = 1000;

/// Settings of sequential Monte Carlo from a flow q to a target p~, through the densities
/// q^(1 - beta) p~^beta with beta from 0 to 1.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `particles` | 512 | points that are moved together | >= 16 |
/// | `effective_share` | 0.7 | effective share of the weights at each step of beta | in [0.5, 0.9] |
/// | `moves` | 20 | Metropolis-Hastings steps of each particle at each beta | >= 1 |
/// | `global_every` | 5 | one in so many steps proposes a draw of the base | >= 1 |
/// | `local` | random walk | the other steps, see [`Local`] | |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smc {
    /// Points that are moved together.
    pub particles: usize,
    /// Effective share of the weights at each step of beta.
    pub effective_share: f64,
    /// Metropolis-Hastings steps of each particle at each beta.
    pub moves: usize,
    /// One in so many steps proposes a draw of the base.
    pub global_every: usize,
    /// The other steps.
    pub local: Local,
}

impl Default for Smc {
    fn default() -> Self {
        let local = Local::RandomWalk;
        Self { particles: 512, effective_share: 0.7, moves: 20, global_every: 5, local }
    }
}

/// What a step of beta was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// The inverse temperature beta, which is 1 at the target.
    pub beta: f64,
    /// Effective share of the weights from the beta before, among those that are not zero.
    pub effective_share: f64,
    /// Proposals of base draws.
    pub global: Acceptance,
    /// Local proposals in base space.
    pub local: Acceptance,
    /// Size of the local steps in base space.
    pub step_size: f64,
}

/// A run of sequential Monte Carlo.
#[derive(Debug)]
pub struct SmcRun {
    /// The particles at beta 1, row after row: draws of the target with equal weights.
    pub particles: Vec<f64>,
    /// log Z of the target if q is normalised, in nats. Z itself would be unbiased with temperatures and
    /// flows that are given; these are adapted, which biases it by an amount of the order of one over
    /// the particles.
    pub log_normaliser: f64,
    /// The steps of beta.
    pub temperatures: Vec<Temperature>,
    /// Evaluations of the target.
    pub evaluations: u64,
    /// Local proposals that were refused because the target could not be evaluated there.
    pub undefined: u64,
    /// The flow as refined last.
    pub flow: Flow<f64>,
}

impl Smc {
    /// Moves draws of the flow `from` to the target. At each beta the weights are resampled, the flow
    /// `preconditioner` is refined on the particles, and these step in its base space.
    ///
    /// Where the moves are too few to carry particles to a part of the target, its mass is lost, and log Z
    /// is too low in all runs alike: their spread does not show it. More moves then raise log Z. An
    /// example is the funnel of ten features in `flows-bench`: from N(0, 9 I), the default settings find
    /// less than half of it.
    ///
    /// `from` may be a base with the identity; it should be wider than the target. Both flows may be of
    /// any architecture that goes in both directions.
    ///
    /// # Cost
    /// At each beta: `moves` evaluations a particle of the target, of the density of `from` and of the
    /// preconditioner from base to data, and one refinement.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Dimension`] where flows and target
    /// differ; as [`Pullback::new`] and [`Trainer::fit`](flows_core::train::Trainer::fit); as
    /// [`LogWeights::new`] where no particle lies in the support of the target; [`Error::Stopped`] where
    /// beta no longer grows.
    pub fn run(
        &self,
        target: &dyn Target,
        from: &Flow<f64>,
        mut preconditioner: Flow<f64>,
        refit: &Refit,
        rng: &mut Stream,
    ) -> Result<SmcRun> {
        self.check()?;
        check_exact(from)?;
        for (op, got) in [("target of SMC", target.dim()), ("preconditioner", preconditioner.dim())]
        {
            if got != from.dim() {
                return Err(Error::Dimension { op, expected: from.dim(), got });
            }
        }
        let mut particles = from.sample(self.particles, &Context::none(), rng)?.0.values();
        let (mut beta, mut log_normaliser, mut temperatures) = (0.0, 0.0, Vec::new());
        let (mut evaluations, mut undefined, mut step_size) = (0, 0, None);
        while beta < 1.0 {
            let log_from = from.evaluate(&particles, &Context::none())?.0;
            let log_target = target.log_densities(&particles)?;
            evaluations += self.particles as u64;
            let ratios: Vec<f64> = log_target.iter().zip(&log_from).map(|(p, q)| p - q).collect();
            let next = next_temperature(&ratios, beta, self.effective_share)?;
            if next <= beta || temperatures.len() == MOST_TEMPERATURES {
                return Err(Error::Stopped {
                    method: "tempering",
                    row: None,
                    reached: format!("inverse temperature {beta}"),
                    status: format!("the next would be {next}"),
                    advice: "start from a wider flow, or take more particles",
                });
            }
            let weights = increments(&ratios, next - beta)?;
            beta = next;
            log_normaliser += weights.log_normaliser().nats;
            particles = systematic(&particles, from.dim(), &weights.normalised(), rng);
            preconditioner = refit.refit(preconditioner, &particles, rng)?;
            let density = Tempered { from: &FlowDensity::new(from), target, beta };
            let moved = self.sweep(&density, &preconditioner, &particles, step_size, rng)?;
            particles = moved.particles;
            evaluations += moved.evaluations;
            undefined += moved.undefined;
            step_size = Some(moved.temperature.step_size);
            let effective_share = weights::share_of_support(&weights);
            temperatures.push(Temperature { effective_share, ..moved.temperature });
        }
        let flow = preconditioner;
        Ok(SmcRun { particles, log_normaliser, temperatures, evaluations, undefined, flow })
    }

    /// Steps of all particles in the base space of the flow.
    fn sweep(
        &self,
        density: &Tempered<'_>,
        flow: &Flow<f64>,
        particles: &[f64],
        step_size: Option<f64>,
        rng: &mut Stream,
    ) -> Result<Moved> {
        let pullback = Pullback::new(flow, density)?;
        let (dim, count) = (flow.dim(), self.particles);
        let scale = vec![1.0; dim];
        let mut walkers = Walkers::new(&pullback, self.local, scale, pullback.pull(particles)?)?;
        if let Some(size) = step_size {
            walkers.set_step(size);
        }
        let base = identity(flow.base())?;
        let globals = self.moves / self.global_every * count;
        let draws = match globals {
            0 => None,
            rows => Some(Weighted::draw(&base, &pullback, rows, rng)?),
        };
        let (mut global, mut local) = (Acceptance::default(), Acceptance::default());
        let mut first = 0;
        for step in 1..=self.moves {
            match &draws {
                Some(draws) if step.is_multiple_of(self.global_every) => {
                    let accepted = walkers.global(&base, draws, first, rng)?;
                    accepted.into_iter().for_each(|accepted| global.note(accepted));
                    first += count;
                }
                _ => {
                    let (accepted, rates) = walkers.local(rng)?;
                    accepted.into_iter().for_each(|accepted| local.note(accepted));
                    walkers.adapt(&vec![rates.iter().sum::<f64>() / count as f64; count]);
                }
            }
        }
        let step_size = walkers.step_sizes().first().copied().unwrap_or(1.0);
        Ok(Moved {
            particles: pullback.push_points(walkers.points())?,
            temperature: Temperature {
                beta: density.beta,
                effective_share: 1.0,
                global,
                local,
                step_size,
            },
            evaluations: walkers.evaluations() + globals as u64,
            undefined: walkers.undefined(),
        })
    }

    fn check(&self) -> Result<()> {
        let share = self.effective_share;
        let checks = [
            ("particles of SMC", "at least 16", self.particles as f64, self.particles >= 16),
            ("effective_share of SMC", "in [0.5, 0.9]", share, (0.5..=0.9).contains(&share)),
            ("moves of SMC", "at least 1", self.moves as f64, self.moves > 0),
            ("global_every of SMC", "at least 1", self.global_every as f64, self.global_every > 0),
        ];
        match checks.into_iter().find(|check| !check.3) {
            Some((name, requirement, value, _)) => {
                Err(Error::Parameter { name, requirement, value })
            }
            None => Ok(()),
        }
    }
}

/// Particles after their steps at one beta.
struct Moved {
    particles: Vec<f64>,
    temperature: Temperature,
    evaluations: u64,
    undefined: u64,
}

/// Weights of a step of beta.
fn increments(ratios: &[f64], step: f64) -> Result<LogWeights> {
    LogWeights::new(ratios.iter().map(|ratio| step * ratio).collect())
}

/// The flow whose bijector is the identity.
fn identity(base: &Base<f64>) -> Result<Flow<f64>> {
    Flow::new(base.clone(), Box::new(Chain::new(base.dim(), Vec::new())?))
}

/// log Z from independent runs, each given by its own: the logarithm of the mean of Z, with the standard
/// error by the delta method from the spread of the runs; `None` for fewer than two.
///
/// # Errors
/// As [`LogWeights::new`].
pub fn log_normaliser(runs: &[f64]) -> Result<LogNormaliser> {
    let all = LogWeights::new(runs.to_vec())?;
    let shares = all.normalised();
    let count = runs.len() as f64;
    let squares: f64 = shares.iter().map(|share| (count * share - 1.0).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    let standard_error = (runs.len() > 1).then_some(error);
    Ok(LogNormaliser { nats: all.log_normaliser().nats, standard_error })
}
