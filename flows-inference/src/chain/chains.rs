//! Draws of several Markov chains.

use flows_core::{Error, Result};

use super::diagnostics::Diagnostics;

/// Draws of one or more Markov chains of one target, all of the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Chains {
    /// The draws after warm-up: `[chain][draw][feature]`.
    pub draws: Vec<Vec<Vec<f64>>>,
    /// log p~ of each draw in nats: `[chain][draw]`.
    pub log_density: Vec<Vec<f64>>,
}

impl Chains {
    pub(super) fn with_room(count: usize, draws: usize) -> Self {
        let (points, values) = (Vec::with_capacity(draws), Vec::with_capacity(draws));
        Self { draws: vec![points; count], log_density: vec![values; count] }
    }

    /// Appends a draw to each chain, given row after row.
    pub(super) fn push(&mut self, points: &[f64], log_density: &[f64]) {
        let dim = points.len() / self.draws.len().max(1);
        let chains = self.draws.iter_mut().zip(&mut self.log_density);
        for ((draws, values), (point, value)) in chains.zip(points.chunks(dim).zip(log_density)) {
            draws.push(point.to_vec());
            values.push(*value);
        }
    }

    /// The last draw of each chain.
    #[must_use]
    pub fn last(&self) -> Vec<Vec<f64>> {
        self.draws.iter().filter_map(|chain| chain.last().cloned()).collect()
    }

    /// All draws, row after row, chain after chain.
    #[must_use]
    pub fn rows(&self) -> Vec<f64> {
        self.draws.iter().flatten().flatten().copied().collect()
    }

    /// Diagnostics of each feature.
    ///
    /// # Errors
    /// As [`Diagnostics::of`].
    pub fn diagnostics(&self) -> Result<Vec<Diagnostics>> {
        let dim = self.draws.first().and_then(|chain| chain.first()).map_or(0, Vec::len);
        (0..dim)
            .map(|feature| self.diagnostics_of(|x| *x.get(feature).unwrap_or(&f64::NAN)))
            .collect()
    }

    /// Diagnostics of a function of the draws, such as the square of a feature.
    ///
    /// # Errors
    /// As [`Diagnostics::of`].
    pub fn diagnostics_of(&self, function: impl Fn(&[f64]) -> f64) -> Result<Diagnostics> {
        let values: Vec<Vec<f64>> =
            self.draws.iter().map(|chain| chain.iter().map(|x| function(x)).collect()).collect();
        Diagnostics::of(&values)
    }
}

/// Checks the starting points of chains.
///
/// # Errors
/// [`Error::Caller`] where there is none; [`Error::Dimension`] where one has not `dim` features.
pub(crate) fn check_starts(starts: &[Vec<f64>], dim: usize) -> Result<()> {
    if starts.is_empty() {
        let message = "there are no starting points; give one for each chain";
        return Err(Error::Caller(message.into()));
    }
    match starts.iter().find(|start| start.len() != dim) {
        Some(start) => {
            let (op, got) = ("starting point of a Markov chain", start.len());
            Err(Error::Dimension { op, expected: dim, got })
        }
        None => Ok(()),
    }
}
