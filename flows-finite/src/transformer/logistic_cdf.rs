//! The logit of a logistic mixture's distribution function.

use flows_core::architecture::scaled_width;
use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::lanes::{Lanes, exps, lanes, rows, rows_mut, tanhs};
use super::mixture::{Mixture, Unit, UnitGradient, check_count, spread};

/// Settings of transformers that are mixtures of logistic distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixtureConfig {
    /// Components.
    pub components: usize,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self { components: 16 }
    }
}

impl MixtureConfig {
    /// The same with its components times `factor`.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { components: scaled_width(self.components, factor) }
    }
}

/// Bound of the log-scales, as in a bounded affine scale: a conditioner far from its training data
/// cannot overflow the exponential.
const BOUND: f64 = 7.0;

/// The mixture v = logit(sum_k pi_k sigmoid((x - mu_k) exp(-s_k))), K components.
///
/// Parameters of an element: K raw weights (softmax), K means mu, K raw log-scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogisticCdf {
    components: usize,
}

/// Log-scales and their derivatives by the raw parameters.
#[inline(always)]
pub(super) fn log_scales<E: Real>(raw: &Lanes<E>) -> (Lanes<E>, Lanes<E>) {
    let t = tanhs(lanes(|i| raw[i] * E::of(1.0 / BOUND)));
    (lanes(|i| E::of(BOUND) * t[i]), lanes(|i| E::one() - t[i] * t[i]))
}

impl LogisticCdf {
    pub(super) fn new(components: usize) -> Result<Self> {
        Ok(Self { components: check_count("components of a logistic mixture", components)? })
    }

    pub(super) fn components(self) -> usize {
        self.components
    }

    /// Number of parameters of an element.
    pub(super) fn arity(self) -> usize {
        3 * self.components
    }

    /// Equal weights, means spread over (-1, 1) and one log-scale.
    pub(super) fn start(self, log_scale: f64) -> Vec<f64> {
        let mut theta = vec![0.0; self.components];
        theta.extend(spread(self.components));
        theta.resize(self.arity(), BOUND * (log_scale / BOUND).atanh());
        theta
    }

    /// Rows of logits, means and raw log-scales.
    #[inline(always)]
    fn split<E>(self, theta: &[E]) -> [&[Lanes<E>]; 3] {
        let (logits, others) = rows(theta).split_at(self.components);
        let (means, raw_scales) = others.split_at(self.components);
        [logits, means, raw_scales]
    }

    /// The units of the mixture at x.
    #[inline(never)]
    pub(super) fn units<E: Real>(self, x: &[E], theta: &[E]) -> Vec<Unit<E>> {
        let (x, [_, means, raw_scales]) = (&rows(x)[0], self.split(theta));
        let mut units = Vec::with_capacity(self.components);
        vectorised(
            #[inline(always)]
            || {
                for (mean, raw) in means.iter().zip(raw_scales) {
                    let (log_scale, _) = log_scales(raw);
                    let log_slope = lanes(|i| -log_scale[i]);
                    let slope = exps(log_slope);
                    units.push(Unit::new(lanes(|i| (x[i] - mean[i]) * slope[i]), log_slope));
                }
            },
        );
        units
    }

    /// v and log dv/dx of these [`units`](Self::units).
    pub(super) fn mixture<'a, E: Real>(
        self,
        units: &'a [Unit<E>],
        theta: &'a [E],
    ) -> Mixture<'a, E> {
        Mixture::new(self.split(theta)[0], units)
    }

    /// Backward pass: from the gradients g of v and h of log dv/dx, writes those of x and theta.
    #[inline(never)]
    pub(super) fn gradient<E: Real>(
        self,
        (x, theta): (&[E], &[E]),
        mixture: &Mixture<'_, E>,
        [g, h]: [&Lanes<E>; 2],
        inner: Inner<'_, E>,
    ) {
        let (x, [_, means, raw_scales]) = (&rows(x)[0], self.split(theta));
        let (d_logits, others) = rows_mut(inner.theta).split_at_mut(self.components);
        let (d_means, d_scales) = others.split_at_mut(self.components);
        let mut d_units = UnitGradient::zeros(self.components);
        mixture.gradient(g, h, d_logits, &mut d_units);
        vectorised(
            #[inline(always)]
            || {
                let mut d_x = [E::zero(); LANES];
                for (k, UnitGradient { z, log_slope }) in d_units.iter().enumerate() {
                    let (log_scale, turn) = log_scales(&raw_scales[k]);
                    let slope = exps(lanes(|i| -log_scale[i]));
                    let scaled = lanes(|i| slope[i] * z[i]);
                    d_x = lanes(|i| d_x[i] + scaled[i]);
                    d_means[k] = lanes(|i| -scaled[i]);
                    let distance = lanes(|i| x[i] - means[k][i]);
                    d_scales[k] = lanes(|i| -(distance[i] * scaled[i] + log_slope[i]) * turn[i]);
                }
                inner.value.copy_from_slice(&d_x);
            },
        );
    }
}
