//! What a hybrid model says of given rows.

use flows_core::tensor::batch;
use flows_core::{Error, Real, Result, Tape, Values};

use super::Hybrid;
use super::model::Pass;
use super::softmax::log_softmax;

/// Rows evaluated at a time, which bounds the memory.
const CHUNK: usize = 4096;

/// Log-probabilities of the classes and log-densities of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HybridEvaluation {
    /// Number of classes.
    pub classes: usize,
    /// log p(y | x) in nats of every class, row after row.
    pub log_classes: Vec<f64>,
    /// log p(x) of each row in nats.
    pub log_prob: Vec<f64>,
}

impl HybridEvaluation {
    /// The likeliest class of each row, the first of equals.
    #[must_use]
    pub fn predictions(&self) -> Vec<usize> {
        let best = |row: &[f64]| {
            let largest = |best, class| if row[class] > row[best] { class } else { best };
            (0..row.len()).fold(0, largest)
        };
        self.log_classes.chunks(self.classes.max(1)).map(best).collect()
    }

    /// The probability of each row's likeliest class.
    #[must_use]
    pub fn confidence(&self) -> Vec<f64> {
        let largest = |row: &[f64]| row.iter().copied().fold(f64::NEG_INFINITY, f64::max).exp();
        self.log_classes.chunks(self.classes.max(1)).map(largest).collect()
    }

    /// The share of rows whose likeliest class is theirs.
    ///
    /// # Errors
    /// [`Error::Rows`] unless there is a class for every row.
    pub fn accuracy(&self, classes: &[usize]) -> Result<f64> {
        let (expected, got) = (self.log_prob.len(), classes.len());
        if expected != got {
            return Err(Error::Rows { op: "classes of a hybrid model", expected, got });
        }
        let predicted = self.predictions();
        let hits = predicted.iter().zip(classes).filter(|(found, class)| found == class).count();
        Ok(hits as f64 / got as f64)
    }
}

impl<E: Real> Hybrid<E> {
    /// Classes and densities of rows stored one after another, without a tape, a few thousand at a time.
    ///
    /// # Errors
    /// As [`terms`](Self::terms), with the number of the row among all; [`Error::Dimension`] unless the
    /// values fill whole rows.
    pub fn evaluate(&self, values: &[E]) -> Result<HybridEvaluation> {
        let dim = self.dim();
        if !values.len().is_multiple_of(dim) {
            let got = values.len() % dim;
            return Err(Error::Dimension { op: "last row of a batch", expected: dim, got });
        }
        let mut all = HybridEvaluation { classes: self.classes(), ..HybridEvaluation::default() };
        for (index, rows) in values.chunks(CHUNK * dim).enumerate() {
            let x = batch(rows.to_vec(), rows.len() / dim, dim)?;
            let Pass { scores, log_prob, .. } = self
                .pass(&x, &mut Tape::none())
                .map_err(|error| error.in_rows_from(index * CHUNK))?;
            let mut scores = scores.values();
            scores.chunks_mut(all.classes).for_each(log_softmax);
            all.log_classes.extend(scores.iter().map(|v| v.as_f64()));
            all.log_prob.extend(log_prob.values().iter().map(|v| v.as_f64()));
        }
        Ok(all)
    }
}
