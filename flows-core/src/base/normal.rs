//! Normals with independent features: standard and diagonal.

use super::location_scale::Standard;
use crate::tensor::{Batch, Values, batch, columns, set_values};
use crate::{Error, Real, Result};

/// ln(2 pi) / 2
pub(super) const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// Log-density of N(0, I) at a point, in double precision.
pub(crate) fn standard_normal_log_density<E: Real>(point: &[E]) -> f64 {
    point.iter().map(|v| -0.5 * v.as_f64().powi(2) - HALF_LN_TWO_PI).sum()
}

/// N(0, I) in `dim` dimensions.
#[derive(Clone, Debug)]
pub struct StandardNormal {
    pub(super) dim: usize,
}

/// Independent normals with learned location and scale = exp(log_scale).
///
/// The fit is the mean and the standard deviation of every column.
#[derive(Clone, Debug)]
pub struct DiagonalNormal<E: Real> {
    /// `(1, dim)`
    pub(super) location: Batch<E>,
    /// `(1, dim)`
    pub(super) log_scale: Batch<E>,
}

/// f(u) = exp(-u^2 / 2) / sqrt(2 pi)
#[derive(Clone)]
pub(super) struct Normal;

impl Standard for Normal {
    const NAME: &'static str = "normal log-density";

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
}

impl<E: Real> DiagonalNormal<E> {
    pub(super) fn new(dim: usize) -> Result<Self> {
        let zeros = || batch(vec![E::zero(); dim], 1, dim);
        Ok(Self { location: zeros()?, log_scale: zeros()? })
    }

    pub(super) fn fit(&mut self, z: &Batch<E>) -> Result<()> {
        let (rows, dim, values) = (z.rows(), columns(z), z.values());
        let column = |j: usize| values.iter().skip(j).step_by(dim).map(|v| v.as_f64());
        let mut location = Vec::with_capacity(dim);
        let mut log_scale = Vec::with_capacity(dim);
        for j in 0..dim {
            let mean = column(j).sum::<f64>() / rows as f64;
            let variance = column(j).map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
            let log_sd = 0.5 * variance.ln();
            if !log_sd.is_finite() {
                let row = column(j).position(|v| !v.is_finite()).unwrap_or(0);
                let advice = "remove constant columns and rows that are not finite";
                return Err(Error::NonFinite { quantity: "log scale of the base", row, advice });
            }
            location.push(E::of(mean));
            log_scale.push(E::of(log_sd));
        }
        set_values(&mut self.location, &location)?;
        set_values(&mut self.log_scale, &log_scale)
    }
}
