//! Simulators of the benchmark sbibm for inference from simulations, with their likelihoods.
//!
//! Parameters theta are drawn from a prior and observations x from a simulator given theta; what is asked
//! for is the posterior p(theta | x). All five have a likelihood in closed form, so that
//! log p(theta) + log p(x | theta) is a target, and published observations with reference draws.
//!
//! # Reference
//! Lueckmann, Boelts, Greenberg, Goncalves, Macke, *Benchmarking Simulation-Based Inference*, AISTATS 2021,
//! appendix T. <https://arxiv.org/abs/2101.04653>

mod files;
mod gaussian_linear;
mod gaussian_mixture;
mod prior;
mod slcp;
#[cfg(test)]
mod tests;
mod two_moons;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use flows_core::Stream;

use self::prior::Prior;
use crate::reference_error::{ReferenceError, Result};
use crate::table::Table;

/// A simulator with its prior.
///
/// | simulator | parameters | features | prior | x given theta |
/// |---|---|---|---|---|
/// | `two_moons` | 2 | 2 | U(-1, 1) | a crescent at a fold of theta |
/// | `slcp` | 5 | 8 | U(-3, 3) | four draws of a normal in the plane |
/// | `gaussian_linear` | 10 | 10 | N(0, 0.1) | N(theta, 0.1 I) |
/// | `gaussian_linear_uniform` | 10 | 10 | U(-1, 1) | N(theta, 0.1 I) |
/// | `gaussian_mixture` | 2 | 2 | U(-10, 10) | half N(theta, I), half N(theta, 0.01 I) |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Simulator {
    /// A crescent whose place is a fold of the parameters: the posterior has two crescents.
    TwoMoons,
    /// Four draws of a normal in the plane with parameters for mean and covariance, of which scales are
    /// squares: the posterior has four modes.
    Slcp,
    /// A normal around parameters of a normal prior; the posterior is normal.
    GaussianLinear,
    /// A normal around parameters of a uniform prior; the posterior is a normal cut off by the box.
    GaussianLinearUniform,
    /// A wide and a narrow normal around the parameters.
    GaussianMixture,
}

/// Name, description and constants of a simulator.
#[derive(Clone, Copy, Debug)]
struct Card {
    name: &'static str,
    description: &'static str,
    parameters: usize,
    features: usize,
    prior: Prior,
}

impl Simulator {
    /// All simulators.
    pub const ALL: [Self; 5] = [
        Self::TwoMoons,
        Self::Slcp,
        Self::GaussianLinear,
        Self::GaussianLinearUniform,
        Self::GaussianMixture,
    ];

    /// Name in sbibm; [`FromStr`] reads it back.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.card().name
    }

    /// A short description of it and its posterior.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.card().description
    }

    /// Parameters theta.
    #[must_use]
    pub fn parameters(self) -> usize {
        self.card().parameters
    }

    /// Features of an observation x.
    #[must_use]
    pub fn features(self) -> usize {
        self.card().features
    }

    /// The support of each parameter as an interval; `None` for the real line.
    #[must_use]
    pub fn support(self) -> Vec<Option<[f64; 2]>> {
        vec![self.card().prior.support(); self.parameters()]
    }

    /// Normalised log p(theta) in nats; minus infinity outside of the support, NaN for another number of
    /// parameters or one that is NaN.
    #[must_use]
    pub fn prior_log_density(self, theta: &[f64]) -> f64 {
        if theta.len() != self.parameters() || theta.iter().any(|t| t.is_nan()) {
            return f64::NAN;
        }
        self.card().prior.log_density(theta)
    }

    /// Independent draws of the prior, `rows` x [`parameters`](Self::parameters) in row-major order.
    #[must_use]
    pub fn sample_prior(self, rows: usize, rng: &mut Stream) -> Vec<f64> {
        let prior = self.card().prior;
        (0..rows * self.parameters()).map(|_| prior.draw(rng)).collect()
    }

    /// One draw of x for each row of `theta`, rows x [`features`](Self::features) in row-major order; an
    /// incomplete last row gives none. Parameters may lie outside of the prior.
    #[must_use]
    pub fn simulate(self, theta: &[f64], rng: &mut Stream) -> Vec<f64> {
        let rows = theta.chunks_exact(self.parameters());
        let mut x = Vec::with_capacity(rows.len() * self.features());
        let draw = match self {
            Self::TwoMoons => two_moons::draw,
            Self::Slcp => slcp::draw,
            Self::GaussianLinear | Self::GaussianLinearUniform => gaussian_linear::draw,
            Self::GaussianMixture => gaussian_mixture::draw,
        };
        rows.for_each(|theta| draw(theta, &mut x, rng));
        x
    }

    /// Normalised log p(x | theta) in nats; NaN for other numbers of features or parameters, or one that
    /// is not finite.
    #[must_use]
    pub fn log_likelihood(self, x: &[f64], theta: &[f64]) -> f64 {
        if !self.fits(x, theta) {
            return f64::NAN;
        }
        match self {
            Self::TwoMoons => two_moons::log_likelihood(x, theta),
            Self::Slcp => slcp::log_likelihood(x, theta),
            Self::GaussianLinear | Self::GaussianLinearUniform => {
                gaussian_linear::log_likelihood(x, theta)
            }
            Self::GaussianMixture => gaussian_mixture::log_likelihood(x, theta),
        }
    }

    /// Normalised log p(theta | x) in nats where it has a closed form, which is for `gaussian_linear`; NaN
    /// as in [`log_likelihood`](Self::log_likelihood).
    ///
    /// Of the others log p(theta) + log p(x | theta) is known, without its normaliser.
    #[must_use]
    pub fn posterior_log_density(self, theta: &[f64], x: &[f64]) -> Option<f64> {
        let fits = self.fits(x, theta);
        let density =
            || if fits { gaussian_linear::posterior_log_density(theta, x) } else { f64::NAN };
        (self == Self::GaussianLinear).then(density)
    }

    /// Independent exact draws of p(theta | x), `rows` x [`parameters`](Self::parameters) in row-major
    /// order, for `gaussian_linear`; `None` for the others, or for another number of features.
    #[must_use]
    pub fn sample_posterior(self, x: &[f64], rows: usize, rng: &mut Stream) -> Option<Vec<f64>> {
        if self != Self::GaussianLinear || x.len() != self.features() {
            return None;
        }
        let mut theta = Vec::with_capacity(rows * self.parameters());
        (0..rows).for_each(|_| gaussian_linear::draw_posterior(x, &mut theta, rng));
        Some(theta)
    }

    /// The published observation `number`, from 1, of [`features`](Self::features) features, from
    /// `folder`/NAME/obs_1/observation.csv, or `folder`/NAME/files/num_observation_1/observation.csv as in
    /// sbibm's folder of tasks.
    ///
    /// # Errors
    /// [`ReferenceError`] where the file cannot be read, or has other columns or rows.
    pub fn observation(self, folder: &Path, number: usize) -> Result<Vec<f64>> {
        let file = self.folder(folder, number).join("observation.csv");
        let table = files::read(&file, false, self.features())?;
        match table.rows() {
            1 => Ok(table.into_values()),
            rows => Err(ReferenceError::field(&file, "the rows", "one", rows.to_string())),
        }
    }

    /// Reference draws of the posterior given observation `number`, `(draws, parameters)`, from
    /// `reference_posterior_samples.csv.bz2` beside it.
    ///
    /// # Errors
    /// [`ReferenceError`] where the file cannot be read, or has other columns.
    pub fn reference_draws(self, folder: &Path, number: usize) -> Result<Table> {
        let file = self.folder(folder, number).join("reference_posterior_samples.csv.bz2");
        files::read(&file, true, self.parameters())
    }

    fn folder(self, folder: &Path, number: usize) -> PathBuf {
        let own = folder.join(self.name());
        let of_tasks = own.join("files").join(format!("num_observation_{number}"));
        if of_tasks.is_dir() { of_tasks } else { own.join(format!("obs_{number}")) }
    }

    fn fits(self, x: &[f64], theta: &[f64]) -> bool {
        let lengths = x.len() == self.features() && theta.len() == self.parameters();
        lengths && x.iter().chain(theta).all(|value| value.is_finite())
    }

    fn card(self) -> &'static Card {
        match self {
            Self::TwoMoons => &two_moons::CARD,
            Self::Slcp => &slcp::CARD,
            Self::GaussianLinear => &gaussian_linear::CARD,
            Self::GaussianLinearUniform => &gaussian_linear::UNIFORM,
            Self::GaussianMixture => &gaussian_mixture::CARD,
        }
    }
}

impl fmt::Display for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Simulator {
    type Err = ReferenceError;

    /// # Errors
    /// [`ReferenceError::Unknown`] if `name` is not exactly one of [`Simulator::name`].
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|simulator| simulator.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            ReferenceError::Unknown { kind: "simulator", name: name.to_owned(), known }
        })
    }
}
