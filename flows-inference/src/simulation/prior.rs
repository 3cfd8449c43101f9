//! Prior distributions of the parameters of a simulator.

use std::f64::consts::TAU;

use flows_core::{Error, Result, Space, Stream, Target};
use rand::RngExt;
use rand_distr::{Open01, StandardNormal};
use serde::{Deserialize, Serialize};

/// A prior p(theta): its normalised log-density and gradient are those of the
/// [`Target`](flows_core::Target) that it is, in nats.
pub trait Prior: Target {
    /// Names of the parameters, as many as [`dim`](Target::dim).
    fn names(&self) -> Vec<String>;

    /// Where each parameter lies; a circle counts as an interval.
    fn support(&self) -> Vec<Space>;

    /// Independent draws, rows x dim, row after row.
    fn sample(&self, rows: usize, rng: &mut Stream) -> Vec<f64>;
}

/// The distribution of one parameter.
///
/// | kind | density | range of the settings |
/// |---|---|---|
/// | `uniform` | 1 / (high - low) on [low, high] | low < high |
/// | `log_uniform` | 1 / (theta ln(high / low)) on [low, high] | 0 < low < high |
/// | `normal` | N(mean, deviation^2) | deviation > 0 |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Marginal {
    /// Uniform on an interval.
    Uniform {
        /// Its lower end.
        low: f64,
        /// Its upper end.
        high: f64,
    },
    /// Uniform in the logarithm.
    LogUniform {
        /// Its lower end.
        low: f64,
        /// Its upper end.
        high: f64,
    },
    /// Normal.
    Normal {
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
    },
}

/// Independent parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductPrior {
    names: Vec<String>,
    marginals: Vec<Marginal>,
}

impl ProductPrior {
    /// A name and a distribution for each parameter.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no parameter or a setting out of its range.
    pub fn new(parameters: Vec<(String, Marginal)>) -> Result<Self> {
        if parameters.is_empty() {
            let (name, requirement) = ("number of parameters of a prior", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        parameters.iter().try_for_each(|(_, marginal)| marginal.check())?;
        let (names, marginals) = parameters.into_iter().unzip();
        Ok(Self { names, marginals })
    }
}

impl Target for ProductPrior {
    fn dim(&self) -> usize {
        self.marginals.len()
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for ((marginal, &value), slope) in self.marginals.iter().zip(point).zip(&mut *gradient) {
            let (log_density, derivative) = marginal.log_density(value);
            total += log_density;
            *slope = derivative;
        }
        if total == f64::NEG_INFINITY {
            gradient.fill(0.0);
        }
        total
    }
}

impl Prior for ProductPrior {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn support(&self) -> Vec<Space> {
        self.marginals.iter().map(|marginal| marginal.support()).collect()
    }

    fn sample(&self, rows: usize, rng: &mut Stream) -> Vec<f64> {
        let row = |_| self.marginals.iter().map(|marginal| marginal.draw(rng)).collect::<Vec<_>>();
        (0..rows).flat_map(row).collect()
    }
}

impl Marginal {
    fn check(self) -> Result<()> {
        let (name, requirement, value, holds) = match self {
            Self::Uniform { low, high } => {
                let holds = low < high && (high - low).is_finite();
                ("width of a uniform prior", "positive and finite", high - low, holds)
            }
            Self::LogUniform { low, .. } if low.is_nan() || low <= 0.0 => {
                ("low of a log-uniform prior", "positive", low, false)
            }
            Self::LogUniform { low, high } => {
                let holds = low < high && high.is_finite();
                ("high of a log-uniform prior", "finite and above low", high, holds)
            }
            Self::Normal { mean, .. } if !mean.is_finite() => {
                ("mean of a normal prior", "finite", mean, false)
            }
            Self::Normal { deviation, .. } => {
                let holds = deviation > 0.0 && deviation.is_finite();
                ("deviation of a normal prior", "positive and finite", deviation, holds)
            }
        };
        if holds { Ok(()) } else { Err(Error::Parameter { name, requirement, value }) }
    }

    fn support(self) -> Space {
        match self {
            Self::Uniform { low, high } | Self::LogUniform { low, high } => {
                Space::Interval([low, high])
            }
            Self::Normal { .. } => Space::Line,
        }
    }

    /// The log-density and its derivative.
    fn log_density(self, value: f64) -> (f64, f64) {
        match self {
            Self::Uniform { low, high } | Self::LogUniform { low, high }
                if !(low..=high).contains(&value) =>
            {
                (f64::NEG_INFINITY, 0.0)
            }
            Self::Uniform { low, high } => (-(high - low).ln(), 0.0),
            Self::LogUniform { low, high } => {
                (-value.ln() - (high.ln() - low.ln()).ln(), -value.recip())
            }
            Self::Normal { mean, deviation } => {
                let z = (value - mean) / deviation;
                (-0.5 * (z * z + TAU.ln()) - deviation.ln(), -z / deviation)
            }
        }
    }

    fn draw(self, rng: &mut Stream) -> f64 {
        match self {
            Self::Uniform { low, high } => {
                let share: f64 = rng.sample(Open01);
                (low + (high - low) * share).clamp(low, high)
            }
            Self::LogUniform { low, high } => {
                let share: f64 = rng.sample(Open01);
                (low.ln() + (high.ln() - low.ln()) * share).exp().clamp(low, high)
            }
            Self::Normal { mean, deviation } => {
                mean + deviation * rng.sample::<f64, _>(StandardNormal)
            }
        }
    }
}
