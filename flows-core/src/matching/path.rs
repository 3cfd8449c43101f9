//! Conditional probability paths x_s = a(s) x1 + b(s) x0.

use serde::{Deserialize, Serialize};

use super::Pairs;
use crate::{Error, Real, Result};

/// The conditional probability path from a base draw x0 at s = 0 to a data row x1 at s = 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProbabilityPath {
    /// A straight line at constant speed.
    OptimalTransport(OptimalTransport),
    /// The diffusion path of constant variance, reversed in time.
    VariancePreserving(VariancePreserving),
}

/// The optimal-transport path: straight lines that end in N(x1, sigma_min^2 I).
///
/// ```text
/// x_s = s x1 + (1 - (1 - sigma_min) s) x0,   dx_s/ds = x1 - (1 - sigma_min) x0
/// ```
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `sigma_min` | 1e-4 | standard deviation about x1 at s = 1 | [0, 1) |
///
/// # Reference
/// Lipman, Chen, Ben-Hamu, Nickel, Le, *Flow Matching for Generative Modeling*, ICLR 2023,
/// eq. 20-23. <https://arxiv.org/abs/2210.02747>
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimalTransport {
    /// Standard deviation about the data row at s = 1.
    pub sigma_min: f64,
}

/// The variance-preserving diffusion path with the linear schedule beta(t) = beta_min + (beta_max -
/// beta_min) t, from noise at s = 0 to data at s = 1; with t = 1 - s,
///
/// ```text
/// T = integral of beta over [0, t] = beta_min t + (beta_max - beta_min) t^2 / 2
/// x_s = a x1 + b x0,   a = e^(-T/2),   b = sqrt(1 - a^2)
/// dx_s/ds = (beta(t) / 2) (a x1 - (a^2 / b) x0)
/// ```
///
/// # Domain
/// The start holds e^(-T/2) = 0.0066 of x1 (at t = 1, with the defaults), so the base of the flow
/// is met approximately. The velocity grows like (1 - s)^(-1/2) towards s = 1, and its mean square
/// has no finite integral: times end at 1 - 1e-5, as in the paper, where b = 1e-3.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `beta_min` | 0.1 | rate at the data | [0, `beta_max`] |
/// | `beta_max` | 20 | rate at the noise | [1, 1000] |
///
/// # Reference
/// Lipman, Chen, Ben-Hamu, Nickel, Le, *Flow Matching for Generative Modeling*, ICLR 2023,
/// eq. 18-19. <https://arxiv.org/abs/2210.02747>; the schedule is of Song, Sohl-Dickstein,
/// Kingma, Kumar, Ermon, Poole, *Score-Based Generative Modeling through Stochastic Differential
/// Equations*, ICLR 2021. <https://arxiv.org/abs/2011.13456>
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariancePreserving {
    /// Rate at the data.
    pub beta_min: f64,
    /// Rate at the noise.
    pub beta_max: f64,
}

/// The weights of x_s = data x1 + base x0 at one s, with their derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Weight of x1.
    pub data: f64,
    /// Weight of x0.
    pub base: f64,
    /// Derivative of `data` in s.
    pub data_rate: f64,
    /// Derivative of `base` in s.
    pub base_rate: f64,
}

/// Distance from s = 1 at which the variance-preserving path ends.
const SINGULAR: f64 = 1e-5;

impl Default for ProbabilityPath {
    fn default() -> Self {
        Self::OptimalTransport(OptimalTransport::default())
    }
}

impl Default for OptimalTransport {
    fn default() -> Self {
        Self { sigma_min: 1e-4 }
    }
}

impl Default for VariancePreserving {
    fn default() -> Self {
        Self { beta_min: 0.1, beta_max: 20.0 }
    }
}

impl ProbabilityPath {
    /// # Errors
    /// [`Error::Parameter`] for a value outside its range.
    pub fn check(&self) -> Result<()> {
        let refused = |name, requirement, value| Err(Error::Parameter { name, requirement, value });
        match *self {
            Self::OptimalTransport(OptimalTransport { sigma_min: value })
                if !(0.0..1.0).contains(&value) =>
            {
                refused("sigma_min", "at least 0 and below 1", value)
            }
            Self::VariancePreserving(VariancePreserving { beta_max: value, .. })
                if !(1.0..=1000.0).contains(&value) =>
            {
                refused("beta_max", "between 1 and 1000", value)
            }
            Self::VariancePreserving(VariancePreserving { beta_min: value, beta_max })
                if !(0.0..=beta_max).contains(&value) =>
            {
                refused("beta_min", "between 0 and beta_max", value)
            }
            _ => Ok(()),
        }
    }

    /// The weights at `s` in [0, 1); the variance-preserving velocity is infinite at 1.
    #[must_use]
    pub fn at(&self, s: f64) -> Weights {
        match *self {
            Self::OptimalTransport(OptimalTransport { sigma_min }) => {
                let base_rate = sigma_min - 1.0;
                Weights { data: s, base: base_rate.mul_add(s, 1.0), data_rate: 1.0, base_rate }
            }
            Self::VariancePreserving(VariancePreserving { beta_min, beta_max }) => {
                let (t, slope) = (1.0 - s, beta_max - beta_min);
                let integral = t * (beta_min + 0.5 * slope * t);
                let half_rate = 0.5 * (beta_min + slope * t);
                let data = (-0.5 * integral).exp();
                // 1 - a^2 without the cancellation near the data.
                let base = (-(-integral).exp_m1()).sqrt();
                let base_rate = -half_rate * data * data / base;
                Weights { data, base, data_rate: half_rate * data, base_rate }
            }
        }
    }

    /// The largest s that is drawn, below 1 also after rounding to `E`.
    pub(super) fn end<E: Real>(&self) -> f64 {
        match self {
            Self::OptimalTransport(_) => 1.0 - E::epsilon().as_f64(),
            Self::VariancePreserving(_) => 1.0 - SINGULAR,
        }
    }

    /// x_s and dx_s/ds of each row at its own s.
    pub(super) fn pairs<E: Real>(&self, times: Vec<E>, x0: &[E], x1: &[E], dim: usize) -> Pairs<E> {
        let mut points = Vec::with_capacity(x1.len());
        let mut velocities = Vec::with_capacity(x1.len());
        for ((&s, x0), x1) in times.iter().zip(x0.chunks_exact(dim)).zip(x1.chunks_exact(dim)) {
            let Weights { data, base, data_rate, base_rate } = self.at(s.as_f64());
            let sum = |data: f64, base: f64| {
                let (data, base) = (E::of(data), E::of(base));
                x0.iter().zip(x1).map(move |(&x0, &x1)| data * x1 + base * x0)
            };
            points.extend(sum(data, base));
            velocities.extend(sum(data_rate, base_rate));
        }
        Pairs { times, points, velocities }
    }
}
