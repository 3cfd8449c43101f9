//! Mixtures of sigmoids in log space, the kernel of all combination-based transformers.

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::lanes::{Lanes, LogSum, lanes, larger, sigmoids, softpluses};

/// Midpoints of `count` equal parts of [-1, 1]: initial offsets, because units with equal
/// parameters have equal gradients and would stay equal.
pub(super) fn spread(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |k| (2 * k + 1) as f64 / count as f64 - 1.0)
}

/// Checks that `count` is between 1 and 500.
pub(super) fn check_count(name: &'static str, count: usize) -> Result<usize> {
    if (1..=500).contains(&count) {
        return Ok(count);
    }
    Err(Error::Parameter { name, requirement: "between 1 and 500", value: count as f64 })
}

/// A sigmoidal unit sigmoid(z), with the log-slope of z.
#[derive(Clone)]
pub(super) struct Unit<E> {
    z: Lanes<E>,
    log_slope: Lanes<E>,
    /// log sigmoid(z) and log sigmoid(-z).
    lower: Lanes<E>,
    upper: Lanes<E>,
}

impl<E: Real> Unit<E> {
    #[inline(always)]
    pub(super) fn new(z: Lanes<E>, log_slope: Lanes<E>) -> Self {
        let zero = E::zero();
        let outside = softpluses(lanes(|i| -z[i].abs()));
        let lower = lanes(|i| (if z[i] < zero { z[i] } else { zero }) - outside[i]);
        let upper = lanes(|i| (if z[i] > zero { -z[i] } else { zero }) - outside[i]);
        Self { z, log_slope, lower, upper }
    }
}

/// Gradients of a unit's z and of its log-slope.
#[derive(Clone)]
pub(super) struct UnitGradient<E> {
    pub(super) z: Lanes<E>,
    pub(super) log_slope: Lanes<E>,
}

impl<E: Real> UnitGradient<E> {
    /// `count` zero gradients.
    pub(super) fn zeros(count: usize) -> Vec<Self> {
        let zero = [E::zero(); LANES];
        vec![Self { z: zero, log_slope: zero }; count]
    }
}

/// y = logit(sum_k w_k sigmoid(z_k)) with w = softmax(logits), and log dy/dx.
///
/// With C = sum_k w_k sigmoid(z_k), S = 1 - C = sum_k w_k sigmoid(-z_k) and slopes s_k of z_k,
/// ```text
/// y = log C - log S,   dy/dx = D / (C S),   D = sum_k w_k sigmoid(z_k) sigmoid(-z_k) s_k
/// ```
/// Every sum is a log-sum-exp. Far out C or S is the exponential of a huge number; a term of D is
/// therefore computed as the softmax weight of a unit in the smaller of both times the rest, so
/// that the huge numbers cancel exactly, and 1 / max(C, S) = 1 + exp(-|y|).
pub(super) struct Mixture<'a, E> {
    terms: Terms<'a, E>,
    lower: LogSum<E>,
    upper: LogSum<E>,
    /// D / min(C, S).
    rate: LogSum<E>,
    pub(super) value: Lanes<E>,
    pub(super) log_slope: Lanes<E>,
}

/// The terms of C and of S.
struct Terms<'a, E> {
    logits: &'a [Lanes<E>],
    units: &'a [Unit<E>],
    /// Largest logit, subtracted from all: large logits would cost the digits of y.
    top: Lanes<E>,
}

impl<E: Real> Terms<'_, E> {
    /// log w_k sigmoid(z_k), up to a constant.
    #[inline(always)]
    fn lower(&self, k: usize) -> Lanes<E> {
        let (logit, log) = (&self.logits[k], &self.units[k].lower);
        lanes(|i| logit[i] - self.top[i] + log[i])
    }

    /// log w_k sigmoid(-z_k), up to the same constant.
    #[inline(always)]
    fn upper(&self, k: usize) -> Lanes<E> {
        let (logit, log) = (&self.logits[k], &self.units[k].upper);
        lanes(|i| logit[i] - self.top[i] + log[i])
    }

    /// log of the k-th term of D, less log min(C, S).
    #[inline(always)]
    fn rate(&self, k: usize, [lower, upper]: [&LogSum<E>; 2], value: &Lanes<E>) -> Lanes<E> {
        let unit = &self.units[k];
        let from_lower = lower.log_share(&self.lower(k));
        let from_upper = upper.log_share(&self.upper(k));
        lanes(|i| {
            let (left, right) = (from_lower[i] + unit.upper[i], from_upper[i] + unit.lower[i]);
            (if value[i] > E::zero() { right } else { left }) + unit.log_slope[i]
        })
    }
}

impl<'a, E: Real> Mixture<'a, E> {
    #[inline(never)]
    pub(super) fn new(logits: &'a [Lanes<E>], units: &'a [Unit<E>]) -> Self {
        vectorised(
            #[inline(always)]
            || {
                let top = logits.iter().fold(
                    [E::neg_infinity(); LANES],
                    #[inline(always)]
                    |top, row| larger(&top, row),
                );
                let terms = Terms { logits, units, top };
                let lower = LogSum::new(
                    units.len(),
                    #[inline(always)]
                    |k| terms.lower(k),
                );
                let upper = LogSum::new(
                    units.len(),
                    #[inline(always)]
                    |k| terms.upper(k),
                );
                let (log_lower, log_upper) = (lower.total(), upper.total());
                let value = lanes(|i| log_lower[i] - log_upper[i]);
                let sums = [&lower, &upper];
                let rate = LogSum::new(
                    units.len(),
                    #[inline(always)]
                    |k| terms.rate(k, sums, &value),
                );
                let log_rate = rate.total();
                let from_larger = softpluses(lanes(|i| -value[i].abs()));
                let log_slope = lanes(|i| log_rate[i] + from_larger[i]);
                Self { terms, lower, upper, rate, value, log_slope }
            },
        )
    }

    /// Backward pass: from the gradients g of y and h of log dy/dx, writes that of the logits and
    /// adds to those of z and its log-slopes.
    ///
    /// With p, q, r the softmax weights of the units in C, S and D,
    /// ```text
    /// d log C = p (d log w + sigmoid(-z) dz),   d log S = q (d log w - sigmoid(z) dz)
    /// d log D = r (d log w + (sigmoid(-z) - sigmoid(z)) dz + d log s)
    /// y = log C - log S,   log dy/dx = log D - log C - log S
    /// ```
    /// and the softmax subtracts the mean of the gradient of log w, which is -h, from the logits, w
    /// being C p + S q.
    #[inline(never)]
    pub(super) fn gradient(
        &self,
        g: &Lanes<E>,
        h: &Lanes<E>,
        d_logits: &mut [Lanes<E>],
        d_units: &mut [UnitGradient<E>],
    ) {
        vectorised(
            #[inline(always)]
            || {
                let (c, s) = (sigmoids(self.value), sigmoids(lanes(|i| -self.value[i])));
                let from_p = lanes(|i| g[i] - h[i] * s[i]);
                let from_q = lanes(|i| g[i] + h[i] * c[i]);
                let sums = [&self.lower, &self.upper];
                for (k, (d_logit, d_unit)) in d_logits.iter_mut().zip(d_units).enumerate() {
                    let p = self.lower.share(&self.terms.lower(k));
                    let q = self.upper.share(&self.terms.upper(k));
                    let r = self.rate.share(&self.terms.rate(k, sums, &self.value));
                    let r = lanes(|i| r[i] * h[i]);
                    let z = &self.terms.units[k].z;
                    let (low, high) = (sigmoids(*z), sigmoids(lanes(|i| -z[i])));
                    *d_logit = lanes(|i| p[i] * from_p[i] - q[i] * from_q[i] + r[i]);
                    d_unit.z = lanes(|i| {
                        let inner = (g[i] - h[i]) * p[i] * high[i] + (g[i] + h[i]) * q[i] * low[i];
                        d_unit.z[i] + inner + r[i] * (high[i] - low[i])
                    });
                    d_unit.log_slope = lanes(|i| d_unit.log_slope[i] + r[i]);
                }
            },
        );
    }
}
