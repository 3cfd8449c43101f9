//! Transformers: strictly monotone scalar maps with parameters for each element (review, Section
//! 3.1.1).

mod additive;
mod affine;
mod bernstein;
mod circular_spline;
mod config;
mod cubic_curve;
mod cubic_spline;
mod deep_sigmoidal;
mod dense_sigmoidal;
mod finite;
mod free_knots;
mod gaussianization;
mod half_line;
mod integrated;
mod interval;
mod inverted;
mod lanes;
mod linear_rational;
mod linear_spline;
mod logistic_cdf;
mod logistic_mixture;
mod mixture;
mod normal_tail;
mod partition;
mod quadratic_spline;
mod quadrature;
mod rational_quadratic;
pub(crate) mod root;
mod scaling;
mod spline;
mod spline_interval;
mod sum_of_squares;

pub use additive::{Additive, AdditiveConfig};
pub use affine::{Affine, AffineConfig, Scale};
pub use bernstein::{Bernstein, BernsteinConfig};
pub use circular_spline::{CircularSpline, CircularSplineConfig};
pub use config::{SharedTransformer, TransformerConfig};
pub use cubic_spline::{CubicSpline, CubicSplineConfig};
pub use deep_sigmoidal::{DeepSigmoidal, DeepSigmoidalConfig};
pub use dense_sigmoidal::{DenseSigmoidal, DenseSigmoidalConfig};
pub use gaussianization::{Gaussianization, GaussianizationConfig};
pub use half_line::HalfLine;
pub use integrated::{Integrated, IntegratedConfig};
pub use interval::Interval;
pub use inverted::Inverted;
pub use linear_rational::{LinearRational, LinearRationalConfig};
pub use linear_spline::{LinearSpline, LinearSplineConfig};
pub use logistic_cdf::MixtureConfig;
pub use logistic_mixture::{LogisticMixture, LogisticMixtureConfig};
pub use quadratic_spline::{QuadraticSpline, QuadraticSplineConfig};
pub use rational_quadratic::{RationalQuadratic, RationalQuadraticConfig};
pub use root::invert;
pub use scaling::FixedAffine;
pub use spline_interval::{SplineConfig, Tails};
pub use sum_of_squares::{SumOfSquares, SumOfSquaresConfig};

use std::fmt::Debug;

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Real, Result};

/// A strictly increasing scalar map y = tau(x; theta), over [`LANES`] elements at a time.
///
/// Layers hold it as `Arc<dyn Transformer<E>>`: a call for every 128 elements costs nothing.
///
/// `theta` holds [`arity`](Self::arity) rows of LANES values. `log_slope` is *added to*, so that a
/// layer sums the log-determinant over its features without a buffer of its own.
pub trait Transformer<E: Real>: Debug + Send + Sync {
    /// Name for messages.
    fn name(&self) -> &'static str;

    /// Parameters of an element.
    fn arity(&self) -> usize;

    /// Parameters at which training starts, `arity` of them: a conditioner adds them to the bias of
    /// its last layer, so that a network that returns zero leaves every element as it is, or as near
    /// to that as the map allows.
    fn identity(&self) -> Vec<f64>;

    /// Whether the inverse is a formula; otherwise it is a root search.
    fn closed_inverse(&self) -> bool {
        true
    }

    /// y = tau(x) and log tau'(x).
    ///
    /// # Errors
    /// Numerical events of maps without a closed form.
    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()>;

    /// x with tau(x) = y, and -log tau'(x); returns the number of iterations, 0 for a formula.
    /// A map without a formula calls [`invert`].
    ///
    /// # Errors
    /// [`Error::NotConverged`](flows_core::Error::NotConverged) of inverses without a closed form.
    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64>;

    /// Given the gradients of y and of log tau'(x), writes those of x and theta.
    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>);

    /// Given the gradients of x and of -log tau'(x), writes those of y and theta, at the x that
    /// [`inverse`](Self::inverse) returned.
    ///
    /// With g the gradient of x and l that of the log-slope, and everything at x,
    /// ```text
    /// G = (g - l d log tau'/dx) / tau'      the gradient of y
    /// theta receives  -G d tau/d theta - l d log tau'/d theta
    /// ```
    /// by the implicit function theorem: the second line is the forward gradient of (-G, -l).
    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (zero, one) = ([E::zero(); LANES], [E::one(); LANES]);
        let Inner { value, theta: d_theta } = inner;
        let pull = |outer, value: &mut [E], theta_gradient: &mut [E]| {
            self.forward_gradient(x, theta, outer, Inner { value, theta: theta_gradient });
        };
        let (mut slope, mut curvature) = (zero, zero);
        pull(Outer { value: &one, log_slope: &zero }, &mut slope, d_theta);
        pull(Outer { value: &zero, log_slope: &one }, &mut curvature, d_theta);
        let (mut back, mut log_back, mut unused) = (zero, zero, zero);
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let (g, l) = (outer.value[lane], outer.log_slope[lane]);
                    value[lane] = (g - l * curvature[lane]) / slope[lane];
                    back[lane] = -value[lane];
                    log_back[lane] = -l;
                }
            },
        );
        pull(Outer { value: &back, log_slope: &log_back }, &mut unused, d_theta);
    }
}

/// Gradients that come in, LANES values each.
#[derive(Clone, Copy, Debug)]
pub struct Outer<'a, E> {
    /// Of the value.
    pub value: &'a [E],
    /// Of the log-slope.
    pub log_slope: &'a [E],
}

/// Gradients that go out; both are written over.
#[derive(Debug)]
pub struct Inner<'a, E> {
    /// Of the input, LANES values.
    pub value: &'a mut [E],
    /// Of the parameters, `arity` rows of LANES values.
    pub theta: &'a mut [E],
}
