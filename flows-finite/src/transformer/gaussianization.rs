//! The trainable kernel layer of Gaussianization flows.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::lanes::add;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::lanes::{exps, lanes, rows, sigmoids};
use super::logistic_cdf::{LogisticCdf, MixtureConfig};
use super::normal_tail::{is_curved, straightened_normal_of_logit};
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`Gaussianization`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GaussianizationConfig(pub MixtureConfig);

#[typetag::serde(name = "gaussianization")]
impl TransformerConfig for GaussianizationConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(Gaussianization::new(self.0.components)?))
    });

    fn scaled(&self, factor: f64) -> Option<Arc<dyn TransformerConfig>> {
        Some(Self(self.0.scaled(factor)).shared())
    }
}

/// The Gaussianization transformer y = Phi^-1(F(x)) with the logistic mixture F(x) = sum_k pi_k
/// sigmoid((x - mu_k) exp(-s_k)), K components: it maps a variable with distribution function F to
/// a standard normal one, for |y| up to 3 and with a straight line of logit F beyond.
///
/// Parameters of an element: K raw weights (softmax; equal in the paper), K means mu, K raw
/// log-scales, r for s = 7 tanh(r / 7). The map goes from all reals onto all reals.
///
/// The quantile alone, as in the paper, grows like sqrt(2 |x|), and its inverse like y^2: in a stack
/// of L layers a draw of 4 deviations is squared L times over, and its images leave all numbers.
/// Here, with v = logit F(x) and R the slope dy/dv of the quantile at y = 3,
/// ```text
/// y = Phi^-1(sigmoid(v))       for |v| <= V = logit Phi(3) = 6.6
/// y = +-3 + R (v -+ V)         beyond, with R = 0.304
/// ```
/// v being a straight line far out, so is y, of slope R e^-s with the widest component's s, and L
/// layers stretch a draw by a power instead of a power of powers. Three deviations: of a minibatch of
/// 512 rows that have been mapped to a normal one or two lie beyond (0.27 %), too few to place a
/// component there.
///
/// It starts at equal weights, means spread evenly over (-1, 1) and the scale at which F has unit
/// variance: there |y - x| < 0.1 for |x| <= 2. Logistic tails are heavier than normal ones, so no
/// parameters give the identity.
///
/// # Accuracy
/// The quantile is computed from the logarithm of the nearer tail, so both tails are equally
/// accurate: error at most 4e-15 max(1, |y|) in `f64` and 1e-6 max(1, |y|) in `f32`, for |x| up to
/// 1e30 (tested).
///
/// # Cost
/// O(K); the inverse is a root search, of about ten evaluations for |y| up to 10.
///
/// # Reference
/// Meng, Song, Song, Ermon, *Gaussianization Flows*, AISTATS 2020.
/// <https://arxiv.org/abs/2003.01941>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaussianization {
    cdf: LogisticCdf,
}

impl Gaussianization {
    /// A mixture of `components` logistic distributions.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 1 to 500.
    pub fn new(components: usize) -> Result<Self> {
        Ok(Self { cdf: LogisticCdf::new(components)? })
    }
}

impl<E: Real> Transformer<E> for Gaussianization {
    fn name(&self) -> &'static str {
        "Gaussianization"
    }

    fn arity(&self) -> usize {
        self.cdf.arity()
    }

    fn initial(&self) -> Vec<f64> {
        // The means have variance (1 - 1/K^2) / 3, a logistic distribution pi^2 scale^2 / 3.
        let rest = 2.0 + (self.cdf.components() as f64).powi(-2);
        self.cdf.start((rest.sqrt() / std::f64::consts::PI).ln())
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let units = self.cdf.units(x, theta);
        let mixture = self.cdf.mixture(&units, theta);
        let (normal, log_rate) = straightened_normal_of_logit(&mixture.value);
        y.copy_from_slice(&normal);
        add(log_slope, &lanes(|i| mixture.log_slope[i] + log_rate[i]));
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    /// With v = logit F and R = dy/dv = sigmoid(v) sigmoid(-v) / phi(y),
    /// ```text
    /// dy = R dv,   d log R = (y R + 2 sigmoid(-v) - 1) dv
    /// ```
    /// where y is the quantile, and d log R = 0 where it is a straight line.
    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let [g, h] = [outer.value, outer.log_slope].map(|values| &rows(values)[0]);
        let units = self.cdf.units(x, theta);
        let mixture = self.cdf.mixture(&units, theta);
        let (normal, log_rate) = straightened_normal_of_logit(&mixture.value);
        let rate = exps(log_rate);
        let upper = sigmoids(lanes(|i| -mixture.value[i]));
        let d_value = vectorised(
            #[inline(always)]
            || {
                let bend = lanes(|i| {
                    let curved = is_curved(mixture.value[i]);
                    let bend = normal[i].mul_add(rate[i], upper[i] + upper[i] - E::one());
                    if curved { bend } else { E::zero() }
                });
                lanes(|i| rate[i] * g[i] + h[i] * bend[i])
            },
        );
        self.cdf.gradient((x, theta), &mixture, [&d_value, h], inner);
    }
}
