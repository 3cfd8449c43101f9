//! Rejection sampling with a flow as proposal (review, Section 6.2.1).
//!
//! A draw x of the flow is kept with probability w(x) / M, w = p~/q; kept draws follow the target
//! exactly if M bounds w. The bound of a flow's weights is not known: it is estimated by the largest
//! weight of the draws themselves, so that kept draws are exact only as far as that is the bound.

use flows_core::Stream;
use rand::RngExt;

use crate::Weighted;

/// Draws that were kept.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The draws, row after row.
    pub draws: Vec<f64>,
    /// The logarithm of the bound in nats, the largest log-weight.
    pub log_bound: f64,
    /// The share of the draws that were kept: Z / M.
    pub share: f64,
}

impl Accepted {
    /// Keeps each draw with the probability of its weight over the largest.
    #[must_use]
    pub fn of(weighted: &Weighted, rng: &mut Stream) -> Self {
        let weights = weighted.log_weights.values();
        let log_bound = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let dim = weighted.draws.len() / weights.len();
        let mut draws = Vec::new();
        for (row, weight) in weighted.draws.chunks(dim).zip(weights) {
            if rng.random::<f64>() < (weight - log_bound).exp() {
                draws.extend_from_slice(row);
            }
        }
        let share = (draws.len() / dim) as f64 / weights.len() as f64;
        Self { draws, log_bound, share }
    }
}
