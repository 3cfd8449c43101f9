//! Log-determinants of contractive residual layers.

use flows_core::{Error, Exactness, Real, Result, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Method for log |det(I + J)|, J the Jacobian of a residual with Lipschitz constant L < 1.
///
/// ```text
/// log det(I + J) = sum over k >= 1 of (-1)^(k+1) / k tr J^k,   tr A = E[v^T A v]
/// ```
/// with Rademacher probes v. The two estimates have [`Exactness::Estimated`].
///
/// # Reference
/// Behrmann et al., *Invertible Residual Networks*, ICML 2019, section 3,
/// <https://arxiv.org/abs/1811.00995>; Chen et al., *Residual Flows for Invertible Generative
/// Modeling*, NeurIPS 2019, section 3, <https://arxiv.org/abs/1906.02735>.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Determinant {
    /// Exact, from the dense Jacobian: one pass with D tangents, and O(D^3) a row.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Exact,
    /// The truncated series: one pass for each term, with one tangent a probe. Biased by at most
    /// `-D (ln(1 - L) + sum of L^k / k, k <= terms)`.
    Series {
        /// Terms n.
        terms: usize,
        /// Probes of a row.
        probes: usize,
    },
    /// The Russian roulette estimator: a random number of terms, each divided by the probability that
    /// it is reached; unbiased.
    ///
    /// The number is `exact_terms` + N with P(N >= k) = (1 - probability)^k, one N for all rows of
    /// a call. The variance is finite if L^2 < 1 - probability.
    Roulette {
        /// Terms that are always computed, at least 1.
        exact_terms: usize,
        /// Probability to stop before each further term, from 0.01 to below 1.
        probability: f64,
        /// Probes of a row.
        probes: usize,
    },
}

/// Factors of v^T J^k v, k = 1, 2, .., in an estimate of the log-det, and of J^k v, k = 0, 1, ..,
/// in one of (I + J)^-1 v, the Neumann series, without the 1 / k of the first.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub(super) log_det: Vec<f64>,
    pub(super) neumann: Vec<f64>,
}

impl Determinant {
    /// # Errors
    /// [`Error::Parameter`] for a number of terms or probes outside 1 to 1000, or a probability
    /// outside its range.
    pub(super) fn check(self) -> Result<()> {
        let (terms, probes) = match self {
            Self::Exact => return Ok(()),
            Self::Series { terms, probes } => (terms, probes),
            Self::Roulette { exact_terms, probes, probability } => {
                if !(0.01..1.0).contains(&probability) {
                    let (name, requirement) = ("probability of the roulette", "in [0.01, 1)");
                    return Err(Error::Parameter { name, requirement, value: probability });
                }
                (exact_terms, probes)
            }
        };
        for (name, count) in [("terms of the log-det series", terms), ("probes", probes)] {
            if !(1..=1_000).contains(&count) {
                let requirement = "between 1 and 1000";
                return Err(Error::Parameter { name, requirement, value: count as f64 });
            }
        }
        Ok(())
    }

    /// Whether log-dets are exact.
    pub(super) fn exactness(self) -> Exactness {
        if self == Self::Exact { Exactness::Exact } else { Exactness::Estimated }
    }

    /// Probes of a row.
    pub(super) fn probes(self) -> usize {
        match self {
            Self::Exact => 0,
            Self::Series { probes, .. } | Self::Roulette { probes, .. } => probes,
        }
    }

    /// Factors of an estimate, with a random number of terms for the roulette.
    ///
    /// The truncated Neumann series ends one power earlier, which makes it the gradient of the
    /// truncated log-det; the roulette uses every computed power.
    pub(super) fn weights(self, rng: &mut Stream) -> Option<Weights> {
        match self {
            Self::Exact => None,
            Self::Series { terms, .. } => {
                let mut weights = Weights::up_to(terms, |_| 1.0);
                weights.neumann.pop();
                Some(weights)
            }
            Self::Roulette { exact_terms, probability, .. } => {
                let uniform = 1.0 - rng.random::<f64>();
                let further = (uniform.ln() / (1.0 - probability).ln()) as usize;
                Some(Weights::up_to(exact_terms + further, |k| {
                    (1.0 - probability).powf(k.saturating_sub(exact_terms) as f64)
                }))
            }
        }
    }
}

impl Weights {
    fn up_to(terms: usize, reached: impl Fn(usize) -> f64) -> Self {
        let sign = |k: usize| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        Self {
            log_det: (1..=terms).map(|k| -sign(k) / (k as f64 * reached(k))).collect(),
            neumann: (0..=terms).map(|k| sign(k) / reached(k)).collect(),
        }
    }
}

/// `count` independent signs.
pub(super) fn signs<E: Real>(count: usize, rng: &mut Stream) -> Vec<E> {
    (0..count).map(|_| if rng.random::<bool>() { E::one() } else { -E::one() }).collect()
}
