//! The normal distribution.

use rand::RngExt;

use super::location_scale::Standard;
use crate::{Real, Stream};

/// ln(2 pi) / 2
pub(super) const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// Log-density of N(0, I) at a point, in double precision.
pub(crate) fn standard_normal_log_density<E: Real>(point: &[E]) -> f64 {
    point.iter().map(|v| -0.5 * v.as_f64().powi(2) - HALF_LN_TWO_PI).sum()
}

/// f(u) = exp(-u^2 / 2) / sqrt(2 pi)
#[derive(Debug)]
pub(super) struct Normal;

impl Standard for Normal {
    #[inline(always)]
    fn cost<E: Real>(&self, u: E) -> E {
        E::of(0.5) * u * u
    }

    #[inline(always)]
    fn slope<E: Real>(&self, u: E) -> E {
        u
    }

    fn constant(&self) -> f64 {
        HALF_LN_TWO_PI
    }

    fn draw(&self, rng: &mut Stream) -> f64 {
        rng.sample(rand_distr::StandardNormal)
    }

    /// Mean and log of the standard deviation.
    fn fit(&self, column: &[f64]) -> [f64; 2] {
        let rows = column.len() as f64;
        let mean = column.iter().sum::<f64>() / rows;
        let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows;
        [mean, 0.5 * variance.ln()]
    }
}
