//! `funnel`: normals whose common scale is log-normal.

use std::f64::consts::TAU;
use std::hash::{Hash, Hasher};

use flows_core::Error;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::{Card, LogNormaliser};

/// Neal's funnel: v ~ N(0, scale^2), `dim` - 1 others | v ~ N(0, e^v).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parameters")]
pub struct Funnel {
    dim: usize,
    scale: f64,
}

/// The parameters as a file has them, not yet checked.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename = "Funnel")]
struct Parameters {
    dim: usize,
    scale: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        let Funnel { dim, scale } = Funnel::DEFAULT;
        Self { dim, scale }
    }
}

impl TryFrom<Parameters> for Funnel {
    type Error = Error;

    fn try_from(Parameters { dim, scale }: Parameters) -> Result<Self, Error> {
        Self::new(dim, scale)
    }
}

impl Default for Funnel {
    fn default() -> Self {
        Self::DEFAULT
    }
}

// The scale is a number, and never 0.
impl Eq for Funnel {}

impl Hash for Funnel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.dim, self.scale.to_bits()).hash(state);
    }
}

impl Funnel {
    /// Ten features and scale 3, as in the paper.
    pub const DEFAULT: Self = Self { dim: 10, scale: 3.0 };

    /// The funnel of `dim` features whose first has the standard deviation `scale`.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `dim` is at least 2 and `scale` positive and finite.
    pub fn new(dim: usize, scale: f64) -> Result<Self, Error> {
        if dim < 2 {
            let (name, requirement) = ("dim of funnel", "at least 2");
            return Err(Error::Parameter { name, requirement, value: dim as f64 });
        }
        if !(scale > 0.0 && scale.is_finite()) {
            let (name, requirement) = ("scale of funnel", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: scale });
        }
        Ok(Self { dim, scale })
    }

    /// Features.
    #[must_use]
    pub fn dim(self) -> usize {
        self.dim
    }

    /// Standard deviation of the first feature.
    #[must_use]
    pub fn scale(self) -> f64 {
        self.scale
    }

    pub(super) fn card(self) -> Card {
        // The tails grow as e^(v / 2): a figure shows the neck and the beginning of the mouth.
        let side = 4.0 * self.scale.max(1.0);
        Card {
            name: "funnel",
            description: "normals whose common scale is log-normal",
            dim: self.dim,
            log_normaliser: LogNormaliser { nats: 0.0, error: 0.0 },
            window: [-3.0 * self.scale, 3.0 * self.scale, -side, side],
        }
    }

    /// log p = log N(v; 0, s^2) + sum over the n others of log N(x_i; 0, e^v):
    /// d/dv = -v / s^2 - n / 2 + e^-v |x|^2 / 2, d/dx_i = -e^-v x_i.
    pub(super) fn log_density(self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (v, others) = (point[0], &point[1..]);
        let precision = (-v).exp();
        let count = others.len() as f64;
        let mut square = 0.0;
        for (gradient, x) in gradient[1..].iter_mut().zip(others) {
            *gradient = -precision * x;
            square += precision * x * x;
        }
        let own = v / self.scale;
        gradient[0] = -own / self.scale + 0.5 * (square - count);
        -0.5 * (own * own + square + count * v) - self.scale.ln() - 0.5 * (count + 1.0) * TAU.ln()
    }

    /// Appends a draw.
    pub(super) fn draw(self, values: &mut Vec<f64>, rng: &mut impl Rng) {
        let v = self.scale * rng.sample::<f64, _>(StandardNormal);
        let scale = (0.5 * v).exp();
        values.push(v);
        values.extend((1..self.dim).map(|_| scale * rng.sample::<f64, _>(StandardNormal)));
    }
}
