//! Unnormalised target densities with known normalisers, for fitting flows without data (review,
//! Section 2.3.2).
//!
//! Each has its log-density and gradient as a [`Target`], the exact logarithm of its normaliser, so
//! that reverse divergences are absolute, and exact draws, so that forward divergences are too.
//!
//! # Reference
//! Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015, table 1 (`u1` to
//! `u4`). <https://arxiv.org/abs/1505.05770> Haario, Saksman, Tamminen, *Adaptive proposal
//! distribution for random walk Metropolis algorithm*, Comput. Stat. 14, 1999 (`banana`). Neal,
//! *Slice sampling*, Ann. Stat. 31(3), 2003, section 8 (`funnel`). Noe, Olsson, Kohler, Wu,
//! *Boltzmann generators*, Science 365, 2019 (the double well of `many-well`), and Midgley,
//! Stimper, Simm, Scholkopf, Hernandez-Lobato, *Flow Annealed Importance Sampling Bootstrap*, ICLR
//! 2023 (its product). <https://arxiv.org/abs/2208.01893>

mod banana;
mod cross;
mod funnel;
pub(crate) mod log_sum_exp;
mod many_well;
mod ring;
mod stated;
#[cfg(test)]
mod tests;
mod waves;

use std::fmt;
use std::str::FromStr;

use flows_core::Target;
use rand::Rng;

pub use funnel::Funnel;
pub use many_well::ManyWell;

/// A target density with a known normaliser.
///
/// | target | features | log p up to a constant | log Z |
/// |---|---|---|---|
/// | `u1` | 2 | a ring, heavier at its left and right | quadrature |
/// | `u2` | 2 | a ribbon along a sine, z1 in [-4, 4] | closed form |
/// | `u3` | 2 | two ribbons that part around z1 = 1, z1 in [-4, 4] | closed form |
/// | `u4` | 2 | two ribbons that part for z1 > 1, z1 in [-4, 4] | closed form |
/// | `cross` | 2 | two long normals across each other | 0 |
/// | `banana` | 2 | a normal bent along a parabola | 0 |
/// | `funnel` | 10, or as said | normals whose common scale is log-normal | 0 |
/// | `many-well` | 8, or as said | double wells: modes of unequal mass | quadrature |
///
/// Rezende and Mohamed define `u2` to `u4` on the whole plane, where they do not decay along z1 and
/// have no normaliser: the reverse divergence is unbounded below. Here z1 is restricted to [-4, 4],
/// the window of their figures, two periods of the sine.
///
/// A config has the name, or a table of the parameters, such as `{ funnel = { dim = 20, scale = 3.0 } }`
/// or `{ many-well = { pairs = 16 } }`; those left out are the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KnownTarget {
    /// A ring of radius 2 with two heavy sides.
    U1,
    /// One ribbon along a sine.
    U2,
    /// Two ribbons that part and join.
    U3,
    /// Two ribbons that part.
    U4,
    /// An equal mixture of N(0, diag(2, 0.3)^2) and N(0, diag(0.3, 2)^2).
    Cross,
    /// x1 ~ N(0, 2^2), x2 | x1 ~ N(x1^2 / 4 - 1, 0.5^2).
    Banana,
    /// v ~ N(0, 3^2), nine others | v ~ N(0, e^v), or as many and as wide as said.
    Funnel(Funnel),
    /// Four pairs of a double well and a normal, or as many as said.
    ManyWell(ManyWell),
}

/// The logarithm of a normaliser in nats, with an error bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogNormaliser {
    /// log Z
    pub nats: f64,
    /// Absolute error bound of `nats`.
    pub error: f64,
}

/// Name, description and constants of a target.
#[derive(Clone, Copy, Debug)]
struct Card {
    name: &'static str,
    description: &'static str,
    dim: usize,
    log_normaliser: LogNormaliser,
    window: [f64; 4],
}

impl KnownTarget {
    /// All targets, with default parameters.
    pub const ALL: [Self; 8] = [
        Self::U1,
        Self::U2,
        Self::U3,
        Self::U4,
        Self::Cross,
        Self::Banana,
        Self::Funnel(Funnel::DEFAULT),
        Self::ManyWell(ManyWell::DEFAULT),
    ];

    /// Name in configurations and figures, without parameters; [`FromStr`] reads it back with the
    /// defaults.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.card().name
    }

    /// A short description of its shape.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.card().description
    }

    /// log Z, Z = integral of exp([`Target::log_density`]).
    #[must_use]
    pub fn log_normaliser(self) -> LogNormaliser {
        self.card().log_normaliser
    }

    /// The support of each feature as an interval; `None` for the real line.
    #[must_use]
    pub fn support(self) -> Vec<Option<[f64; 2]>> {
        match self {
            Self::U2 | Self::U3 | Self::U4 => vec![Some(waves::SIDE), None],
            _ => vec![None; self.dim()],
        }
    }

    /// A box [x_min, x_max, y_min, y_max] for plots, with all but 1e-4 of the mass of the first two
    /// features; except for `funnel`, whose tails are too long.
    #[must_use]
    pub fn window(self) -> [f64; 4] {
        self.card().window
    }

    /// Independent exact draws, `rows` x dim in row-major order.
    pub fn sample(self, rows: usize, rng: &mut impl Rng) -> Vec<f64> {
        let mut values = Vec::with_capacity(rows * self.dim());
        for _ in 0..rows {
            match self {
                Self::U1 => values.extend(ring::draw(rng)),
                Self::U2 => values.extend(waves::U2.draw(rng)),
                Self::U3 => values.extend(waves::U3.draw(rng)),
                Self::U4 => values.extend(waves::U4.draw(rng)),
                Self::Cross => values.extend(cross::draw(rng)),
                Self::Banana => values.extend(banana::draw(rng)),
                Self::Funnel(funnel) => funnel.draw(&mut values, rng),
                Self::ManyWell(wells) => {
                    (0..wells.pairs()).for_each(|_| values.extend(many_well::draw(rng)));
                }
            }
        }
        values
    }

    fn card(self) -> Card {
        match self {
            Self::U1 => ring::CARD,
            Self::U2 => waves::U2.card,
            Self::U3 => waves::U3.card,
            Self::U4 => waves::U4.card,
            Self::Cross => cross::CARD,
            Self::Banana => banana::CARD,
            Self::Funnel(funnel) => funnel.card(),
            Self::ManyWell(wells) => wells.card(),
        }
    }
}

impl Target for KnownTarget {
    fn dim(&self) -> usize {
        self.card().dim
    }

    /// Minus infinity with gradient 0 outside the support.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        match self {
            Self::U1 => ring::log_density(point, gradient),
            Self::U2 => waves::U2.log_density(point, gradient),
            Self::U3 => waves::U3.log_density(point, gradient),
            Self::U4 => waves::U4.log_density(point, gradient),
            Self::Cross => cross::log_density(point, gradient),
            Self::Banana => banana::log_density(point, gradient),
            Self::Funnel(funnel) => funnel.log_density(point, gradient),
            Self::ManyWell(_) => many_well::log_density(point, gradient),
        }
    }
}

impl fmt::Display for KnownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KnownTarget {
    type Err = UnknownTarget;

    /// # Errors
    /// [`UnknownTarget`] if `name` is not exactly one of [`KnownTarget::name`].
    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        let found = Self::ALL.into_iter().find(|target| target.name() == name);
        found.ok_or_else(|| UnknownTarget { name: name.to_owned() })
    }
}

/// Error for a name that is not a [`KnownTarget`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTarget {
    /// The name as given.
    pub name: String,
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = KnownTarget::ALL.map(KnownTarget::name).join(", ");
        write!(f, "unknown target {:?}; there are {names}", self.name)
    }
}

impl std::error::Error for UnknownTarget {}
