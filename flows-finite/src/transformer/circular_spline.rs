//! The circular spline: a rational-quadratic spline of the circle onto itself, followed by a
//! rotation.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Real, Result, Space};
use serde::{Deserialize, Serialize};

use super::spline_interval::{SplineConfig, SplineInterval, Tails};
use super::{Inner, Outer, RationalQuadratic, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`CircularSpline`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CircularSplineConfig(pub SplineConfig);

#[typetag::serde(name = "circular_spline")]
impl TransformerConfig for CircularSplineConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        let SplineConfig { bins, bound, .. } = self.0;
        Ok(Arc::new(CircularSpline::new(bins, bound)?))
    });
}

/// The circular spline y = tau(x) + phi on the circle of circumference 2B, tau rational-quadratic
/// with K bins.
///
/// The circle is [-B, B) with its ends identified: elements and images are moved there by whole
/// turns, in either direction. The spline alone fixes the point +-B; the rotation moves it
/// anywhere. The map is not injective on the line: it needs a base distribution and data on the
/// circle.
///
/// Parameters of an element: the angle phi (any number, in the unit of x), then those of
/// [`RationalQuadratic`] with [`Tails::Circular`]: K widths, K heights, K slopes.
///
/// # Accuracy
/// As the spline. Whole turns cost digits: at |x| = 1e6 B, six of them.
///
/// # Reference
/// Rezende, Papamakarios, Racanière, Albergo, Kanwar, Shanahan, Cranmer, *Normalizing Flows on Tori
/// and Spheres*, ICML 2020. <https://arxiv.org/abs/2002.02428>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircularSpline {
    interval: SplineInterval,
    spline: RationalQuadratic,
}

impl CircularSpline {
    /// A spline of `bins` bins on the circle [-`bound`, `bound`); angles have `bound` = pi.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) unless there are 2 to 500 bins and a
    /// positive, finite bound.
    pub fn new(bins: usize, bound: f64) -> Result<Self> {
        Ok(Self {
            interval: SplineInterval::new(bins, bound, Tails::Circular)?,
            spline: RationalQuadratic::new(bins, bound, Tails::Circular)?,
        })
    }

    /// Rotates `points` by `sign` times `angle`.
    fn rotate<E: Real>(&self, points: &mut [E], angle: &[E], sign: f64) {
        vectorised(
            #[inline(always)]
            || {
                for (point, &angle) in points.iter_mut().zip(angle) {
                    *point = self.interval.turned(E::of(sign).mul_add(angle, *point));
                }
            },
        );
    }
}

impl<E: Real> Transformer<E> for CircularSpline {
    fn name(&self) -> &'static str {
        "circular spline"
    }

    fn arity(&self) -> usize {
        1 + Transformer::<E>::arity(&self.spline)
    }

    fn image_space(&self, from: Space) -> std::result::Result<Space, Space> {
        self.interval.image_space(from)
    }

    fn initial(&self) -> Vec<f64> {
        [vec![0.0], Transformer::<E>::initial(&self.spline)].concat()
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (angle, theta) = theta.split_at(LANES);
        self.spline.forward(x, theta, y, log_slope)?;
        self.rotate(y, angle, 1.0);
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let (angle, theta) = theta.split_at(LANES);
        let mut turned = y.to_vec();
        self.rotate(&mut turned, angle, -1.0);
        self.spline.inverse(&turned, theta, x, log_slope)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (angle, others) = inner.theta.split_at_mut(LANES);
        angle.copy_from_slice(outer.value);
        let inner = Inner { value: inner.value, theta: others };
        self.spline.forward_gradient(x, &theta[LANES..], outer, inner);
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let Inner { value, theta: gradients } = inner;
        let (angle, others) = gradients.split_at_mut(LANES);
        let spline = Inner { value: &mut *value, theta: others };
        self.spline.inverse_gradient(x, &theta[LANES..], outer, spline);
        // The spline is inverted at y - phi.
        for (angle, &gradient) in angle.iter_mut().zip(&*value) {
            *angle = -gradient;
        }
    }
}
