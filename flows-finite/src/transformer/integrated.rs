//! The integration-based transformer: the integral of a positive network.

use std::sync::Arc;

use flows_core::elementwise::{exp, ln, tanh, vectorised};
use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::check_finite::check_finite;
use super::lanes::{Lanes, lanes, rows, rows_mut};
use super::quadrature::{Rule, clenshaw_curtis};
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`Integrated`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntegratedConfig {
    /// Hidden units of the integrand.
    pub hidden: usize,
    /// Steps of the quadrature: where the integrand has its kink, values are good to about
    /// 0.5 / steps^3 (measured on the reference values; see [`Integrated`]).
    pub steps: usize,
}

impl Default for IntegratedConfig {
    fn default() -> Self {
        Self { hidden: 16, steps: 20 }
    }
}

#[typetag::serde(name = "integrated")]
impl TransformerConfig for IntegratedConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(Integrated::new(self.hidden, self.steps)?))
    });
}

/// The integral of a positive network of one hidden layer of H units (UMNN).
///
/// ```text
/// y = beta + int_0^x g(u) du,   g = elu(s) + 1,   s(u) = w2 . tanh(w1 u + b1) + b2
/// log slope = ln g(x)
/// ```
/// Parameters of an element: w1, b1, w2 (H each), b2, beta. It starts at the identity, with w1 = 1
/// and b1 spread out, because equal units would stay equal.
///
/// # Accuracy
/// The log-slope is that of the exact integral, to rounding. The integral is by Clenshaw-Curtis
/// with N + 1 nodes on [0, x]; relative to 1 + |y| and for weights about 1, its error is
/// * where s keeps its sign, at most about (r + sqrt(1 + r^2))^-N with r = pi / max |w1 x|, the
///   distance of the poles: rounding at N = 50 up to |w1 x| = 5, and 1e-7 measured at 20;
/// * where s changes its sign, so that the second derivative of g jumps, 0.5 / N^3 at most in the
///   reference cases: 3e-6 at N = 50, 6e-9 at N = 400.
///   The slope of the sum then differs from g by about 0.1 / N^2.
///
/// Both directions use the same sum, so that round trips are accurate to the root search for any N.
/// g may underflow where s < -87 (f32) or -708 (f64): the log-slope stays exact, but the inverse is
/// an error there.
///
/// # Cost
/// H (N + 1) hyperbolic tangents forward, and as many for each of the inverse's evaluations, about
/// 10.
///
/// # Reference
/// Wehenkel, Louppe, *Unconstrained Monotonic Neural Networks*, NeurIPS 2019.
/// <https://arxiv.org/abs/1908.05164>. There the network is deeper and its weights are shared, and
/// the conditioner makes its inputs; here they are the conditioner's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Integrated {
    hidden: usize,
    rule: Rule,
}

/// The network's parameters.
struct Weights<'a, E> {
    w1: &'a [Lanes<E>],
    b1: &'a [Lanes<E>],
    w2: &'a [Lanes<E>],
    b2: &'a Lanes<E>,
    beta: &'a Lanes<E>,
}

impl<'a, E: Real> Weights<'a, E> {
    fn new(theta: &'a [E], hidden: usize) -> Self {
        let (w1, rest) = rows(theta).split_at(hidden);
        let (b1, rest) = rest.split_at(hidden);
        let (w2, rest) = rest.split_at(hidden);
        Self { w1, b1, w2, b2: &rest[0], beta: &rest[1] }
    }

    /// s(u), and tanh(w1 u + b1) left in `units`.
    #[inline(always)]
    fn exponent(&self, u: &Lanes<E>, units: &mut [Lanes<E>]) -> Lanes<E> {
        let mut s = *self.b2;
        for (unit, row) in units.iter_mut().enumerate() {
            let (w1, b1, w2) = (&self.w1[unit], &self.b1[unit], &self.w2[unit]);
            for lane in 0..LANES {
                row[lane] = tanh(w1[lane].mul_add(u[lane], b1[lane]));
                s[lane] = w2[lane].mul_add(row[lane], s[lane]);
            }
        }
        s
    }

    /// s'(u), from what [`exponent`](Self::exponent) left.
    #[inline(always)]
    fn exponent_slope(&self, units: &[Lanes<E>]) -> Lanes<E> {
        let mut slope = [E::zero(); LANES];
        for ((row, w1), w2) in units.iter().zip(self.w1).zip(self.w2) {
            for lane in 0..LANES {
                let bend = w2[lane] * (E::one() - row[lane] * row[lane]);
                slope[lane] = bend.mul_add(w1[lane], slope[lane]);
            }
        }
        slope
    }

    /// Adds `factor` times the gradient of s(u) to that of w1, b1, w2, b2.
    #[inline(always)]
    fn add_gradient(
        &self,
        units: &[Lanes<E>],
        u: &Lanes<E>,
        factor: &Lanes<E>,
        gradient: &mut [E],
    ) {
        let (d_w1, rest) = rows_mut(gradient).split_at_mut(units.len());
        let (d_b1, rest) = rest.split_at_mut(units.len());
        let (d_w2, d_b2) = rest.split_at_mut(units.len());
        for (unit, row) in units.iter().enumerate() {
            let w2 = &self.w2[unit];
            let (d_w1, d_b1, d_w2) = (&mut d_w1[unit], &mut d_b1[unit], &mut d_w2[unit]);
            for lane in 0..LANES {
                let bend = factor[lane] * w2[lane] * (E::one() - row[lane] * row[lane]);
                d_w1[lane] += bend * u[lane];
                d_b1[lane] += bend;
                d_w2[lane] += factor[lane] * row[lane];
            }
        }
        add(&mut d_b2[0], factor);
    }
}

/// g = e^min(s, 0) + max(s, 0), its logarithm and derivatives without a branch.
struct Elu<E> {
    low: E,
    high: E,
}

impl<E: Real> Elu<E> {
    #[inline(always)]
    fn new(s: E) -> Self {
        let low = if s < E::zero() { s } else { E::zero() };
        // A difference, so that NaN stays.
        Self { low, high: s - low }
    }

    #[inline(always)]
    fn value(&self) -> E {
        exp(self.low) + self.high
    }

    /// ln g, which is s where g may underflow.
    #[inline(always)]
    fn log(&self) -> E {
        self.low + ln(E::one() + self.high)
    }

    /// dg/ds
    #[inline(always)]
    fn slope(&self) -> E {
        exp(self.low)
    }

    /// d ln g / ds
    #[inline(always)]
    fn log_derivative(&self) -> E {
        E::one() / (E::one() + self.high)
    }
}

impl Integrated {
    /// A network of `hidden` units, integrated with N + 1 nodes, N = `steps`; 50 is usual.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are 1 to 1,000 units and 2 to 10,000 steps.
    pub fn new(hidden: usize, steps: usize) -> Result<Self> {
        if !(1..=1_000).contains(&hidden) {
            let (name, requirement) = ("hidden units of an integrand", "between 1 and 1,000");
            return Err(Error::Parameter { name, requirement, value: hidden as f64 });
        }
        if !(2..=10_000).contains(&steps) {
            let (name, requirement) = ("steps of a quadrature", "between 2 and 10,000");
            return Err(Error::Parameter { name, requirement, value: steps as f64 });
        }
        Ok(Self { hidden, rule: clenshaw_curtis(steps) })
    }
}

impl<E: Real> Transformer<E> for Integrated {
    fn name(&self) -> &'static str {
        "integrated network"
    }

    fn arity(&self) -> usize {
        3 * self.hidden + 2
    }

    fn initial(&self) -> Vec<f64> {
        let hidden = self.hidden;
        let mut theta = vec![0.0; 3 * hidden + 2];
        theta[..hidden].fill(1.0);
        for (unit, bias) in theta[hidden..2 * hidden].iter_mut().enumerate() {
            *bias = 2.0 * ((2 * unit + 1) as f64 / hidden as f64 - 1.0);
        }
        theta
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let weights = Weights::new(theta, self.hidden);
        let mut units = vec![[E::zero(); LANES]; self.hidden];
        vectorised(
            #[inline(always)]
            || {
                let (mut mean, mut last) = ([E::zero(); LANES], [E::zero(); LANES]);
                for &(node, weight) in self.rule.iter() {
                    let u = lanes(|lane| E::of(node) * x[lane]);
                    last = weights.exponent(&u, &mut units);
                    for lane in 0..LANES {
                        mean[lane] += E::of(weight) * Elu::new(last[lane]).value();
                    }
                }
                // The last node is x itself.
                for lane in 0..LANES {
                    y[lane] = mean[lane].mul_add(x[lane], weights.beta[lane]);
                    log_slope[lane] += Elu::new(last[lane]).log();
                }
            },
        );
        check_finite("value or log-slope of an integrated network", y, log_slope)
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    /// By Leibniz' rule: dy/dx = g(x), and the gradient of the parameters is the integral of g's,
    /// with the same nodes.
    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let weights = Weights::new(theta, self.hidden);
        let mut units = vec![[E::zero(); LANES]; self.hidden];
        let Inner { value, theta: d_theta } = inner;
        d_theta.fill(E::zero());
        let (d_network, d_beta) = d_theta.split_at_mut((3 * self.hidden + 1) * LANES);
        d_beta.copy_from_slice(outer.value);
        vectorised(
            #[inline(always)]
            || {
                let zero = [E::zero(); LANES];
                let (mut at_x, mut last) = (zero, zero);
                for (index, &(node, weight)) in self.rule.iter().enumerate() {
                    let u = lanes(|lane| E::of(node) * x[lane]);
                    last = weights.exponent(&u, &mut units);
                    if index + 1 == self.rule.len() {
                        at_x = lanes(|i| outer.log_slope[i] * Elu::new(last[i]).log_derivative());
                    }
                    let factor = lanes(|lane| {
                        let scaled = E::of(weight) * outer.value[lane] * x[lane];
                        scaled.mul_add(Elu::new(last[lane]).slope(), at_x[lane])
                    });
                    weights.add_gradient(&units, &u, &factor, d_network);
                }
                // The last node is x itself.
                let ds = weights.exponent_slope(&units);
                for lane in 0..LANES {
                    let slope = Elu::new(last[lane]).value();
                    value[lane] = outer.value[lane] * slope + at_x[lane] * ds[lane];
                }
            },
        );
    }
}
