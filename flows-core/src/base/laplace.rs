//! The Laplace distribution.

use rand::RngExt;

use super::location_scale::{Standard, median_and_deviation};
use crate::{Real, Stream};

/// f(u) = exp(-|u|) / 2
#[derive(Debug)]
pub(super) struct Laplace;

impl Standard for Laplace {
    #[inline(always)]
    fn cost<E: Real>(&self, u: E) -> E {
        u.abs()
    }

    #[inline(always)]
    fn slope<E: Real>(&self, u: E) -> E {
        if u == E::zero() { E::zero() } else { E::one().copysign(u) }
    }

    fn constant(&self) -> f64 {
        std::f64::consts::LN_2
    }

    fn draw(&self, rng: &mut Stream) -> f64 {
        let size: f64 = rng.sample(rand_distr::Exp1);
        if rng.random::<bool>() { size } else { -size }
    }

    /// Median and log of the mean absolute deviation.
    fn fit(&self, column: &[f64]) -> [f64; 2] {
        let [centre, deviation] = median_and_deviation(column);
        [centre, deviation.ln()]
    }
}
