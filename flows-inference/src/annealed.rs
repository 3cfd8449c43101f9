//! Annealed importance sampling from a flow to a density.

pub(crate) mod density;
mod hamiltonian;
pub(crate) mod path;

use flows_core::tensor::Values;
use flows_core::{Context, Error, Flow, Real, Result, Stream, Target, Work};
use serde::{Deserialize, Serialize};

use self::density::FlowDensity;
use self::hamiltonian::{Hamiltonian, transition};
use self::path::{GeometricPath, States};
use crate::LogWeights;

/// Rows that are annealed at a time.
const CHUNK: usize = 4096;

/// The share of accepted trajectories that the step size is adapted to: the optimum for a Gaussian in
/// many dimensions (Beskos et al., *Optimal tuning of the hybrid Monte Carlo algorithm*, Bernoulli 2013).
const ACCEPTANCE: f64 = 0.65;

/// Settings of annealed importance sampling from a flow q along the geometric path
///
/// ```text
/// log f_b(x) = log q(x) + b a (log p~(x) - log q(x)),   b from 0 to 1
/// ```
///
/// With a power a of 1 the path ends at p~; with 2 at p~^2/q, the proposal whose weights estimate
/// expectations of p~/q with least variance.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `intermediate` | 1 | densities strictly between both ends, at equal distances of b | >= 1 |
/// | `transitions` | 1 | Hamiltonian transitions at each of them | >= 1 |
/// | `leapfrog_steps` | 5 | steps of a trajectory | >= 1 |
/// | `step_size` | 0.2 | of the leapfrog method, at first | > 0 |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnealedSampling {
    /// Densities strictly between both ends.
    pub intermediate: usize,
    /// Transitions at each intermediate density.
    pub transitions: usize,
    /// Leapfrog steps of a transition.
    pub leapfrog_steps: usize,
    /// The first step size.
    pub step_size: f64,
}

impl Default for AnnealedSampling {
    fn default() -> Self {
        Self { intermediate: 1, transitions: 1, leapfrog_steps: 5, step_size: 0.2 }
    }
}

impl AnnealedSampling {
    /// # Errors
    /// [`Error::Parameter`] for a value outside the table above.
    pub fn check(&self) -> Result<()> {
        let positive = self.step_size > 0.0 && self.step_size.is_finite();
        let checks = [
            ("step_size", "positive and finite", self.step_size, positive),
            ("intermediate", "at least 1", self.intermediate as f64, self.intermediate > 0),
            ("transitions", "at least 1", self.transitions as f64, self.transitions > 0),
            ("leapfrog_steps", "at least 1", self.leapfrog_steps as f64, self.leapfrog_steps > 0),
        ];
        for (name, requirement, value, holds) in checks {
            if !holds {
                return Err(Error::Parameter { name, requirement, value });
            }
        }
        Ok(())
    }
}

/// Draws at the end of the path with their weights for it.
#[derive(Clone, Debug)]
pub struct Annealed {
    /// The draws, row after row.
    pub draws: Vec<f64>,
    /// log q of each draw in nats.
    pub log_proposal: Vec<f64>,
    /// log p~ of each draw in nats.
    pub log_target: Vec<f64>,
    /// Logarithms of the weights for p~^a q^(1-a), in nats; minus infinity where a path was left with
    /// density zero.
    pub log_weights: Vec<f64>,
    /// Mean probability of acceptance at each intermediate density.
    pub acceptance: Vec<f64>,
    /// Counted work of all draws.
    pub work: Work,
}

impl Annealed {
    /// Passes and evaluations times their rows.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        let rows = self.log_weights.len();
        self.work.evaluations() * rows as u64 / rows.div_ceil(CHUNK).max(1) as u64
    }

    /// The weights, of which log Z with its error follows: that of p~ for a power of 1.
    ///
    /// # Errors
    /// As [`LogWeights::new`].
    pub fn weights(&self) -> Result<LogWeights> {
        LogWeights::new(self.log_weights.clone())
    }
}

/// Annealed importance sampling with a step size for each intermediate density.
///
/// Draws x_0 of the flow are moved by transitions T_j that leave f_j invariant; the weight of the result
/// is
///
/// ```text
/// log w = sum over j of log f_j(x_(j-1)) - log f_(j-1)(x_(j-1))
/// ```
///
/// whose exponential has the expectation Z of the end of the path, whatever the transitions do. The
/// weights are unbiased for fixed step sizes; [`adapt`](Self::adapt) between calls keeps them so.
///
/// # Cost
/// For each draw `intermediate` x `transitions` x `leapfrog_steps` + 1 evaluations of the target and of the
/// flow's log-density in the density direction, with gradients; 4,096 draws at a time.
///
/// # Reference
/// Neal, *Annealed importance sampling*, Statistics and Computing 11, 2001,
/// <https://arxiv.org/abs/physics/9803008>.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnealedSampler {
    settings: AnnealedSampling,
    power: f64,
    step_sizes: Vec<f64>,
}

impl AnnealedSampler {
    /// A sampler of p~^a q^(1-a), a the `power`, whose step sizes are the first ones.
    ///
    /// # Errors
    /// As [`AnnealedSampling::check`]; [`Error::Parameter`] for a power that is not positive and finite.
    pub fn new(settings: AnnealedSampling, power: f64) -> Result<Self> {
        settings.check()?;
        if !(power > 0.0 && power.is_finite()) {
            let (name, requirement) = ("power of annealed sampling", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: power });
        }
        Ok(Self { settings, power, step_sizes: vec![settings.step_size; settings.intermediate] })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &AnnealedSampling {
        &self.settings
    }

    /// The step size at each intermediate density.
    #[must_use]
    pub fn step_sizes(&self) -> &[f64] {
        &self.step_sizes
    }

    /// Sets the step sizes, to those of an earlier run.
    ///
    /// # Errors
    /// [`Error::Rows`] unless there is one for each intermediate density; [`Error::Parameter`] unless
    /// all are positive and finite.
    pub fn set_step_sizes(&mut self, step_sizes: Vec<f64>) -> Result<()> {
        let (expected, got) = (self.step_sizes.len(), step_sizes.len());
        if expected != got {
            return Err(Error::Rows { op: "step sizes of annealed sampling", expected, got });
        }
        if let Some(&value) = step_sizes.iter().find(|h| !(**h > 0.0 && h.is_finite())) {
            let (name, requirement) = ("step_size", "positive and finite");
            return Err(Error::Parameter { name, requirement, value });
        }
        self.step_sizes = step_sizes;
        Ok(())
    }

    /// Draws `rows` points of the flow and anneals them to the end of the path.
    ///
    /// # Errors
    /// [`Error::Dimension`] if flow and target differ; those of the flow and of the target;
    /// [`Error::NonFinite`] with the number of the draw where a draw of the flow has a density that is
    /// neither finite nor zero.
    pub fn draw<E: Real>(
        &self,
        flow: &Flow<E>,
        target: &dyn Target,
        rows: usize,
        rng: &mut Stream,
    ) -> Result<Annealed> {
        let (expected, got) = (flow.dim(), target.dim());
        if expected != got {
            return Err(Error::Dimension { op: "target density", expected, got });
        }
        let from = FlowDensity::new(flow);
        let path = GeometricPath { from: &from, to: target };
        let mut all = Annealed {
            draws: Vec::with_capacity(rows * flow.dim()),
            log_proposal: Vec::with_capacity(rows),
            log_target: Vec::with_capacity(rows),
            log_weights: Vec::with_capacity(rows),
            acceptance: vec![0.0; self.settings.intermediate],
            work: Work::default(),
        };
        while all.log_weights.len() < rows {
            let done = all.log_weights.len();
            let count = CHUNK.min(rows - done);
            let (x, work) = flow.sample(count, &Context::none(), rng)?;
            all.work += work;
            let points = x.values().iter().map(|v| v.as_f64()).collect();
            let start = path.evaluate(points).and_then(States::checked);
            let mut states = start.map_err(|error| error.in_rows_from(done))?;
            let (log_weights, acceptance) = self.anneal(&path, &mut states, rng)?;
            for (total, mean) in all.acceptance.iter_mut().zip(acceptance) {
                *total += mean * count as f64 / rows as f64;
            }
            all.log_weights.extend(log_weights);
            all.draws.extend(states.points);
            all.log_proposal.extend(states.from);
            all.log_target.extend(states.to);
        }
        all.work += from.work();
        Ok(all)
    }

    /// Moves all states along the path; the weights, and the mean acceptance at each density between.
    fn anneal(
        &self,
        path: &GeometricPath<'_>,
        states: &mut States,
        rng: &mut Stream,
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let power = self.power;
        let AnnealedSampling { intermediate, transitions, leapfrog_steps, .. } = self.settings;
        let mut log_weights = vec![0.0; states.from.len()];
        let mut acceptance = Vec::with_capacity(intermediate);
        let mut before = 0.0;
        for (level, &step_size) in self.step_sizes.iter().enumerate() {
            let at = power * (level + 1) as f64 / (intermediate + 1) as f64;
            states.add_increments(&mut log_weights, at - before);
            let settings = Hamiltonian { at, step_size, leapfrog_steps };
            let mut mean = 0.0;
            for _ in 0..transitions {
                mean += transition(path, settings, states, rng)? / transitions as f64;
            }
            acceptance.push(mean);
            before = at;
        }
        states.add_increments(&mut log_weights, power - before);
        Ok((log_weights, acceptance))
    }

    /// Multiplies each step size by e^(gain (acceptance - 0.65)): larger where more was accepted. A gain
    /// of 1 finds the order of magnitude; a small one settles, where the acceptance falls steeply since
    /// trajectories become unstable.
    pub fn adapt(&mut self, annealed: &Annealed, gain: f64) {
        for (step_size, acceptance) in self.step_sizes.iter_mut().zip(&annealed.acceptance) {
            *step_size *= (gain * (acceptance - ACCEPTANCE)).exp();
        }
    }

    /// Adapts the step sizes by `rounds` rounds of `rows` draws that are thrown away, with gains that
    /// fall as the inverse root of their number (Robbins, Monro, *A stochastic approximation method*, Ann. Math. Stat. 22, 1951).
    ///
    /// # Errors
    /// As [`draw`](Self::draw).
    pub fn tune<E: Real>(
        &mut self,
        flow: &Flow<E>,
        target: &dyn Target,
        (rounds, rows): (usize, usize),
        rng: &mut Stream,
    ) -> Result<()> {
        for round in 0..rounds {
            let annealed = self.draw(flow, target, rows, rng)?;
            self.adapt(&annealed, 1.0 / ((round + 1) as f64).sqrt());
        }
        Ok(())
    }
}
