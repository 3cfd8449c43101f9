//! The trace of the Jacobian of a vector field: exact, or estimated with probes (review, Section 4).

use std::ops::Range;

use flows_core::operation::LANES;
use flows_core::{Error, Exactness, Real, Result, Stream, normals};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::dynamics::orthogonal::{orthonormalise, project_out};
use crate::field::Structure;
use crate::requirement::require;

/// Distribution of probe vectors, with mean 0 and covariance I.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Independent signs: variance 2 (|A|_F^2 - sum of a_ii^2) for the symmetric part A.
    #[default]
    Rademacher,
    /// Standard normal: variance 2 |A|_F^2.
    Gaussian,
    /// Orthogonal probes of length sqrt(D), uniform in direction. At most D are drawn; with D the
    /// trace is exact.
    Orthogonal,
}

/// Method for the divergence, the trace of the Jacobian.
///
/// All but the last two are sums of w u^T J u over directions u with weights w, from one pass with
/// tangents. Probes are fixed for a whole solve, which keeps the ODE deterministic and the estimate
/// unbiased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Divergence {
    /// Exact, by all D tangents in one widened product.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Exact,
    /// Hutchinson's estimator: the mean of v^T J v over probes v; unbiased.
    Hutchinson(Hutchinson),
    /// Hutch++: exact on the range of a sketch of the Jacobian, estimated off it; unbiased.
    HutchPlusPlus(HutchPlusPlus),
    /// Exact, in closed form, by the structure of the field.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Closed,
    /// Hutchinson's estimator in the narrow layer of the field: tr(AB) = tr(BA); unbiased.
    Bottleneck(Hutchinson),
}

/// Settings of Hutchinson's estimator.
///
/// # Reference
/// Hutchinson, *A stochastic estimator of the trace of the influence matrix*, 1989; Grathwohl et
/// al., *FFJORD*, ICLR 2019, eq. 7-8. <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hutchinson {
    /// Probes for each row.
    pub probes: usize,
    /// Their distribution.
    pub distribution: Probe,
}

impl Default for Hutchinson {
    fn default() -> Self {
        Self { probes: 1, distribution: Probe::default() }
    }
}

impl Hutchinson {
    /// Number of probes for vectors of `width` entries.
    fn count(self, width: usize) -> usize {
        match self.distribution {
            Probe::Orthogonal => self.probes.min(width),
            _ => self.probes,
        }
    }
}

/// Hutch++: with Q an orthonormal basis of J S for a random sketch S,
/// ```text
/// tr J ~ tr(Q^T J Q) + mean over probes g of g^T (I - Q Q^T) J (I - Q Q^T) g
/// ```
/// unbiased for any Q that does not depend on g. Q is computed at the start of a solve and then
/// fixed; gradients treat it as a constant, which leaves them unbiased. With a sketch of D columns
/// the trace is exact, unless sign vectors happen to be parallel.
///
/// # Reference
/// Meyer, Musco, Musco, Woodruff, *Hutch++: Optimal Stochastic Trace Estimation*, SOSA 2021.
/// <https://arxiv.org/abs/2010.09649>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HutchPlusPlus {
    /// Columns of the sketch; at most D.
    pub sketch: usize,
    /// Probes off the range of the sketch.
    pub probes: usize,
    /// Distribution of probes and sketch.
    pub distribution: Probe,
}

impl Default for HutchPlusPlus {
    fn default() -> Self {
        Self { sketch: 1, probes: 1, distribution: Probe::default() }
    }
}

impl HutchPlusPlus {
    /// The estimator off the range of the sketch.
    fn off(self) -> Hutchinson {
        Hutchinson { probes: self.probes, distribution: self.distribution }
    }
}

/// Most probes of a row.
const MOST_PROBES: usize = 1_000;

impl Divergence {
    /// Checks that a field of this dimension and structure supports the method.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 probes or more than are useful; [`Error::Unavailable`] for a
    /// field without the structure.
    pub fn check(self, dim: usize, structure: Structure) -> Result<()> {
        let unavailable = |what, advice| Err(Error::Unavailable { what, advice });
        if structure == Structure::Potential && self != Self::Closed {
            let what = "a divergence by tangents of a potential field";
            return unavailable(what, "choose `closed`, which is exact and costs no more");
        }
        match self {
            Self::Exact => Ok(()),
            Self::Closed if structure.is_exact() => Ok(()),
            Self::Closed => unavailable(
                "the divergence `closed`",
                "choose a field with a closed trace (potential, planar, equivariant), or `exact`",
            ),
            Self::Hutchinson(Hutchinson { probes, .. }) => check_probes(probes),
            Self::HutchPlusPlus(HutchPlusPlus { sketch, probes, .. }) => {
                let requirement = "between 1 and the number of features";
                require((1..=dim).contains(&sketch), "sketch", requirement, sketch as f64)?;
                check_probes(probes)
            }
            Self::Bottleneck(Hutchinson { probes, .. }) => match structure {
                Structure::Bottleneck(_) => check_probes(probes),
                _ => unavailable(
                    "the divergence `bottleneck`",
                    "choose a field with a narrow layer, or `hutchinson`",
                ),
            },
        }
    }

    /// Whether log-dets are exact.
    #[must_use]
    pub fn exactness(self) -> Exactness {
        match self {
            Self::Exact | Self::Closed => Exactness::Exact,
            _ => Exactness::Estimated,
        }
    }

    /// Whether the field is asked for its structure instead of tangents.
    pub(crate) fn is_structural(self) -> bool {
        matches!(self, Self::Closed | Self::Bottleneck(_))
    }

    /// Number of tangents after each value.
    pub(crate) fn tangents(self, dim: usize) -> usize {
        match self {
            Self::Exact => dim,
            Self::Hutchinson(h) => h.count(dim),
            Self::HutchPlusPlus(h) => h.sketch + h.off().count(dim),
            Self::Closed | Self::Bottleneck(_) => 0,
        }
    }

    /// Weight of a direction in the sum.
    fn weight(self, dim: usize, direction: usize) -> f64 {
        match self {
            Self::Hutchinson(h) => 1.0 / h.count(dim) as f64,
            Self::HutchPlusPlus(h) if direction >= h.sketch => 1.0 / h.off().count(dim) as f64,
            _ => 1.0,
        }
    }

    /// Number of random values for a row.
    pub(crate) fn noise(self, dim: usize, structure: Structure) -> usize {
        match (self, structure) {
            (Self::Bottleneck(h), Structure::Bottleneck(width)) => h.count(width) * width,
            (Self::Hutchinson(_) | Self::HutchPlusPlus(_), _) => self.tangents(dim) * dim,
            _ => 0,
        }
    }

    /// Draws the probes of `rows` rows, row by row, probe after probe.
    pub(crate) fn draw<E: Real>(
        self,
        rows: usize,
        dim: usize,
        structure: Structure,
        rng: &mut Stream,
    ) -> Vec<E> {
        let count = rows * self.noise(dim, structure);
        let (distribution, width) = match (self, structure) {
            (Self::Bottleneck(h), Structure::Bottleneck(width)) => (h.distribution, width),
            (Self::HutchPlusPlus(h), _) => (h.distribution, dim),
            (Self::Hutchinson(h), _) => (h.distribution, dim),
            _ => return Vec::new(),
        };
        match distribution {
            Probe::Gaussian => normals(count, rng),
            Probe::Rademacher => (0..count)
                .map(|_| if rng.random::<bool>() { E::one() } else { -E::one() })
                .collect(),
            Probe::Orthogonal => {
                let mut values: Vec<E> = normals(count, rng);
                let length = E::of((width as f64).sqrt());
                // Probes that were orthogonal to the sketch would depend on it.
                let sketch = match self {
                    Self::HutchPlusPlus(h) => h.sketch * dim,
                    _ => 0,
                };
                for row in values.chunks_exact_mut(self.noise(dim, structure)) {
                    let (sketch, probes) = row.split_at_mut(sketch);
                    orthonormalise(sketch, width, 1);
                    orthonormalise(probes, width, 1);
                    row.iter_mut().for_each(|v| *v *= length);
                }
                values
            }
        }
    }

    /// Writes the directions of a block after the values of `state`, `(dim, (1 + P) LANES)`: unit
    /// vectors, or `probes`, `(P dim, LANES)`. For Hutch++, `sketched` maps the sketch, the first
    /// directions, to its image under the Jacobian.
    pub(crate) fn write_directions<E: Real>(
        self,
        dim: usize,
        probes: &[E],
        state: &mut [E],
        sketched: impl FnOnce(&[E]) -> Vec<E>,
    ) {
        let tangents = self.tangents(dim);
        if let Self::HutchPlusPlus(HutchPlusPlus { sketch, .. }) = self {
            let (sketch, others) = probes.split_at(sketch * dim * LANES);
            let mut basis = sketched(sketch);
            orthonormalise(&mut basis, dim, LANES);
            let mut others = others.to_vec();
            for probe in others.chunks_exact_mut(dim * LANES) {
                project_out(&basis, probe, dim, LANES);
            }
            basis.extend(others);
            return write_probes(&basis, dim, tangents, state);
        }
        if self == Self::Exact {
            for (i, row) in state.chunks_exact_mut((1 + tangents) * LANES).enumerate() {
                for (p, target) in row[LANES..].chunks_exact_mut(LANES).enumerate() {
                    target.fill(if p == i { E::one() } else { E::zero() });
                }
            }
        } else {
            write_probes(probes, dim, tangents, state);
        }
    }

    /// Weight of each tangent of each feature and its place in a block of states or velocities.
    fn tangents_of<E: Real>(self, dim: usize) -> impl Iterator<Item = (E, Range<usize>)> {
        let tangents = self.tangents(dim);
        (0..dim).flat_map(move |feature| {
            (0..tangents).map(move |p| {
                let first = (feature * (1 + tangents) + 1 + p) * LANES;
                (E::of(self.weight(dim, p)), first..first + LANES)
            })
        })
    }

    /// Those of the trace: for unit vectors the diagonal.
    fn traced<E: Real>(self, dim: usize) -> impl Iterator<Item = (E, Range<usize>)> {
        let apart = if self == Self::Exact { dim + 1 } else { 1 };
        self.tangents_of(dim).step_by(apart)
    }

    /// Writes the trace: the weighted sum of direction times velocity tangent, for every lane.
    pub(crate) fn trace<E: Real>(self, dim: usize, state: &[E], velocity: &[E], trace: &mut [E]) {
        trace.fill(E::zero());
        for (weight, at) in self.traced::<E>(dim) {
            let pairs = state[at.clone()].iter().zip(&velocity[at]);
            for (sum, (&direction, &tangent)) in trace.iter_mut().zip(pairs) {
                *sum += weight * direction * tangent;
            }
        }
    }

    /// Backward pass of [`trace`](Self::trace): adds to the gradient of the velocity's tangents.
    pub(crate) fn pull<E: Real>(
        self,
        dim: usize,
        state: &[E],
        d_trace: &[E],
        d_velocity: &mut [E],
    ) {
        for (weight, at) in self.traced::<E>(dim) {
            let pairs = state[at.clone()].iter().zip(d_trace);
            for (gradient, (&direction, &outer)) in d_velocity[at].iter_mut().zip(pairs) {
                *gradient += weight * direction * outer;
            }
        }
    }

    /// Adds the weighted squares of the velocity's tangents: |J|_F^2, exact or estimated.
    pub(crate) fn frobenius<E: Real>(self, dim: usize, velocity: &[E], sum: &mut [E]) {
        for (weight, at) in self.tangents_of::<E>(dim) {
            for (sum, &tangent) in sum.iter_mut().zip(&velocity[at]) {
                *sum += weight * tangent * tangent;
            }
        }
    }

    /// Backward pass of [`frobenius`](Self::frobenius): adds 2 w times tangent.
    pub(crate) fn pull_frobenius<E: Real>(
        self,
        dim: usize,
        velocity: &[E],
        outer: &[E],
        d_velocity: &mut [E],
    ) {
        for (weight, at) in self.tangents_of::<E>(dim) {
            let pairs = velocity[at.clone()].iter().zip(outer);
            for (gradient, (&tangent, &outer)) in d_velocity[at].iter_mut().zip(pairs) {
                *gradient += E::of(2.0) * weight * tangent * outer;
            }
        }
    }
}

fn check_probes(probes: usize) -> Result<()> {
    let few = (1..=MOST_PROBES).contains(&probes);
    require(few, "probes", "between 1 and 1000", probes as f64)
}

/// Writes probes, `(P dim, LANES)`, after the values of a state.
fn write_probes<E: Copy>(probes: &[E], dim: usize, tangents: usize, state: &mut [E]) {
    for (i, row) in state.chunks_exact_mut((1 + tangents) * LANES).enumerate() {
        for (p, target) in row[LANES..].chunks_exact_mut(LANES).enumerate() {
            let source = (p * dim + i) * LANES;
            target.copy_from_slice(&probes[source..source + LANES]);
        }
    }
}
