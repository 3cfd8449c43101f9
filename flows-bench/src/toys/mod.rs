//! Eight toy densities in the plane, with samplers, exact log-densities and entropies.
//!
//! They are those of the FFJORD experiments, with one change: there, angles and curve parameters
//! are evenly spaced over a batch and classes have equal counts; here all rows are independent
//! draws. So [`Toy::log_density`] is the density of each row, and the mean of its negative over
//! rows tends to [`Toy::entropy`], the least negative log-likelihood of any model.
//!
//! # Reference
//! Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, *FFJORD: Free-form Continuous Dynamics for
//! Scalable Reversible Generative Models*, ICLR 2019, section 4.1 and the code released with it.
//! <https://arxiv.org/abs/1810.01367>

mod bessel;
pub(crate) mod blurred_curve;
mod boxed_gaussian;
mod checkerboard;
mod eight_gaussians;
pub(crate) mod gauss_legendre;
pub(crate) mod log_sum;
pub(crate) mod moons;
mod pinwheel;
mod rings;
mod swissroll;
#[cfg(test)]
mod tests;
mod two_spirals;

use std::fmt;
use std::str::FromStr;

use rand::Rng;

/// A toy distribution in the plane with known density.
///
/// | toy | construction | log-density |
/// |---|---|---|
/// | `8gaussians` | eight Gaussians on a circle | closed form |
/// | `checkerboard` | uniform on eight squares of side 2 | closed form |
/// | `circles` | radii 3 and 1.5, noise 0.24 | closed form with I₀ |
/// | `moons` | two half circles of radius 2, noise 0.2 | quadrature along the curve |
/// | `pinwheel` | five Gaussians, twisted | change of variables, roots by Newton's method |
/// | `rings` | radii 3, 2.25, 1.5, 0.75, noise 0.08 | closed form with I₀ |
/// | `swissroll` | spiral, noise 0.2 | quadrature along the curve |
/// | `2spirals` | two spirals, uniform and Gaussian noise | quadrature along the curve |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Toy {
    /// Eight Gaussians of standard deviation 0.5/1.414 on a circle of radius 4/1.414.
    EightGaussians,
    /// The black squares of a 4 × 4 board over [−4, 4]².
    Checkerboard,
    /// Two concentric circles with noise.
    Circles,
    /// Two interleaved half circles with noise.
    Moons,
    /// Five twisted blades around the origin.
    Pinwheel,
    /// Four concentric circles with a little noise.
    Rings,
    /// One spiral of one and a half turns that starts away from the origin.
    Swissroll,
    /// Two opposite spirals that meet at the origin.
    TwoSpirals,
}

/// A differential entropy in nats, with an error bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropy {
    /// −∫ p ln p.
    pub nats: f64,
    /// Absolute error bound of `nats`.
    pub error: f64,
}

/// Name, window and constants of a toy.
#[derive(Clone, Copy, Debug)]
struct Card {
    name: &'static str,
    window: [f64; 4],
    entropy: Entropy,
    density_error: f64,
}

impl Toy {
    /// All toys, alphabetically except for the two names that start with a digit.
    pub const ALL: [Toy; 8] = [
        Toy::EightGaussians,
        Toy::Checkerboard,
        Toy::Circles,
        Toy::Moons,
        Toy::Pinwheel,
        Toy::Rings,
        Toy::Swissroll,
        Toy::TwoSpirals,
    ];

    /// Name in the literature, configurations and figures; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        self.card().name
    }

    /// Independent draws, `rows` × 2 in row-major order.
    pub fn sample(self, rows: usize, rng: &mut impl Rng) -> Vec<f64> {
        (0..rows).flat_map(|_| self.draw(rng)).collect()
    }

    /// Normalised log-density at `x` in nats; −∞ outside the support, NaN if a coordinate is NaN.
    ///
    /// # Accuracy
    /// [`Toy::density_error`] where the density exceeds exp(−25). Beyond, the value stays finite up
    /// to coordinates of about 1e153, with a relative error below 1 %: more than twelve noise
    /// scales outside the bounding box of a curve the nearest quadrature node replaces the nearest
    /// point, and the pinwheel is replaced by its angular mean for |x| > 16.
    pub fn log_density(self, x: [f64; 2]) -> f64 {
        if x[0].is_nan() || x[1].is_nan() {
            return f64::NAN;
        }
        match self {
            Toy::EightGaussians => eight_gaussians::log_density(x),
            Toy::Checkerboard => checkerboard::log_density(x),
            Toy::Circles => rings::CIRCLES.log_density(x),
            Toy::Moons => moons::log_density(x),
            Toy::Pinwheel => pinwheel::log_density(x),
            Toy::Rings => rings::RINGS.log_density(x),
            Toy::Swissroll => swissroll::log_density(x),
            Toy::TwoSpirals => two_spirals::log_density(x),
        }
    }

    /// Differential entropy, the lower bound of every model's expected negative log-likelihood.
    ///
    /// ln 32 for the checkerboard, otherwise the integral of −p ln p by the midpoint rule with step
    /// 0.02 over [−6, 6]², which for smooth densities converges faster than any power of the step:
    /// halving the step changes nothing above the stated error.
    pub fn entropy(self) -> Entropy {
        self.card().entropy
    }

    /// A box [x_min, x_max, y_min, y_max] for plots, with all but 1e-6 of the mass.
    pub fn window(self) -> [f64; 4] {
        self.card().window
    }

    /// Bound on the absolute error of [`Toy::log_density`] where the density exceeds exp(−25).
    pub fn density_error(self) -> f64 {
        self.card().density_error
    }

    fn card(self) -> &'static Card {
        match self {
            Toy::EightGaussians => &eight_gaussians::CARD,
            Toy::Checkerboard => &checkerboard::CARD,
            Toy::Circles => &rings::CIRCLES.card,
            Toy::Moons => &moons::CARD,
            Toy::Pinwheel => &pinwheel::CARD,
            Toy::Rings => &rings::RINGS.card,
            Toy::Swissroll => &swissroll::CARD,
            Toy::TwoSpirals => &two_spirals::CARD,
        }
    }

    fn draw(self, rng: &mut impl Rng) -> [f64; 2] {
        match self {
            Toy::EightGaussians => eight_gaussians::draw(rng),
            Toy::Checkerboard => checkerboard::draw(rng),
            Toy::Circles => rings::CIRCLES.draw(rng),
            Toy::Moons => moons::draw(rng),
            Toy::Pinwheel => pinwheel::draw(rng),
            Toy::Rings => rings::RINGS.draw(rng),
            Toy::Swissroll => swissroll::draw(rng),
            Toy::TwoSpirals => two_spirals::draw(rng),
        }
    }
}

impl fmt::Display for Toy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Toy {
    type Err = UnknownToy;

    /// # Errors
    /// [`UnknownToy`] if `name` is not exactly one of [`Toy::name`].
    fn from_str(name: &str) -> Result<Self, UnknownToy> {
        let found = Toy::ALL.into_iter().find(|toy| toy.name() == name);
        found.ok_or_else(|| UnknownToy { name: name.to_owned() })
    }
}

/// Error for a name that is not a [`Toy`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownToy {
    /// The name as given.
    pub name: String,
}

impl fmt::Display for UnknownToy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Toy::ALL.map(Toy::name).join(", ");
        write!(f, "no toy is called {:?}, expected one of {names}", self.name)
    }
}

impl std::error::Error for UnknownToy {}
