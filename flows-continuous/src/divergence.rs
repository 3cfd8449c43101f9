//! The trace of the Jacobian of a vector field: exact, or estimated with probes (review, Section 4).

use flows_core::operation::LANES;
use flows_core::{Error, LogDet, Real, Result, Stream, normals};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Distribution of probe vectors; both have mean 0 and covariance I.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Independent signs: variance 2 (|A|_F^2 - sum of a_ii^2) for the symmetric part A.
    #[default]
    Rademacher,
    /// Standard normal: variance 2 |A|_F^2.
    Gaussian,
}

/// How the divergence is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// All D tangents in one widened product.
    Exact,
    /// The mean of v^T J v over probes v, unbiased; probes are fixed for a whole solve.
    Hutchinson(Hutchinson),
}

/// Hutchinson's estimator.
///
/// # Reference
/// Hutchinson, *A stochastic estimator of the trace of the influence matrix*, 1989; Grathwohl et
/// al., *FFJORD*, ICLR 2019, eq. 7-8. <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hutchinson {
    /// Probes of a row.
    pub probes: usize,
    /// Their distribution.
    pub distribution: Probe,
}

impl Default for Hutchinson {
    fn default() -> Self {
        Self { probes: 1, distribution: Probe::default() }
    }
}

impl Divergence {
    /// # Errors
    /// [`Error::Parameter`] without probes, or with more than are of any use.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Hutchinson(Hutchinson { probes, .. }) if !(1..=1_000).contains(&probes) => {
                let (name, requirement) = ("probes", "between 1 and 1000");
                Err(Error::Parameter { name, requirement, value: probes as f64 })
            }
            _ => Ok(()),
        }
    }

    /// Tangents behind each value.
    pub(crate) fn tangents(self, dim: usize) -> usize {
        match self {
            Self::Exact => dim,
            Self::Hutchinson(Hutchinson { probes, .. }) => probes,
        }
    }

    /// Whether log-dets are exact.
    #[must_use]
    pub fn log_det(self) -> LogDet {
        match self {
            Self::Exact => LogDet::Exact,
            Self::Hutchinson(_) => LogDet::Estimate,
        }
    }

    /// Factor of the sum over tangents.
    pub(crate) fn weight(self) -> f64 {
        match self {
            Self::Exact => 1.0,
            Self::Hutchinson(Hutchinson { probes, .. }) => 1.0 / probes as f64,
        }
    }

    /// The probes of `rows` rows, row by row, probe after probe; nothing for the exact trace.
    pub(crate) fn draw<E: Real>(self, rows: usize, dim: usize, rng: &mut Stream) -> Vec<E> {
        let Self::Hutchinson(Hutchinson { probes, distribution }) = self else {
            return Vec::new();
        };
        let count = rows * probes * dim;
        match distribution {
            Probe::Gaussian => normals(count, rng),
            Probe::Rademacher => (0..count)
                .map(|_| if rng.random::<bool>() { E::one() } else { -E::one() })
                .collect(),
        }
    }

    /// Writes the directions of a block behind the values of `state`, `(dim, (1 + P) LANES)`:
    /// unit vectors, or the `probes`, `(P dim, LANES)`.
    pub(crate) fn write_directions<E: Real>(self, dim: usize, probes: &[E], state: &mut [E]) {
        let tangents = self.tangents(dim);
        for (i, row) in state.chunks_exact_mut((1 + tangents) * LANES).enumerate() {
            for (p, target) in row[LANES..].chunks_exact_mut(LANES).enumerate() {
                match self {
                    Self::Exact => target.fill(if p == i { E::one() } else { E::zero() }),
                    Self::Hutchinson(_) => {
                        let source = (p * dim + i) * LANES;
                        target.copy_from_slice(&probes[source..source + LANES]);
                    }
                }
            }
        }
    }

    /// Sum over tangents of direction times velocity tangent, for every lane.
    pub(crate) fn trace<E: Real>(self, dim: usize, state: &[E], velocity: &[E], trace: &mut [E]) {
        let stride = (1 + self.tangents(dim)) * LANES;
        let weight = E::of(self.weight());
        trace.fill(E::zero());
        for (i, (state, velocity)) in
            state.chunks_exact(stride).zip(velocity.chunks_exact(stride)).enumerate()
        {
            for (direction, tangent) in self.groups(i, &state[LANES..], &velocity[LANES..]) {
                for ((sum, &direction), &tangent) in trace.iter_mut().zip(direction).zip(tangent) {
                    *sum += weight * direction * tangent;
                }
            }
        }
    }

    /// Writes the gradient of the velocity's tangents that the gradient of the trace asks for.
    pub(crate) fn pull<E: Real>(
        self,
        dim: usize,
        state: &[E],
        d_trace: &[E],
        d_velocity: &mut [E],
    ) {
        let stride = (1 + self.tangents(dim)) * LANES;
        let weight = E::of(self.weight());
        for (state, gradient) in state.chunks_exact(stride).zip(d_velocity.chunks_exact_mut(stride))
        {
            let directions = state[LANES..].chunks_exact(LANES);
            for (direction, gradient) in directions.zip(gradient[LANES..].chunks_exact_mut(LANES)) {
                for ((gradient, &direction), &outer) in
                    gradient.iter_mut().zip(direction).zip(d_trace)
                {
                    *gradient = weight * direction * outer;
                }
            }
        }
    }

    /// The pairs of direction and tangent of feature `i` that are not zero.
    fn groups<'a, E>(
        self,
        i: usize,
        directions: &'a [E],
        tangents: &'a [E],
    ) -> impl Iterator<Item = (&'a [E], &'a [E])> {
        let exact = self == Self::Exact;
        directions
            .chunks_exact(LANES)
            .zip(tangents.chunks_exact(LANES))
            .enumerate()
            .filter(move |(p, _)| !exact || *p == i)
            .map(|(_, pair)| pair)
    }
}
