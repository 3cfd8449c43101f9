//! Conditional densities p(x | c) with samplers of x and c, exact log-densities and entropies.
//!
//! The mean of −ln p(x | c) over draws of both tends to [`ConditionalToy::entropy`], the least
//! negative log-likelihood of any conditional model.

mod linear_gaussian;
mod mixture;
mod moons;
mod rows;

use std::fmt;
use std::str::FromStr;

use rand::Rng;

use self::rows::{arrays, given, pairs};
use crate::toys::Entropy;

/// A conditional distribution with known density, and the distribution of its contexts.
///
/// | problem | x | c | x given c | log-density |
/// |---|---|---|---|---|
/// | `conditional-moons` | 2 | 2 | two half circles of radius 2, turned and blurred | quadrature along the curve |
/// | `heteroscedastic-mixture` | 1 | 1 | two normals that part and widen | closed form |
/// | `linear-gaussian-8` | 8 | 8 | N(A c + b, Σ) | closed form |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionalToy {
    /// [`Toy::Moons`](crate::toys::Toy::Moons) turned about the origin by an angle uniform on
    /// (−π, π), with noise of a standard deviation, the width, uniform on [0.1, 0.4].
    Moons,
    /// Two normals whose weights, means and standard deviations are smooth functions of c, uniform
    /// on (−1, 1): one bump at c = −1, two branches at c = 1.
    Mixture,
    /// A normal of fixed, full covariance whose mean is affine in c ~ N(0, I).
    LinearGaussian,
}

/// Name, description and constants of a problem.
#[derive(Clone, Copy, Debug)]
struct Card {
    name: &'static str,
    description: &'static str,
    dim: usize,
    contexts: &'static [&'static str],
    entropy: Entropy,
    window: Option<[f64; 4]>,
    slices: &'static [&'static [f64]],
}

impl ConditionalToy {
    /// All problems.
    pub const ALL: [Self; 3] = [Self::Moons, Self::Mixture, Self::LinearGaussian];

    /// Name in configurations and figures; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        self.card().name
    }

    /// A short description of its shape.
    pub fn description(self) -> &'static str {
        self.card().description
    }

    /// Features of x.
    pub fn dim(self) -> usize {
        self.card().dim
    }

    /// Features of c.
    pub fn context_dim(self) -> usize {
        self.card().contexts.len()
    }

    /// Names of the features of x: x1, x2, ...
    pub fn columns(self) -> Vec<String> {
        (1..=self.dim()).map(|i| format!("x{i}")).collect()
    }

    /// Names of the features of c.
    pub fn context_columns(self) -> Vec<String> {
        self.card().contexts.iter().map(|&name| name.to_owned()).collect()
    }

    /// Independent draws of x, `rows` × dim, and of their contexts, `rows` × context dim, both in
    /// row-major order. From the same state of `rng`, fewer rows are the first of more.
    pub fn sample(self, rows: usize, rng: &mut impl Rng) -> (Vec<f64>, Vec<f64>) {
        match self {
            Self::Moons => pairs(rows, rng, moons::draw_context, moons::draw),
            Self::Mixture => pairs(rows, rng, mixture::draw_context, mixture::draw),
            Self::LinearGaussian => {
                pairs(rows, rng, linear_gaussian::draw_context, linear_gaussian::draw)
            }
        }
    }

    /// One draw of x for each row of `contexts`, rows × dim in row-major order; an incomplete last
    /// row of contexts gives none.
    pub fn sample_given(self, contexts: &[f64], rng: &mut impl Rng) -> Vec<f64> {
        match self {
            Self::Moons => given(contexts, rng, moons::draw),
            Self::Mixture => given(contexts, rng, mixture::draw),
            Self::LinearGaussian => given(contexts, rng, linear_gaussian::draw),
        }
    }

    /// Normalised ln p(x | c) in nats.
    ///
    /// NaN if there are not [`dim`](Self::dim) features and [`context_dim`](Self::context_dim)
    /// contexts, if a feature is NaN, if a context is not finite, or for a width below 0.08.
    ///
    /// # Accuracy
    /// For `conditional-moons` 1e-9 where the density exceeds exp(−25), and a relative error below
    /// 1 % beyond; for the others rounding.
    pub fn log_density(self, x: &[f64], c: &[f64]) -> f64 {
        if x.iter().any(|x| x.is_nan()) || c.iter().any(|c| !c.is_finite()) {
            return f64::NAN;
        }
        let log_density = match self {
            Self::Moons => arrays(x, c).map(|(x, c)| moons::log_density(x, c)),
            Self::Mixture => arrays(x, c).map(|(x, c)| mixture::log_density(x, c)),
            Self::LinearGaussian => arrays(x, c).map(|(x, c)| linear_gaussian::log_density(x, c)),
        };
        log_density.unwrap_or(f64::NAN)
    }

    /// The mean over contexts of the differential entropy of x given c, E_c ∫ −p ln p dx: the lower
    /// bound of every model's expected negative log-likelihood.
    ///
    /// A closed form for `linear-gaussian-8`. For the others ∫ −p ln p by the midpoint or
    /// trapezoidal rule, with a step far below the noise, and the mean over contexts by a Gauss
    /// rule: finer rules change nothing above the stated error.
    pub fn entropy(self) -> Entropy {
        self.card().entropy
    }

    /// A box for plots with all but 1e-6 of the mass: of the plane of x, [x_min, x_max, y_min,
    /// y_max], if x has two features; [c_min, c_max, x_min, x_max] if x and c have one each;
    /// otherwise none.
    pub fn window(self) -> Option<[f64; 4]> {
        self.card().window
    }

    /// Contexts at which a figure shows p(x | c); none without a [`window`](Self::window).
    pub fn slices(self) -> Vec<Vec<f64>> {
        self.card().slices.iter().map(|c| c.to_vec()).collect()
    }

    fn card(self) -> &'static Card {
        match self {
            Self::Moons => &moons::CARD,
            Self::Mixture => &mixture::CARD,
            Self::LinearGaussian => &linear_gaussian::CARD,
        }
    }
}

impl fmt::Display for ConditionalToy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ConditionalToy {
    type Err = UnknownConditionalToy;

    /// # Errors
    /// [`UnknownConditionalToy`] if `name` is not exactly one of [`ConditionalToy::name`].
    fn from_str(name: &str) -> Result<Self, UnknownConditionalToy> {
        let found = Self::ALL.into_iter().find(|toy| toy.name() == name);
        found.ok_or_else(|| UnknownConditionalToy { name: name.to_owned() })
    }
}

/// Error for a name that is not a [`ConditionalToy`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownConditionalToy {
    /// The name as given.
    pub name: String,
}

impl fmt::Display for UnknownConditionalToy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ConditionalToy::ALL.map(ConditionalToy::name).join(", ");
        write!(f, "no conditional problem is called {:?}, expected one of {names}", self.name)
    }
}

impl std::error::Error for UnknownConditionalToy {}
