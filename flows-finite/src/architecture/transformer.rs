//! The scalar map of a layer, by config.

use std::any::Any;
use std::sync::Arc;

use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use crate::transformer::{
    Additive, Affine, Bernstein, CircularSpline, CubicSpline, DeepSigmoidal, DenseSigmoidal,
    Gaussianization, Integrated, Inverted, LinearRational, LinearSpline, LogisticMixture,
    QuadraticSpline, RationalQuadratic, Scale, SumOfSquares, Tails, Transformer,
};

/// Which transformer a layer has.
///
/// | kind | settings with their defaults | inverse |
/// |---|---|---|
/// | `additive` | | formula |
/// | `affine` | `scale = { bounded = 3 }`, `inverted = false` | formula |
/// | `linear_spline`, `quadratic_spline`, `cubic_spline`, `linear_rational`, `rational_quadratic`, `circular_spline` | `bins = 16`, `bound = 4`, `tails = "identity"` | formula |
/// | `bernstein` | `degree = 16`, `bound = 4` | search inside the bound |
/// | `deep_sigmoidal` | `units = 16` | search |
/// | `dense_sigmoidal` | `layers = 2`, `units = 8` | search |
/// | `logistic_mixture`, `gaussianization` | `components = 16` | search |
/// | `integrated` | `hidden = 16`, `steps = 20` | search |
/// | `sum_of_squares` | `polynomials = 2`, `degree = 2` | search |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// Nothing to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// The affine transformer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AffineConfig {
    /// Map of the raw log-scale.
    pub scale: Scale,
    /// Whether it is written as (x - t) exp(-s), as MAF does.
    pub inverted: bool,
}

/// A spline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplineConfig {
    /// Number of bins.
    pub bins: usize,
    /// It acts on [-bound, bound].
    pub bound: f64,
    /// What happens outside; linear splines are the identity there, circular ones have no outside.
    pub tails: Tails,
}

/// A Bernstein polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BernsteinConfig {
    /// Degree.
    pub degree: usize,
    /// It acts on [-bound, bound], with straight tails.
    pub bound: f64,
}

/// A deep sigmoidal map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeepSigmoidalConfig {
    /// Sigmoidal units.
    pub units: usize,
}

/// A deep dense sigmoidal map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenseSigmoidalConfig {
    /// Layers.
    pub layers: usize,
    /// Sigmoidal units of each layer.
    pub units: usize,
}

/// A mixture of logistic distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixtureConfig {
    /// Components.
    pub components: usize,
}

/// An integrated positive network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntegratedConfig {
    /// Hidden units of the integrand.
    pub hidden: usize,
    /// Steps of the quadrature: where the integrand has its kink, values are good to about
    /// 0.5 / steps^3 (measured on the reference values; see [`Integrated`]).
    pub steps: usize,
}

/// A sum of squared polynomials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SumOfSquaresConfig {
    /// Number of polynomials.
    pub polynomials: usize,
    /// Degree of each; the map's is twice that and one.
    pub degree: usize,
}

impl Default for AffineConfig {
    fn default() -> Self {
        Self { scale: Scale::Bounded(3.0), inverted: false }
    }
}

impl Default for SplineConfig {
    fn default() -> Self {
        Self { bins: 16, bound: 4.0, tails: Tails::Identity }
    }
}

impl Default for BernsteinConfig {
    fn default() -> Self {
        Self { degree: 16, bound: 4.0 }
    }
}

impl Default for DeepSigmoidalConfig {
    fn default() -> Self {
        Self { units: 16 }
    }
}

impl Default for DenseSigmoidalConfig {
    fn default() -> Self {
        Self { layers: 2, units: 8 }
    }
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self { components: 16 }
    }
}

impl Default for IntegratedConfig {
    fn default() -> Self {
        Self { hidden: 16, steps: 20 }
    }
}

impl Default for SumOfSquaresConfig {
    fn default() -> Self {
        Self { polynomials: 2, degree: 2 }
    }
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
        super::same(self.of_precision(E::NAME)?)
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
