//! The deep sigmoidal transformer of neural autoregressive flows.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::lanes::{Lanes, lanes, lns, rows, rows_mut, sigmoids, softpluses};
use super::mixture::{Mixture, Unit, UnitGradient, check_count, spread};
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`DeepSigmoidal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeepSigmoidalConfig {
    /// Sigmoidal units.
    pub units: usize,
}

impl Default for DeepSigmoidalConfig {
    fn default() -> Self {
        Self { units: 16 }
    }
}

#[typetag::serde(name = "deep_sigmoidal")]
impl TransformerConfig for DeepSigmoidalConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(DeepSigmoidal::new(self.units)?))
    });
}

/// Smallest slope of a unit, which bounds the slope of the map far out.
const MIN_SLOPE: f64 = 1e-3;

/// The raw parameter of a slope of 1.
pub(super) fn raw_unit_slope() -> f64 {
    ((1.0 - MIN_SLOPE).exp() - 1.0).ln()
}

/// The deep sigmoidal transformer y = logit(sum_k w_k sigmoid(a_k x + b_k)), K units.
///
/// Parameters of an element: K raw weights (softmax), K offsets b, K raw slopes (softplus, plus
/// 1e-3). The map goes from all reals onto all reals and is a straight line far out.
///
/// It starts at equal weights, slopes 1 and offsets spread evenly over (-1, 1), so that the units
/// differ from the first step: there |y - x| < 0.17 and 0.9 < dy/dx <= 1 everywhere, and y = x for
/// K = 1.
///
/// # Accuracy
/// Everything is computed in log space: value and log-slope are finite and accurate up to |x| =
/// 1e30 in `f32`, and in a gap between units the slope may be as small as any exponential.
///
/// # Cost
/// O(K); the inverse is a root search of about ten evaluations.
///
/// # Reference
/// Huang, Krueger, Lacoste, Courville, *Neural Autoregressive Flows*, ICML 2018 (DSF).
/// <https://arxiv.org/abs/1804.00779>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeepSigmoidal {
    units: usize,
}

impl DeepSigmoidal {
    /// A transformer of `units` sigmoids.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 1 to 500.
    pub fn new(units: usize) -> Result<Self> {
        Ok(Self { units: check_count("units of a deep sigmoidal transformer", units)? })
    }

    /// Rows of logits, offsets and raw slopes.
    #[inline(always)]
    fn split<E>(self, theta: &[E]) -> [&[Lanes<E>]; 3] {
        let (logits, others) = rows(theta).split_at(self.units);
        let (offsets, raw_slopes) = others.split_at(self.units);
        [logits, offsets, raw_slopes]
    }

    #[inline(never)]
    fn units<E: Real>(self, x: &Lanes<E>, theta: &[E]) -> Vec<Unit<E>> {
        let [_, offsets, raw_slopes] = self.split(theta);
        let mut units = Vec::with_capacity(self.units);
        vectorised(
            #[inline(always)]
            || {
                for (offset, raw) in offsets.iter().zip(raw_slopes) {
                    let slope = slopes(raw);
                    let z = lanes(|i| slope[i].mul_add(x[i], offset[i]));
                    units.push(Unit::new(z, lns(slope)));
                }
            },
        );
        units
    }
}

/// Slopes of units from their raw parameters.
#[inline(always)]
pub(super) fn slopes<E: Real>(raw: &Lanes<E>) -> Lanes<E> {
    let above = softpluses(*raw);
    lanes(|i| above[i] + E::of(MIN_SLOPE))
}

impl<E: Real> Transformer<E> for DeepSigmoidal {
    fn name(&self) -> &'static str {
        "deep sigmoidal"
    }

    fn arity(&self) -> usize {
        3 * self.units
    }

    fn initial(&self) -> Vec<f64> {
        let mut theta = vec![0.0; self.units];
        theta.extend(spread(self.units));
        theta.resize(3 * self.units, raw_unit_slope());
        theta
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let units = self.units(&rows(x)[0], theta);
        let mixture = Mixture::new(self.split(theta)[0], &units);
        y.copy_from_slice(&mixture.value);
        add(log_slope, &mixture.log_slope);
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let [x, g, h] = [x, outer.value, outer.log_slope].map(|values| &rows(values)[0]);
        let [logits, _, raw_slopes] = self.split(theta);
        let units = self.units(x, theta);
        let (d_logits, others) = rows_mut(inner.theta).split_at_mut(self.units);
        let (d_offsets, d_slopes) = others.split_at_mut(self.units);
        let mut d_units = UnitGradient::zeros(self.units);
        Mixture::new(logits, &units).gradient(g, h, d_logits, &mut d_units);
        let mut d_x = [E::zero(); LANES];
        for (k, UnitGradient { z, log_slope }) in d_units.iter().enumerate() {
            let raw = &raw_slopes[k];
            let (slope, turn) = (slopes(raw), sigmoids(*raw));
            d_offsets[k] = *z;
            vectorised(
                #[inline(always)]
                || {
                    d_x = lanes(|i| slope[i].mul_add(z[i], d_x[i]));
                    d_slopes[k] = lanes(|i| (x[i] * z[i] + log_slope[i] / slope[i]) * turn[i]);
                },
            );
        }
        inner.value.copy_from_slice(&d_x);
    }
}
