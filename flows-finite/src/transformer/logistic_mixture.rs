//! The logistic-mixture transformer of Flow++.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::lanes::{Lanes, exps, lanes, rows};
use super::logistic_cdf::{LogisticCdf, MixtureConfig, log_scales};
use super::mixture::Mixture;
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`LogisticMixture`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogisticMixtureConfig(pub MixtureConfig);

#[typetag::serde(name = "logistic_mixture")]
impl TransformerConfig for LogisticMixtureConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(LogisticMixture::new(self.0.components)?))
    });

    fn scaled(&self, factor: f64) -> Option<Arc<dyn TransformerConfig>> {
        Some(Self(self.0.scaled(factor)).shared())
    }
}

/// The logistic-mixture transformer y = exp(a) logit(sum_k pi_k sigmoid((x - mu_k) exp(-s_k))) + b,
/// K components.
///
/// Parameters of an element: K raw weights (softmax), K means mu, K raw log-scales, then the raw
/// log-scale of a and the shift b. A raw log-scale r gives 7 tanh(r / 7), between -7 and 7 and
/// equal to r near 0; the paper leaves it unbounded. The map goes from all reals onto all reals and
/// is a straight line far out.
///
/// It starts at equal weights, means spread evenly over (-1, 1) and all else 0: there
/// |y - x| < 0.17 and 0.9 < dy/dx <= 1 everywhere, and y = x for K = 1.
///
/// # Accuracy
/// As [`DeepSigmoidal`](super::DeepSigmoidal).
///
/// # Cost
/// O(K); the inverse is a root search.
///
/// # Reference
/// Ho, Chen, Srinivas, Duan, Abbeel, *Flow++: Improving Flow-Based Generative Models with
/// Variational Dequantization and Architecture Design*, ICML 2019.
/// <https://arxiv.org/abs/1902.00275>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogisticMixture {
    cdf: LogisticCdf,
}

impl LogisticMixture {
    /// A mixture of `components` logistic distributions.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 1 to 500.
    pub fn new(components: usize) -> Result<Self> {
        Ok(Self { cdf: LogisticCdf::new(components)? })
    }

    /// Parameters of the mixture, raw log-scale and shift.
    fn split<E>(self, theta: &[E]) -> (&[E], &Lanes<E>, &Lanes<E>) {
        let (mixture, affine) = theta.split_at(self.cdf.arity() * LANES);
        (mixture, &rows(affine)[0], &rows(affine)[1])
    }
}

impl<E: Real> Transformer<E> for LogisticMixture {
    fn name(&self) -> &'static str {
        "logistic mixture"
    }

    fn arity(&self) -> usize {
        self.cdf.arity() + 2
    }

    fn initial(&self) -> Vec<f64> {
        let mut theta = self.cdf.start(0.0);
        theta.extend([0.0; 2]);
        theta
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (mixture, raw, shift) = self.split(theta);
        let units = self.cdf.units(x, mixture);
        let Mixture { value, log_slope: log, .. } = self.cdf.mixture(&units, mixture);
        let (a, _) = log_scales(raw);
        let scale = exps(a);
        vectorised(
            #[inline(always)]
            || {
                y.copy_from_slice(&lanes(|i| scale[i].mul_add(value[i], shift[i])));
                add(log_slope, &lanes(|i| log[i] + a[i]));
            },
        );
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (theta, raw, _) = self.split(theta);
        let (d_mixture, d_affine) = inner.theta.split_at_mut(self.cdf.arity() * LANES);
        let inner = Inner { value: inner.value, theta: d_mixture };
        let (d_raw, d_shift) = d_affine.split_at_mut(LANES);
        let [g, h] = [outer.value, outer.log_slope].map(|values| &rows(values)[0]);
        let units = self.cdf.units(x, theta);
        let mixture = self.cdf.mixture(&units, theta);
        let (a, turn) = log_scales(raw);
        let scale = exps(a);
        let scaled = lanes(|i| scale[i] * g[i]);
        vectorised(
            #[inline(always)]
            || {
                let value = &mixture.value;
                d_raw.copy_from_slice(&lanes(|i| (scaled[i] * value[i] + h[i]) * turn[i]));
                d_shift.copy_from_slice(g);
            },
        );
        self.cdf.gradient((x, theta), &mixture, [&scaled, h], inner);
    }
}
