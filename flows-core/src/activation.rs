//! Activation functions of networks, with their first two derivatives.

use serde::{Deserialize, Serialize};

use crate::Real;
use crate::elementwise::{sigmoid, softplus, tanh, vectorised};

/// An elementwise activation function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(a, 0); its derivative at 0 is taken as 0.
    #[default]
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// ln(1 + e^a).
    Softplus,
    /// a sigmoid(a), also called swish.
    Silu,
    /// a sigmoid(a) / 1.1: swish with slopes of at most 1, for residual flows (Chen et al. 2019).
    LipSwish,
}

/// An activation as scalar functions of what the forward pass keeps: its image if the derivatives
/// follow from that, otherwise its argument.
pub(crate) trait Curve {
    /// Whether the argument is kept instead of the image.
    const KEEPS_ARGUMENT: bool;
    fn keep<E: Real>(argument: E) -> E;
    fn value<E: Real>(kept: E) -> E;
    fn slope<E: Real>(kept: E) -> E;
    /// Second derivative; divided by the slope if the image is kept, because kept tangents are then
    /// images too.
    fn twist<E: Real>(kept: E) -> E;
}

pub(crate) struct ReluCurve;
pub(crate) struct TanhCurve;
pub(crate) struct SoftplusCurve;
pub(crate) struct SiluCurve;
pub(crate) struct LipSwishCurve;

/// Swish is steepest at a = 2.4, with slope 1.0998.
const STEEPEST: f64 = 1.1;

impl Curve for ReluCurve {
    const KEEPS_ARGUMENT: bool = false;

    #[inline(always)]
    fn keep<E: Real>(a: E) -> E {
        // Written so that NaN passes: the comparison is false for it.
        if a < E::zero() { E::zero() } else { a }
    }

    #[inline(always)]
    fn value<E: Real>(h: E) -> E {
        h
    }

    #[inline(always)]
    fn slope<E: Real>(h: E) -> E {
        if h > E::zero() { E::one() } else { E::zero() }
    }

    #[inline(always)]
    fn twist<E: Real>(_: E) -> E {
        E::zero()
    }
}

impl Curve for TanhCurve {
    const KEEPS_ARGUMENT: bool = false;

    #[inline(always)]
    fn keep<E: Real>(a: E) -> E {
        tanh(a)
    }

    #[inline(always)]
    fn value<E: Real>(h: E) -> E {
        h
    }

    #[inline(always)]
    fn slope<E: Real>(h: E) -> E {
        E::one() - h * h
    }

    #[inline(always)]
    fn twist<E: Real>(h: E) -> E {
        -(h + h)
    }
}

impl Curve for SoftplusCurve {
    const KEEPS_ARGUMENT: bool = true;

    #[inline(always)]
    fn keep<E: Real>(a: E) -> E {
        a
    }

    #[inline(always)]
    fn value<E: Real>(a: E) -> E {
        softplus(a)
    }

    #[inline(always)]
    fn slope<E: Real>(a: E) -> E {
        sigmoid(a)
    }

    #[inline(always)]
    fn twist<E: Real>(a: E) -> E {
        let s = sigmoid(a);
        s * (E::one() - s)
    }
}

impl Curve for SiluCurve {
    const KEEPS_ARGUMENT: bool = true;

    #[inline(always)]
    fn keep<E: Real>(a: E) -> E {
        a
    }

    #[inline(always)]
    fn value<E: Real>(a: E) -> E {
        a * sigmoid(a)
    }

    #[inline(always)]
    fn slope<E: Real>(a: E) -> E {
        let s = sigmoid(a);
        s + a * s * (E::one() - s)
    }

    #[inline(always)]
    fn twist<E: Real>(a: E) -> E {
        // (2 + a (1 - 2s)) s (1 - s)
        let s = sigmoid(a);
        s * (E::one() - s) * (E::of(2.0) + a * (E::one() - s - s))
    }
}

impl Curve for LipSwishCurve {
    const KEEPS_ARGUMENT: bool = true;

    #[inline(always)]
    fn keep<E: Real>(a: E) -> E {
        a
    }

    #[inline(always)]
    fn value<E: Real>(a: E) -> E {
        SiluCurve::value(a) * E::of(1.0 / STEEPEST)
    }

    #[inline(always)]
    fn slope<E: Real>(a: E) -> E {
        SiluCurve::slope(a) * E::of(1.0 / STEEPEST)
    }

    #[inline(always)]
    fn twist<E: Real>(a: E) -> E {
        SiluCurve::twist(a) * E::of(1.0 / STEEPEST)
    }
}

impl Activation {
    /// Whether layers keep the argument of the activation instead of its image.
    #[must_use]
    pub fn keeps_argument(self) -> bool {
        match self {
            Self::Relu => ReluCurve::KEEPS_ARGUMENT,
            Self::Tanh => TanhCurve::KEEPS_ARGUMENT,
            Self::Softplus => SoftplusCurve::KEEPS_ARGUMENT,
            Self::Silu => SiluCurve::KEEPS_ARGUMENT,
            Self::LipSwish => LipSwishCurve::KEEPS_ARGUMENT,
        }
    }

    /// Adds the bias to each row of `kept` (`lanes` arguments, then their tangents; rows are
    /// `stride` apart) and replaces the arguments by what is kept of them. If that is the image,
    /// the tangents become those of the image.
    pub fn keep<E: Real>(self, kept: &mut [E], bias: &[E], lanes: usize, stride: usize) {
        match self {
            Self::Relu => keep::<E, ReluCurve>(kept, bias, lanes, stride),
            Self::Tanh => keep::<E, TanhCurve>(kept, bias, lanes, stride),
            Self::Softplus => keep::<E, SoftplusCurve>(kept, bias, lanes, stride),
            Self::Silu => keep::<E, SiluCurve>(kept, bias, lanes, stride),
            Self::LipSwish => keep::<E, LipSwishCurve>(kept, bias, lanes, stride),
        }
    }

    /// Writes the images of what was kept, followed in each row by their tangents.
    pub fn images<E: Real>(self, kept: &[E], out: &mut [E], lanes: usize, stride: usize) {
        match self {
            Self::Relu => images::<E, ReluCurve>(kept, out, lanes, stride),
            Self::Tanh => images::<E, TanhCurve>(kept, out, lanes, stride),
            Self::Softplus => images::<E, SoftplusCurve>(kept, out, lanes, stride),
            Self::Silu => images::<E, SiluCurve>(kept, out, lanes, stride),
            Self::LipSwish => images::<E, LipSwishCurve>(kept, out, lanes, stride),
        }
    }

    /// The images of what was kept: itself, if it is the image, otherwise as [`images`](Self::images)
    /// writes them to `buffer`.
    pub fn images_in<'a, E: Real>(
        self,
        kept: &'a [E],
        buffer: &'a mut Vec<E>,
        lanes: usize,
        stride: usize,
    ) -> &'a [E] {
        if !self.keeps_argument() {
            return kept;
        }
        buffer.resize(kept.len(), E::zero());
        self.images(kept, buffer, lanes, stride);
        buffer
    }

    /// Writes the slopes at what was kept of values without tangents.
    pub fn slopes<E: Real>(self, kept: &[E], out: &mut Vec<E>) {
        out.clear();
        match self {
            Self::Relu => slopes::<E, ReluCurve>(kept, out),
            Self::Tanh => slopes::<E, TanhCurve>(kept, out),
            Self::Softplus => slopes::<E, SoftplusCurve>(kept, out),
            Self::Silu => slopes::<E, SiluCurve>(kept, out),
            Self::LipSwish => slopes::<E, LipSwishCurve>(kept, out),
        }
    }

    /// Backward pass of [`slopes`](Self::slopes): adds to the gradients of the arguments.
    pub fn pull_slopes<E: Real>(self, kept: &[E], outer: &[E], arguments: &mut [E]) {
        match self {
            Self::Relu => pull_slopes::<E, ReluCurve>(kept, outer, arguments),
            Self::Tanh => pull_slopes::<E, TanhCurve>(kept, outer, arguments),
            Self::Softplus => pull_slopes::<E, SoftplusCurve>(kept, outer, arguments),
            Self::Silu => pull_slopes::<E, SiluCurve>(kept, outer, arguments),
            Self::LipSwish => pull_slopes::<E, LipSwishCurve>(kept, outer, arguments),
        }
    }

    /// Backward pass: turns gradients of images (and of their tangents) into gradients of
    /// arguments, in place: `da' = s dh'` and `da = s dh + sum of s2 a' dh'` with slope s and
    /// curvature s2. In terms of the image's tangent h' = s a', the last term is `s2 / s h' dh'`.
    pub fn pull<E: Real>(self, kept: &[E], gradient: &mut [E], lanes: usize, stride: usize) {
        match self {
            Self::Relu => pull::<E, ReluCurve>(kept, gradient, lanes, stride),
            Self::Tanh => pull::<E, TanhCurve>(kept, gradient, lanes, stride),
            Self::Softplus => pull::<E, SoftplusCurve>(kept, gradient, lanes, stride),
            Self::Silu => pull::<E, SiluCurve>(kept, gradient, lanes, stride),
            Self::LipSwish => pull::<E, LipSwishCurve>(kept, gradient, lanes, stride),
        }
    }
}

fn keep<E: Real, C: Curve>(kept: &mut [E], bias: &[E], lanes: usize, stride: usize) {
    vectorised(
        #[inline(always)]
        || {
            for (row, &bias) in kept.chunks_exact_mut(stride).zip(bias) {
                let (values, tangents) = row.split_at_mut(lanes);
                for value in &mut *values {
                    *value = C::keep(*value + bias);
                }
                if C::KEEPS_ARGUMENT {
                    continue;
                }
                for tangent in tangents.chunks_exact_mut(lanes) {
                    for (tangent, &kept) in tangent.iter_mut().zip(&*values) {
                        *tangent = C::slope(kept) * *tangent;
                    }
                }
            }
        },
    );
}

fn slopes<E: Real, C: Curve>(kept: &[E], out: &mut Vec<E>) {
    vectorised(
        #[inline(always)]
        || out.extend(kept.iter().map(|&kept| C::slope(kept))),
    );
}

fn pull_slopes<E: Real, C: Curve>(kept: &[E], outer: &[E], arguments: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for ((sum, &kept), &outer) in arguments.iter_mut().zip(kept).zip(outer) {
                let share = if C::KEEPS_ARGUMENT { E::one() } else { C::slope(kept) };
                *sum += outer * share * C::twist(kept);
            }
        },
    );
}

fn images<E: Real, C: Curve>(kept: &[E], out: &mut [E], lanes: usize, stride: usize) {
    vectorised(
        #[inline(always)]
        || {
            for (row, out) in kept.chunks_exact(stride).zip(out.chunks_exact_mut(stride)) {
                let (arguments, tangents) = row.split_at(lanes);
                let (values, images) = out.split_at_mut(lanes);
                for (value, &kept) in values.iter_mut().zip(arguments) {
                    *value = C::value(kept);
                }
                for (image, tangent) in
                    images.chunks_exact_mut(lanes).zip(tangents.chunks_exact(lanes))
                {
                    for ((image, &tangent), &kept) in image.iter_mut().zip(tangent).zip(arguments) {
                        let slope = if C::KEEPS_ARGUMENT { C::slope(kept) } else { E::one() };
                        *image = slope * tangent;
                    }
                }
            }
        },
    );
}

fn pull<E: Real, C: Curve>(kept: &[E], gradient: &mut [E], lanes: usize, stride: usize) {
    vectorised(
        #[inline(always)]
        || {
            for (row, gradient) in kept.chunks_exact(stride).zip(gradient.chunks_exact_mut(stride))
            {
                let (arguments, tangents) = row.split_at(lanes);
                let (values, images) = gradient.split_at_mut(lanes);
                for (value, &kept) in values.iter_mut().zip(arguments) {
                    *value = C::slope(kept) * *value;
                }
                for (image, tangent) in
                    images.chunks_exact_mut(lanes).zip(tangents.chunks_exact(lanes))
                {
                    for lane in 0..lanes {
                        let kept = arguments[lane];
                        values[lane] += C::twist(kept) * tangent[lane] * image[lane];
                        image[lane] = C::slope(kept) * image[lane];
                    }
                }
            }
        },
    );
}
