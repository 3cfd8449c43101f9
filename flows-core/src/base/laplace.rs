//! Laplace distributions, one a feature.

use rand::RngExt;

use super::location_scale::{Moments, Standard, median_and_deviation};
use crate::{Real, Stream};

/// Independent Laplace distributions with learned location m and scale e^s,
///
/// ```text
/// log p(z) = sum of -|z - m| e^-s - s - ln 2
/// ```
///
/// whose tails are heavier than a normal's. The fit is closed: the median of every column and the
/// mean absolute deviation from it. At z = m, where there is no derivative, zero is taken.
#[derive(Clone, Debug)]
pub struct Laplace<E: Real>(pub(super) Moments<E>);

/// f(u) = exp(-|u|) / 2
#[derive(Clone)]
pub(super) struct StandardLaplace;

impl Standard for StandardLaplace {
    const NAME: &'static str = "Laplace log-density";

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
}

/// Median and log of the mean absolute deviation.
pub(super) fn estimate(column: &[f64]) -> [f64; 2] {
    let [centre, deviation] = median_and_deviation(column);
    [centre, deviation.ln()]
}
