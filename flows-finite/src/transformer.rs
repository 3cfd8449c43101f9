//! Transformers: strictly monotone scalar maps, parametrised for each element (review, Section
//! 3.1.1).

mod additive;
mod affine;
mod bernstein;
mod check_finite;
mod circular_spline;
mod config;
mod cubic_curve;
mod cubic_spline;
mod deep_sigmoidal;
mod dense_sigmoidal;
mod fixed_affine;
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
pub use fixed_affine::FixedAffine;
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
pub use spline_interval::{SplineConfig, Tails};
pub use sum_of_squares::{SumOfSquares, SumOfSquaresConfig};

use std::fmt::Debug;

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Real, Result, Space};

/// A strictly increasing scalar map y = tau(x; theta), over [`LANES`] elements at a time.
///
/// Layers hold it as `Arc<dyn Transformer<E>>`: a virtual call for every 128 elements costs
/// nothing.
///
/// `theta` holds [`arity`](Self::arity) rows of LANES values. The log-slope is *added to*
/// `log_slope`, so that a layer sums the log-determinant over its features without a buffer.
pub trait Transformer<E: Real>: Debug + Send + Sync {
    /// Name for messages.
    fn name(&self) -> &'static str;

    /// Number of parameters of an element.
    fn arity(&self) -> usize;

    /// Space of the images of points in `from`; by default the real line.
    ///
    /// # Errors
    /// The space in which points must lie, where the map is not injective on `from`.
    fn image_space(&self, _from: Space) -> std::result::Result<Space, Space> {
        Ok(Space::Line)
    }

    /// Initial parameters, `arity` of them: a conditioner adds them to the bias of its last layer,
    /// so that a network that returns zero gives the identity, or a map as near to it as the
    /// transformer allows.
    fn initial(&self) -> Vec<f64>;

    /// Whether the inverse is a formula; otherwise it is a root search.
    fn closed_inverse(&self) -> bool {
        true
    }

    /// y = tau(x) and log tau'(x).
    ///
    /// # Errors
    /// Numerical failures of maps without a closed form.
    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()>;

    /// x with tau(x) = y, and -log tau'(x); returns the number of iterations, 0 for a formula. A
    /// map without a formula calls [`invert`].
    ///
    /// # Errors
    /// [`Error::NotConverged`](flows_core::Error::NotConverged) of inverses without a closed form.
    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64>;

    /// Backward pass of [`forward`](Self::forward): from the gradients of y and of log tau'(x),
    /// writes those of x and theta.
    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>);

    /// Backward pass of [`inverse`](Self::inverse), at the x that it returned: from the gradients
    /// of x and of -log tau'(x), writes those of y and theta.
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

/// Incoming gradients, LANES values each.
#[derive(Clone, Copy, Debug)]
pub struct Outer<'a, E> {
    /// Of the value.
    pub value: &'a [E],
    /// Of the log-slope.
    pub log_slope: &'a [E],
}

/// Outgoing gradients, both written over.
#[derive(Debug)]
pub struct Inner<'a, E> {
    /// Of the input, LANES values.
    pub value: &'a mut [E],
    /// Of the parameters, `arity` rows of LANES values.
    pub theta: &'a mut [E],
}
