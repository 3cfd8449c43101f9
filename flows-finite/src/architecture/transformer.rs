//! The scalar map of a layer, by config.

use std::any::Any;
use std::sync::Arc;

use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use crate::transformer::{
    Additive, Affine, AffineConfig, Bernstein, BernsteinConfig, CircularSpline, CubicSpline,
    DeepSigmoidal, DeepSigmoidalConfig, DenseSigmoidal, DenseSigmoidalConfig, Gaussianization,
    Integrated, IntegratedConfig, Inverted, LinearRational, LinearSpline, LogisticMixture,
    MixtureConfig, NoSettings, QuadraticSpline, RationalQuadratic, SplineConfig, SumOfSquares,
    SumOfSquaresConfig, Transformer,
};

/// Which transformer a layer has.
///
/// | kind | settings with their defaults | inverse |
/// |---|---|---|
/// | `additive` | | formula |
/// | `affine` | `scale = { kind = "bounded", bound = 3 }`, `inverted = false` | formula |
/// | `linear_spline`, `quadratic_spline`, `cubic_spline`, `linear_rational`, `rational_quadratic`, `circular_spline` | `bins = 16`, `bound = 4`, `tails = "identity"` | formula |
/// | `bernstein` | `degree = 16`, `bound = 4` | search inside the bound |
/// | `deep_sigmoidal` | `units = 16` | search |
/// | `dense_sigmoidal` | `layers = 2`, `units = 8` | search |
/// | `logistic_mixture`, `gaussianization` | `components = 16` | search |
/// | `integrated` | `hidden = 16`, `steps = 20` | search |
/// | `sum_of_squares` | `polynomials = 2`, `degree = 2` | search |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TransformerConfig {
    /// y = x + t.
    Additive(NoSettings),
    /// y = exp(s) x + t.
    Affine(AffineConfig),
    /// Piecewise linear.
    LinearSpline(SplineConfig),
    /// Piecewise quadratic.
    QuadraticSpline(SplineConfig),
    /// Piecewise cubic.
    CubicSpline(SplineConfig),
    /// Piecewise ratio of linear functions.
    LinearRational(SplineConfig),
    /// Piecewise ratio of quadratic polynomials.
    RationalQuadratic(SplineConfig),
    /// The same on a circle.
    CircularSpline(SplineConfig),
    /// Bernstein polynomial.
    Bernstein(BernsteinConfig),
    /// NAF's deep sigmoidal map.
    DeepSigmoidal(DeepSigmoidalConfig),
    /// NAF's deep dense sigmoidal map.
    DenseSigmoidal(DenseSigmoidalConfig),
    /// Flow++'s mixture of logistic distribution functions.
    LogisticMixture(MixtureConfig),
    /// Normal quantiles of a mixture's distribution function.
    Gaussianization(MixtureConfig),
    /// Integral of a positive network.
    Integrated(IntegratedConfig),
    /// Integral of a sum of squared polynomials.
    SumOfSquares(SumOfSquaresConfig),
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self::Affine(AffineConfig::default())
    }
}

impl TransformerConfig {
    /// The affine map as MAF writes it, its scale bounded.
    #[must_use]
    pub fn inverted_affine() -> Self {
        Self::Affine(AffineConfig { inverted: true, ..AffineConfig::default() })
    }

    /// Parameters of an element.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn arity(&self) -> Result<usize> {
        Ok(self.build::<f64>()?.arity())
    }

    /// The transformer.
    ///
    /// # Errors
    /// [`flows_core::Error::Parameter`] for a value out of range.
    pub fn build<E: Real>(&self) -> Result<Arc<dyn Transformer<E>>> {
        same(self.of_precision(E::NAME)?)
    }

    /// Not generic, so that every transformer is compiled here, once.
    fn of_precision(&self, name: &str) -> Result<Box<dyn Any>> {
        Ok(if name == f32::NAME {
            Box::new(self.compose::<f32>()?)
        } else {
            Box::new(self.compose::<f64>()?)
        })
    }

    fn compose<E: Real>(&self) -> Result<Arc<dyn Transformer<E>>> {
        Ok(match *self {
            Self::Additive(NoSettings {}) => Arc::new(Additive),
            Self::Affine(AffineConfig { scale, inverted: false }) => Arc::new(Affine::new(scale)?),
            Self::Affine(AffineConfig { scale, inverted: true }) => {
                Arc::new(Inverted(Affine::new(scale)?))
            }
            Self::LinearSpline(SplineConfig { bins, bound, .. }) => {
                Arc::new(LinearSpline::new(bins, bound)?)
            }
            Self::QuadraticSpline(SplineConfig { bins, bound, tails }) => {
                Arc::new(QuadraticSpline::new(bins, bound, tails)?)
            }
            Self::CubicSpline(SplineConfig { bins, bound, tails }) => {
                Arc::new(CubicSpline::new(bins, bound, tails)?)
            }
            Self::LinearRational(SplineConfig { bins, bound, tails }) => {
                Arc::new(LinearRational::new(bins, bound, tails)?)
            }
            Self::RationalQuadratic(SplineConfig { bins, bound, tails }) => {
                Arc::new(RationalQuadratic::new(bins, bound, tails)?)
            }
            Self::CircularSpline(SplineConfig { bins, bound, .. }) => {
                Arc::new(CircularSpline::new(bins, bound)?)
            }
            Self::Bernstein(BernsteinConfig { degree, bound }) => {
                Arc::new(Bernstein::new(degree, bound)?)
            }
            Self::DeepSigmoidal(DeepSigmoidalConfig { units }) => {
                Arc::new(DeepSigmoidal::new(units)?)
            }
            Self::DenseSigmoidal(DenseSigmoidalConfig { layers, units }) => {
                Arc::new(DenseSigmoidal::new(layers, units)?)
            }
            Self::LogisticMixture(MixtureConfig { components }) => {
                Arc::new(LogisticMixture::new(components)?)
            }
            Self::Gaussianization(MixtureConfig { components }) => {
                Arc::new(Gaussianization::new(components)?)
            }
            Self::Integrated(IntegratedConfig { hidden, steps }) => {
                Arc::new(Integrated::new(hidden, steps)?)
            }
            Self::SumOfSquares(SumOfSquaresConfig { polynomials, degree }) => {
                Arc::new(SumOfSquares::new(polynomials, degree)?)
            }
        })
    }
}

/// A value under the name that its type has in generic code.
fn same<T: 'static>(value: Box<dyn Any>) -> Result<T> {
    value.downcast().map(|value| *value).map_err(|_| {
        let (name, requirement) = ("bits of a precision", "32 or 64");
        Error::Parameter { name, requirement, value: 0.0 }
    })
}
