//! Posteriors of Bayesian models as targets over unconstrained parameters, with reference draws.
//!
//! Six are of posteriordb, a database of posteriors for tests of inference; the seventh is the centred
//! form of the eight schools. Each density is that of the joint of parameters and data with all constants,
//! so that its normaliser is the evidence. A folder holds, for one of them,
//!
//! ```text
//! data/arK.json                 the data
//! draws/arK-arK.json.zip        reference draws, of all parameters and chains
//! ```
//!
//! # Reference
//! Magnusson, Torgander, Burkner, Zhang, Carpenter, Vehtari, *posteriordb: Testing, Benchmarking and
//! Developing Bayesian Inference Algorithms*, AISTATS 2025. <https://arxiv.org/abs/2407.04967>

mod card;
mod cauchy;
mod data;
mod draws;
mod eight_schools;
mod garch;
mod gauss_mix;
mod model;
mod normal;
mod regression;
#[cfg(test)]
mod tests;
mod transform;

use std::path::Path;
use std::sync::Arc;

use flows_core::Target;

use self::card::{CARDS, Card, LOG_NORMALISER_ERROR};
use self::data::Data;
pub use self::draws::read_draws;
use self::model::{Block, Model};
use crate::reference_error::{ReferenceError, Result};
use crate::table::Table;
use crate::targets::LogNormaliser;

/// A posterior over unconstrained parameters.
///
/// | name | parameters | model |
/// |---|---|---|
/// | `eight_schools_noncentered` | 10 | effects of eight schools, over their standardised deviations |
/// | `eight_schools_centered` | 10 | the same over the effects, a funnel |
/// | `arK` | 7 | autoregression of order 5 |
/// | `sblrc-blr` | 6 | linear regression with strongly correlated columns |
/// | `kidiq-kidscore_interaction` | 5 | linear regression with an interaction |
/// | `garch11` | 4 | variances that follow earlier errors |
/// | `low_dim_gauss_mix` | 5 | a mixture of two normals with ordered means |
///
/// A point u of [`Target::log_density`] has one coordinate a parameter, on the whole line: log for a
/// positive parameter, logit for one in (0, 1), scaled logit for `beta1` of `garch11`, in (0, 1 - `alpha1`),
/// and log(mu2 - mu1) in the place of the larger mean. The log-density is
/// log p(t(u), data) + log |det dt/du|, in nats.
#[derive(Clone, Debug)]
pub struct Posterior {
    card: &'static Card,
    model: Arc<dyn Model>,
    blocks: Vec<Block>,
    names: Vec<String>,
    dim: usize,
}

impl Posterior {
    /// All names.
    pub const NAMES: [&'static str; 7] = [
        "eight_schools_noncentered",
        "eight_schools_centered",
        "arK",
        "sblrc-blr",
        "kidiq-kidscore_interaction",
        "garch11",
        "low_dim_gauss_mix",
    ];

    /// The posterior of this name, with data from `folder`/data.
    ///
    /// # Errors
    /// [`ReferenceError`] for another name, a file that cannot be read, or data that are missing, of
    /// another length, or out of range.
    pub fn read(name: &str, folder: &Path) -> Result<Self> {
        let card = CARDS.iter().find(|card| card.name == name);
        let card = card.ok_or_else(|| unknown("posterior", name, &Self::NAMES))?;
        let data = Data::read(&folder.join("data").join(format!("{}.json", card.data)))?;
        Ok(Self::new(card, (card.read)(&data)?))
    }

    /// The posterior of this name whose data are few enough to be here: one of the two forms of the
    /// eight schools.
    ///
    /// # Errors
    /// [`ReferenceError::Unknown`] for another name.
    pub fn embedded(name: &str) -> Result<Self> {
        let embedded = |card: &'static Card| Some((card, card.embedded?()));
        let found = CARDS.iter().filter(|card| card.name == name).find_map(embedded);
        let (card, model) =
            found.ok_or_else(|| unknown("embedded posterior", name, &Self::NAMES[..2]))?;
        Ok(Self::new(card, model))
    }

    fn new(card: &'static Card, model: Arc<dyn Model>) -> Self {
        let (blocks, names) = (model.blocks(), model.names());
        let dim = blocks.iter().map(|block| block.width()).sum();
        Self { card, model, blocks, names, dim }
    }

    /// One of [`NAMES`](Self::NAMES).
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.card.name
    }

    /// Names of the values of [`constrain`](Self::constrain), which are the columns of the reference
    /// draws.
    #[must_use]
    pub fn parameters(&self) -> &[String] {
        &self.names
    }

    /// What reference draws hold at an unconstrained `point` of [`dim`](Target::dim) coordinates: the
    /// parameters, with effects in the place of their deviations for `eight_schools_noncentered`.
    ///
    /// NaN for another number of coordinates.
    #[must_use]
    pub fn constrain(&self, point: &[f64]) -> Vec<f64> {
        let mut parameters = vec![f64::NAN; self.dim];
        if point.len() == self.dim {
            self.constrain_into(point, &mut parameters);
            self.model.drawn(&mut parameters);
        }
        parameters
    }

    /// The inverse of [`constrain`](Self::constrain): not finite outside of the support, NaN for another
    /// number of values.
    #[must_use]
    pub fn unconstrain(&self, drawn: &[f64]) -> Vec<f64> {
        let mut point = vec![f64::NAN; self.dim];
        if drawn.len() == self.dim {
            let mut parameters = drawn.to_vec();
            self.model.of_drawn(&mut parameters);
            for (block, at) in self.places() {
                block.unconstrain(&parameters[at.clone()], &mut point[at]);
            }
        }
        point
    }

    /// log Z, the logarithm of the evidence in nats, where it is known: of all but `garch11` and
    /// `low_dim_gauss_mix`, with the published data. It does not depend on how parameters are written.
    #[must_use]
    pub fn log_normaliser(&self) -> Option<LogNormaliser> {
        let published = self.card.published.as_ref()?;
        let point = vec![0.1; self.dim];
        let found = self.log_density(&point, &mut vec![0.0; self.dim]);
        // Some thousand roundings of terms of one sign.
        let tolerance = 1e-12 * published.log_density.abs();
        let same = (found - published.log_density).abs() <= tolerance;
        let known = LogNormaliser { nats: published.log_normaliser, error: LOG_NORMALISER_ERROR };
        same.then_some(known)
    }

    /// Reference draws from `folder`/draws, of [`parameters`](Self::parameters), `(draws, dim)`; the two
    /// forms of the eight schools share theirs.
    ///
    /// # Errors
    /// [`ReferenceError`] where the file cannot be read, or a parameter is missing or of another length.
    pub fn reference_draws(&self, folder: &Path) -> Result<Table> {
        let file = folder.join("draws").join(format!("{}.json.zip", self.card.draws));
        read_draws(&file, &self.names)
    }

    /// Writes the parameters; returns log |det dt/du|.
    fn constrain_into(&self, point: &[f64], parameters: &mut [f64]) -> f64 {
        let parts = self.places();
        parts.map(|(block, at)| block.constrain(&point[at.clone()], &mut parameters[at])).sum()
    }

    /// Transforms with the places of their parameters.
    fn places(&self) -> impl Iterator<Item = (Block, std::ops::Range<usize>)> {
        self.blocks.iter().scan(0, |end, &block| {
            let start = *end;
            *end += block.width();
            Some((block, start..*end))
        })
    }
}

impl Target for Posterior {
    fn dim(&self) -> usize {
        self.dim
    }

    /// Minus infinity with gradient 0 where a parameter or a slope is beyond the range of numbers.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        if point.len() != self.dim || gradient.len() != self.dim {
            return f64::NAN;
        }
        let mut parameters = vec![0.0; self.dim];
        let log_jacobian = self.constrain_into(point, &mut parameters);
        let log_density = self.model.log_joint(&parameters, gradient) + log_jacobian;
        for (block, at) in self.places() {
            block.pull_back(&point[at.clone()], &parameters[at.clone()], &mut gradient[at]);
        }
        if log_density.is_finite() && gradient.iter().all(|slope| slope.is_finite()) {
            return log_density;
        }
        gradient.fill(0.0);
        if point.iter().any(|u| u.is_nan()) { f64::NAN } else { f64::NEG_INFINITY }
    }
}

fn unknown(kind: &'static str, name: &str, known: &[&str]) -> ReferenceError {
    ReferenceError::Unknown { kind, name: name.to_owned(), known: known.join(", ") }
}
