//! The affine transformer of NICE, Real NVP, MAF and Glow.

use std::sync::Arc;

use flows_core::elementwise::{exp, ln, sigmoid, softplus, tanh, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::{Inner, Inverted, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`Affine`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AffineConfig {
    /// Map of the raw log-scale.
    pub scale: Scale,
    /// Whether it is written as (x - t) exp(-s), as MAF does.
    pub inverted: bool,
}

impl Default for AffineConfig {
    fn default() -> Self {
        Self { scale: Scale::Bounded { bound: 3.0 }, inverted: false }
    }
}

impl AffineConfig {
    /// Bound of the log-scale of a layer in deep stacks.
    ///
    /// Ten layers of it stretch or shrink a feature by e^10 = 2e4 at most, beside what linear layers and
    /// act-norm do: ribbons a thousandth as wide as the data stay within reach, and a row that no
    /// training row is near leaves with some 1e4 deviations, instead of the e^30 = 1e13 of ten layers of
    /// 3, whose square is a density nobody can use.
    pub(crate) const DEEP_BOUND: f64 = 1.0;

    /// The same with the log-scale of a layer bounded by 1, for stacks of about ten layers.
    #[must_use]
    pub fn in_deep_stack(self) -> Self {
        Self { scale: Scale::Bounded { bound: Self::DEEP_BOUND }, ..self }
    }

    /// The affine map as MAF writes it, its scale bounded.
    #[must_use]
    pub fn inverted() -> Self {
        Self { inverted: true, ..Self::default() }
    }
}

#[typetag::serde(name = "affine")]
impl TransformerConfig for AffineConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        let affine = Affine::new(self.scale)?;
        Ok(if self.inverted { Arc::new(Inverted(affine)) } else { Arc::new(affine) })
    });
}

/// Smallest scale of [`Scale::Softplus`] and [`Scale::Sigmoid`].
const MIN_SCALE: f64 = 1e-3;
/// Offset of the raw parameter of [`Scale::Sigmoid`].
const SIGMOID_OFFSET: f64 = 2.0;

/// How the raw parameter a becomes the scale; its logarithm is exact to rounding in every case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scale {
    /// log scale = a: unbounded, as in the original papers; deep stacks can overflow `f32`.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Exp,
    /// log scale = c tanh(a / c): within e^-c and e^c, and equal to `Exp` near 0.
    Bounded {
        /// The bound c of the log-scale.
        bound: f64,
    },
    /// scale = softplus(a + o) + 1e-3 with o = ln(e^(1 - 1e-3) - 1), so that it is 1 at a = 0: from
    /// 1e-3 up, and linear in a where it is large.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Softplus,
    /// scale = sigmoid(a + 2) + 1e-3, as in nflows and, without the floor, Glow: within 1e-3 and
    /// 1.001.
    ///
    /// Forward it cannot stretch by more than 1.001, whatever the data ask for, so standardise them
    /// and put act-norm or a linear layer beside it. Its scale is 1 at a = 4.907, where the sigmoid
    /// is nearly flat (d log scale / da = 1e-3): training leaves the identity slowly.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Sigmoid,
}

impl Scale {
    /// Raw parameter at which the scale is 1.
    fn identity(self) -> f64 {
        match self {
            Self::Exp | Self::Bounded { .. } | Self::Softplus => 0.0,
            Self::Sigmoid => ((1.0 - MIN_SCALE) / MIN_SCALE).ln() - SIGMOID_OFFSET,
        }
    }
}

/// The affine transformer y = e^s x + t, with the log-scale s from the first parameter and t the
/// second.
///
/// # Reference
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, eq. 7-8,
/// <https://arxiv.org/abs/1605.08803>; the sigmoid: the published code of Kingma, Dhariwal, *Glow:
/// Generative Flow with Invertible 1x1 Convolutions*, NeurIPS 2018,
/// <https://arxiv.org/abs/1807.03039>.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    scale: Scale,
}

/// Log-scale and its derivative by the raw parameter, LANES of each.
struct LogScale<E> {
    value: [E; LANES],
    slope: [E; LANES],
}

impl Affine {
    /// An affine transformer with the given map of the raw scale.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a bound that is not positive and finite.
    pub fn new(scale: Scale) -> Result<Self> {
        if let Scale::Bounded { bound: value } = scale
            && !(value > 0.0 && value.is_finite())
        {
            let (name, requirement) = ("bound of the scale", "positive and finite");
            return Err(Error::Parameter { name, requirement, value });
        }
        Ok(Self { scale })
    }

    #[inline(always)]
    fn log_scale<E: Real>(&self, raw: &[E]) -> LogScale<E> {
        match self.scale {
            Scale::Exp => each(raw, |a| (a, E::one())),
            Scale::Bounded { bound } => {
                let (bound, inverse) = (E::of(bound), E::of(1.0 / bound));
                each(raw, |a| {
                    let t = tanh(a * inverse);
                    (bound * t, E::one() - t * t)
                })
            }
            Scale::Softplus => {
                let offset = E::of((1.0 - MIN_SCALE).exp_m1().ln());
                each(raw, |a| {
                    let scale = softplus(a + offset) + E::of(MIN_SCALE);
                    (ln(scale), sigmoid(a + offset) / scale)
                })
            }
            Scale::Sigmoid => {
                let offset = E::of(SIGMOID_OFFSET);
                each(raw, |a| {
                    let open = sigmoid(a + offset);
                    let scale = open + E::of(MIN_SCALE);
                    // 1 - sigmoid(b) = sigmoid(-b), without its cancellation.
                    (ln(scale), open * sigmoid(-(a + offset)) / scale)
                })
            }
        }
    }
}

#[inline(always)]
fn each<E: Real>(raw: &[E], log_scale: impl Fn(E) -> (E, E)) -> LogScale<E> {
    let mut all = LogScale { value: [E::zero(); LANES], slope: [E::zero(); LANES] };
    for ((value, slope), &raw) in all.value.iter_mut().zip(&mut all.slope).zip(raw) {
        (*value, *slope) = log_scale(raw);
    }
    all
}

impl<E: Real> Transformer<E> for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn arity(&self) -> usize {
        2
    }

    fn initial(&self) -> Vec<f64> {
        vec![self.scale.identity(), 0.0]
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (raw, shift) = theta.split_at(LANES);
        vectorised(
            #[inline(always)]
            || {
                let s = self.log_scale(raw).value;
                for lane in 0..LANES {
                    y[lane] = exp(s[lane]).mul_add(x[lane], shift[lane]);
                    log_slope[lane] += s[lane];
                }
            },
        );
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let (raw, shift) = theta.split_at(LANES);
        vectorised(
            #[inline(always)]
            || {
                let s = self.log_scale(raw).value;
                for lane in 0..LANES {
                    x[lane] = (y[lane] - shift[lane]) * exp(-s[lane]);
                    log_slope[lane] -= s[lane];
                }
            },
        );
        Ok(0)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (d_raw, d_shift) = inner.theta.split_at_mut(LANES);
        vectorised(
            #[inline(always)]
            || {
                let s = self.log_scale(&theta[..LANES]);
                for lane in 0..LANES {
                    let scaled = outer.value[lane] * exp(s.value[lane]);
                    inner.value[lane] = scaled;
                    d_raw[lane] = (scaled * x[lane] + outer.log_slope[lane]) * s.slope[lane];
                    d_shift[lane] = outer.value[lane];
                }
            },
        );
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (d_raw, d_shift) = inner.theta.split_at_mut(LANES);
        vectorised(
            #[inline(always)]
            || {
                // x = e^-s (y - t), log-slope -s
                let s = self.log_scale(&theta[..LANES]);
                for lane in 0..LANES {
                    let g = outer.value[lane];
                    let scaled = g * exp(-s.value[lane]);
                    inner.value[lane] = scaled;
                    d_raw[lane] = -(g * x[lane] + outer.log_slope[lane]) * s.slope[lane];
                    d_shift[lane] = -scaled;
                }
            },
        );
    }
}
