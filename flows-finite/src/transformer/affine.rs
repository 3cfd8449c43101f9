//! The affine transformer of NICE, Real NVP, MAF and Glow.

use flows_core::elementwise::{exp, tanh, vectorised};
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::{Inner, Outer, Transformer};

/// How the raw parameter a becomes the logarithm of the scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// log scale = a: unbounded, as in the original papers; deep stacks can overflow `f32`.
    Exp,
    /// log scale = c tanh(a / c): within e^-c and e^c, and equal to `Exp` near 0.
    Bounded(f64),
}

/// y = exp(s) x + t with s from the first parameter, t the second.
///
/// # Reference
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, eq. 7-8.
/// <https://arxiv.org/abs/1605.08803>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    scale: Scale,
}

impl Affine {
    /// With the given bound on the scale.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self { scale }
    }

    /// Bound of the log-scale and its reciprocal; `None` for the unbounded map.
    fn bound<E: Real>(&self) -> Option<(E, E)> {
        match self.scale {
            Scale::Exp => None,
            Scale::Bounded(bound) => Some((E::of(bound), E::of(1.0 / bound))),
        }
    }
}

/// Log-scale and its derivative for the raw parameter.
#[inline(always)]
fn log_scale<E: Real>(raw: E, bound: Option<(E, E)>) -> (E, E) {
    match bound {
        None => (raw, E::one()),
        Some((bound, inverse)) => {
            let t = tanh(raw * inverse);
            (bound * t, E::one() - t * t)
        }
    }
}

impl<E: Real> Transformer<E> for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn arity(&self) -> usize {
        2
    }

    fn identity(&self) -> Vec<f64> {
        vec![0.0, 0.0]
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let bound = self.bound();
        let (raw, shift) = theta.split_at(LANES);
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let (s, _) = log_scale(raw[lane], bound);
                    y[lane] = exp(s).mul_add(x[lane], shift[lane]);
                    log_slope[lane] += s;
                }
            },
        );
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let bound = self.bound();
        let (raw, shift) = theta.split_at(LANES);
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let (s, _) = log_scale(raw[lane], bound);
                    x[lane] = (y[lane] - shift[lane]) * exp(-s);
                    log_slope[lane] -= s;
                }
            },
        );
        Ok(0)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let bound = self.bound();
        let raw = &theta[..LANES];
        let (d_raw, d_shift) = inner.theta.split_at_mut(LANES);
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let (s, ds) = log_scale(raw[lane], bound);
                    let scaled = outer.value[lane] * exp(s);
                    inner.value[lane] = scaled;
                    d_raw[lane] = (scaled * x[lane] + outer.log_slope[lane]) * ds;
                    d_shift[lane] = outer.value[lane];
                }
            },
        );
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let bound = self.bound();
        let raw = &theta[..LANES];
        let (d_raw, d_shift) = inner.theta.split_at_mut(LANES);
        vectorised(
            #[inline(always)]
            || {
                // x = e^-s (y - t), log-slope -s
                for lane in 0..LANES {
                    let (s, ds) = log_scale(raw[lane], bound);
                    let scaled = outer.value[lane] * exp(-s);
                    inner.value[lane] = scaled;
                    d_raw[lane] = -(outer.value[lane] * x[lane] + outer.log_slope[lane]) * ds;
                    d_shift[lane] = -scaled;
                }
            },
        );
    }
}
