//! Evidence lower bounds and importance-weighted log-likelihoods of given rows.

use flows_core::tensor::batch;
use flows_core::{Error, Real, Result, Stream, Tape, Values};

use super::Autoencoder;

/// Posterior draws evaluated at a time, which bounds the memory.
const CHUNK: usize = 4096;

/// Bounds of log p(x) of each row, in nats, from K draws of its posterior.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// E_q log p(x | z), the mean over the draws.
    pub reconstruction: Vec<f64>,
    /// KL(q(z | x) || p(z)), the mean of log q - log p over the draws.
    pub kl: Vec<f64>,
    /// The importance-weighted bound, ln of the mean of p(x, z) / q(z | x) over the draws: its mean grows
    /// with K towards log p(x) and is the evidence lower bound for one draw.
    ///
    /// # Reference
    /// Burda, Grosse, Salakhutdinov, *Importance Weighted Autoencoders*, ICLR 2016, eq. 8.
    /// <https://arxiv.org/abs/1509.00519>
    pub importance_weighted: Vec<f64>,
}

impl Evaluation {
    /// The evidence lower bound of each row in nats: reconstruction less KL.
    #[must_use]
    pub fn elbo(&self) -> Vec<f64> {
        self.reconstruction
            .iter()
            .zip(&self.kl)
            .map(|(reconstruction, kl)| reconstruction - kl)
            .collect()
    }
}

/// Sums over the draws of one row.
#[derive(Clone, Copy)]
struct Sums {
    reconstruction: f64,
    kl: f64,
    largest: f64,
    /// Sum of the weights relative to the largest.
    weights: f64,
}

impl Sums {
    const EMPTY: Self =
        Self { reconstruction: 0.0, kl: 0.0, largest: f64::NEG_INFINITY, weights: 0.0 };

    fn add(&mut self, reconstruction: f64, kl: f64) {
        self.reconstruction += reconstruction;
        self.kl += kl;
        let log_weight = reconstruction - kl;
        if log_weight > self.largest {
            self.weights = self.weights * (self.largest - log_weight).exp() + 1.0;
            self.largest = log_weight;
        } else {
            self.weights += (log_weight - self.largest).exp();
        }
    }
}

impl<E: Real> Autoencoder<E> {
    /// The bounds of rows stored one after another, by `draws` draws of each posterior, without a tape, a
    /// few thousand draws at a time.
    ///
    /// # Errors
    /// As [`draw`](Self::draw), with the number of the row among all; [`Error::Dimension`] unless the
    /// values fill whole rows; [`Error::NonFinite`] where a log-weight is not finite.
    pub fn evaluate(&self, values: &[E], draws: usize, rng: &mut Stream) -> Result<Evaluation> {
        let dim = self.dim();
        if !values.len().is_multiple_of(dim) {
            let got = values.len() % dim;
            return Err(Error::Dimension { op: "last row of a batch", expected: dim, got });
        }
        let at_once = (CHUNK / draws.max(1)).max(1);
        let mut all = Evaluation::default();
        for (index, rows) in values.chunks(at_once * dim).enumerate() {
            let first = index * at_once;
            let sums = self.sums(rows, draws, rng);
            for (row, sums) in sums.map_err(|error| error.in_rows_from(first))?.iter().enumerate() {
                if !(sums.largest.is_finite() && sums.kl.is_finite()) {
                    let advice = "train with a lower learning_rate, or check the data for outliers";
                    let quantity = "log-weight of a posterior draw";
                    return Err(Error::NonFinite { quantity, row: first + row, advice });
                }
                let count = draws as f64;
                all.reconstruction.push(sums.reconstruction / count);
                all.kl.push(sums.kl / count);
                all.importance_weighted.push(sums.largest + (sums.weights / count).ln());
            }
        }
        Ok(all)
    }

    /// The sums of rows that are few enough, or one row, for any number of draws.
    fn sums(&self, rows: &[E], draws: usize, rng: &mut Stream) -> Result<Vec<Sums>> {
        let count = rows.len() / self.dim();
        let x = batch(rows.to_vec(), count, self.dim())?;
        let mut sums = vec![Sums::EMPTY; count];
        let mut done = 0;
        loop {
            let part = (draws - done).min(CHUNK);
            let drawn = self
                .draw(&x, part, &mut Tape::none(), rng)
                .map_err(|error| error.in_row_of(|draw| draw / part.max(1)))?;
            let log_q = drawn.log_posterior.values();
            let log_p = drawn.log_prior.values();
            let terms = log_q.iter().zip(&log_p).zip(drawn.log_likelihood.values());
            for (index, ((log_q, log_p), likelihood)) in terms.enumerate() {
                let kl = log_q.as_f64() - log_p.as_f64();
                if let Some(sums) = sums.get_mut(index / part) {
                    sums.add(likelihood.as_f64(), kl);
                }
            }
            done += part;
            if done >= draws {
                return Ok(sums);
            }
        }
    }
}
