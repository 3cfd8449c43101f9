//! The integration-based transformer: the integral of a positive network.

mod network;
mod refinement;

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use self::network::{Elu, Weights};
use self::refinement::{Integral, Quadrature};
use super::check_finite::check_finite;
use super::lanes::lanes;
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`Integrated`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntegratedConfig {
    /// Hidden units of the integrand.
    pub hidden: usize,
    /// Steps of the quadrature, to begin with.
    pub steps: usize,
    /// Error of values relative to 1 + |y| at which the steps are not doubled any more; infinite for
    /// a fixed number of steps.
    pub tolerance: f64,
}

impl Default for IntegratedConfig {
    fn default() -> Self {
        Self { hidden: 16, steps: 20, tolerance: 5e-4 }
    }
}

#[typetag::serde(name = "integrated")]
impl TransformerConfig for IntegratedConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(Integrated::new(self.hidden, self.steps)?.within(self.tolerance)?))
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
/// The log-slope is that of the exact integral, to rounding. The integral is by Clenshaw-Curtis with
/// N + 1 nodes on [0, x]. How many are needed depends on the weights: where s changes its sign the
/// second derivative of g jumps, and the error falls as 1 / N^3 only; else it falls as
/// (r + sqrt(1 + r^2))^-N with r = pi / max |w1 x|, the distance of the poles.
///
/// With a tolerance ([`within`](Self::within)) N is therefore doubled, element by element, until the
/// sums Q of N, N/2 and N/4 steps, whose nodes are nested, agree:
/// ```text
/// |Q_N - Q_N/2| <= tolerance (1 + |y|),   |Q_N/2 - Q_N/4| <= 8 tolerance (1 + |y|)
/// ```
/// At a kink Q_N/2 is eight times as far off as Q_N, so that the first difference is seven times the
/// error of what is returned; the second one is asked for because a difference may be small by chance.
/// An arch of s between two neighbours that no node sees must be worth no more than half of the
/// tolerance: with h their distance, its area is at most max |s''| h^3 / 12, and
/// max |s''| <= 0.77 sum w1^2 |w2|. Both conditions together are an estimate, not a proof, but nothing
/// of them is fitted to weights; tests hold them for weights of 0.1 to 30 deviations. Where some 10,000
/// steps are not enough the row is an error. Rounding of large weights in `f32` adds to what is
/// tolerated.
///
/// Without a tolerance N stays as it is.
///
/// Both directions use the same sum, so that round trips are accurate to the root search for any N.
/// g may underflow where s < -87 (f32) or -708 (f64): the log-slope stays exact, but the inverse is
/// an error there.
///
/// # Cost
/// H (N + 1) hyperbolic tangents forward, with the N of the element in a block of 128 that needs the
/// most, and as many for each of the inverse's evaluations, about 10.
///
/// # Reference
/// Wehenkel, Louppe, *Unconstrained Monotonic Neural Networks*, NeurIPS 2019.
/// <https://arxiv.org/abs/1908.05164>. There the network is deeper and its weights are shared, and
/// the conditioner makes its inputs; here they are the conditioner's output.
#[derive(Clone, Debug)]
pub struct Integrated {
    hidden: usize,
    steps: usize,
    quadrature: Quadrature,
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
        Ok(Self { hidden, steps, quadrature: Quadrature::fixed(steps) })
    }

    /// The same with N, made a multiple of four, doubled until values are good to `tolerance`,
    /// relative to 1 + |y|; an infinite tolerance leaves it as it is.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the tolerance is at least 1e-12.
    pub fn within(self, tolerance: f64) -> Result<Self> {
        if tolerance == f64::INFINITY {
            return Ok(self);
        }
        if !(1e-12..f64::INFINITY).contains(&tolerance) {
            let (name, requirement) = ("tolerance of a quadrature", "at least 1e-12");
            return Err(Error::Parameter { name, requirement, value: tolerance });
        }
        Ok(Self { quadrature: Quadrature::adaptive(self.steps, tolerance), ..self })
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
        let Integral { mean, exponent, .. } =
            self.quadrature.integrate(x, &weights, self.hidden)?;
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    y[lane] = mean[lane].mul_add(x[lane], weights.beta[lane]);
                    log_slope[lane] += Elu::new(exponent[lane]).log();
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
        let levels = self.quadrature.levels(x, &weights, self.hidden);
        let nodes = self.quadrature.nodes(&levels);
        vectorised(
            #[inline(always)]
            || {
                let zero = [E::zero(); LANES];
                let (mut at_x, mut last) = (zero, zero);
                for index in 0..nodes {
                    let (node, weight) = self.quadrature.node::<E>(index, &levels);
                    let u = lanes(|lane| node * x[lane]);
                    last = weights.exponent(&u, &mut units);
                    if index + 1 == nodes {
                        at_x = lanes(|i| outer.log_slope[i] * Elu::new(last[i]).log_derivative());
                    }
                    let factor = lanes(|lane| {
                        let scaled = weight[lane] * outer.value[lane] * x[lane];
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
