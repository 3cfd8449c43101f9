//! Objectives for flows as proposals of importance sampling (review, Section 6.2.1).
//!
//! Reverse KL prefers a flow that leaves out modes, which importance weights punish. These objectives see
//! the weights w = p~/q of the flow's own draws.

mod alpha_divergence;
mod doubly_reparameterised;
mod forward_kl;
mod importance_bound;

use flows_core::train::StepLoss;
use flows_core::{Context, Error, Flow, Loss, Real, Result, Stream, Tape, Target, Values};

pub use self::alpha_divergence::{alpha_divergence, alpha_divergence_of_weights};
pub use self::forward_kl::self_normalised_forward_kl;
pub use self::importance_bound::{importance_bound, importance_bound_of_weights};

/// An objective with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ImportanceObjective {
    /// See [`self_normalised_forward_kl`].
    ForwardKl,
    /// See [`alpha_divergence`].
    AlphaDivergence {
        /// Its order; 2 for chi squared.
        alpha: f64,
    },
    /// See [`importance_bound`]; a step takes as many bounds as their draws fit into its rows.
    ImportanceBound {
        /// Draws of a bound, at least 1.
        draws: usize,
    },
}

/// An objective on a density, for [`Trainer`](flows_core::train::Trainer) as
/// [`TrainingData::Loss`](flows_core::train::TrainingData::Loss). A step takes as many draws as a
/// minibatch has rows, and it is validated by its own value on other draws.
#[derive(Clone, Copy, Debug)]
pub struct ImportanceLoss<'a> {
    /// The objective.
    pub objective: ImportanceObjective,
    /// The density.
    pub target: &'a dyn Target,
}

impl<E: Real> StepLoss<E> for ImportanceLoss<'_> {
    fn dim(&self) -> usize {
        self.target.dim()
    }

    fn loss(&self, flow: &Flow<E>, rows: usize, _: f64, rng: &mut Stream) -> Result<Loss<E>> {
        let target = self.target;
        match self.objective {
            ImportanceObjective::ForwardKl => self_normalised_forward_kl(flow, target, rows, rng),
            ImportanceObjective::AlphaDivergence { alpha } => {
                alpha_divergence(flow, target, rows, alpha, rng)
            }
            ImportanceObjective::ImportanceBound { draws } => {
                let bounds = (rows / draws.max(1)).max(1);
                importance_bound(flow, target, (bounds, draws), rng)
            }
        }
    }

    fn validation(&self, flow: &Flow<E>, rows: usize, rng: &mut Stream) -> Result<Option<f64>> {
        let value = match self.objective {
            ImportanceObjective::ForwardKl => {
                alpha_divergence_of_weights(&log_weights(flow, self.target, rows, rng)?, 1.0)
            }
            ImportanceObjective::AlphaDivergence { alpha } => {
                alpha_divergence_of_weights(&log_weights(flow, self.target, rows, rng)?, alpha)
            }
            ImportanceObjective::ImportanceBound { draws } => {
                let draws = draws.max(1);
                let rows = (rows / draws).max(1) * draws;
                importance_bound_of_weights(&log_weights(flow, self.target, rows, rng)?, draws)
            }
        };
        Ok(Some(value))
    }
}

/// log p~ - log q of draws of the flow.
fn log_weights<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    rows: usize,
    rng: &mut Stream,
) -> Result<Vec<f64>> {
    check(flow, target, rows)?;
    let drawn = flow.sample_and_log_prob(rows, &Context::none(), &mut Tape::none(), rng)?;
    let points: Vec<f64> = drawn.value.values().iter().map(|v| v.as_f64()).collect();
    let log_target = target.log_densities(&points)?;
    let log_q = drawn.log_prob.values();
    checked(log_target.iter().zip(log_q).map(|(p, q)| p - q.as_f64()).collect())
}

fn check<E: Real>(flow: &Flow<E>, target: &dyn Target, rows: usize) -> Result<()> {
    let (expected, got) = (flow.dim(), target.dim());
    if expected != got {
        return Err(Error::Dimension { op: "target density", expected, got });
    }
    if rows == 0 {
        let (name, requirement) = ("draws of the objective", "at least 1");
        return Err(Error::Parameter { name, requirement, value: 0.0 });
    }
    Ok(())
}

/// The same log-weights, unless one is neither finite nor minus infinity or all are minus infinity.
fn checked(log_weights: Vec<f64>) -> Result<Vec<f64>> {
    Ok(crate::LogWeights::new(log_weights)?.values().to_vec())
}

/// log mean exp of values of which one is above minus infinity.
fn log_mean_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    let sum: f64 = values.iter().map(|v| (v - largest).exp()).sum();
    largest + (sum / values.len() as f64).ln()
}
