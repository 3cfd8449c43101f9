//! Priors of simulators: independent and equal for every parameter.

use std::f64::consts::TAU;

use flows_core::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;

#[derive(Clone, Copy, Debug)]
pub(super) enum Prior {
    /// U(-bound, bound)
    Uniform(f64),
    /// N(0, variance)
    Normal(f64),
}

impl Prior {
    pub(super) fn support(self) -> Option<[f64; 2]> {
        match self {
            Self::Uniform(bound) => Some([-bound, bound]),
            Self::Normal(_) => None,
        }
    }

    /// Of all parameters together.
    pub(super) fn log_density(self, theta: &[f64]) -> f64 {
        let term = |t: &f64| match self {
            Self::Uniform(bound) if t.abs() <= bound => -(2.0 * bound).ln(),
            Self::Uniform(_) if t.is_nan() => f64::NAN,
            Self::Uniform(_) => f64::NEG_INFINITY,
            Self::Normal(variance) => -0.5 * (t * t / variance + (TAU * variance).ln()),
        };
        theta.iter().map(term).sum()
    }

    /// One parameter.
    pub(super) fn draw(self, rng: &mut Stream) -> f64 {
        match self {
            Self::Uniform(bound) => rng.random_range(-bound..bound),
            Self::Normal(variance) => variance.sqrt() * rng.sample::<f64, _>(StandardNormal),
        }
    }
}
