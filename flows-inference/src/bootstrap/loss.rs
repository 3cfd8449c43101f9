//! The loss of the bootstrap on rows of the buffer.

use std::cell::{Cell, RefCell};

use flows_core::rowwise::{gradient_of_mean, negated, sum, weighted};
use flows_core::tensor::{batch, cast};
use flows_core::train::StepLoss;
use flows_core::{Context, Error, Flow, LogProb, Loss, Real, Result, Stream, Tape, Values};

use super::ReplayBuffer;

/// The mean of -c log q(x) over rows that the buffer takes; see [`Bootstrap`](super::Bootstrap).
#[derive(Debug)]
pub(super) struct BufferLoss<'a> {
    buffer: RefCell<&'a mut ReplayBuffer>,
    alpha: f64,
    clip: f64,
    clipped: Cell<u64>,
    dim: usize,
}

impl<'a> BufferLoss<'a> {
    pub(super) fn new(buffer: &'a mut ReplayBuffer, alpha: f64, clip: f64) -> Self {
        let dim = buffer.dim();
        Self { buffer: RefCell::new(buffer), alpha, clip, clipped: Cell::new(0), dim }
    }

    /// Rows so far whose correction was clipped.
    pub(super) fn clipped(&self) -> u64 {
        self.clipped.get()
    }
}

impl<E: Real> StepLoss<E> for BufferLoss<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn loss(
        &self,
        flow: &Flow<E>,
        rows: usize,
        _fraction: f64,
        rng: &mut Stream,
    ) -> Result<Loss<E>> {
        let mut buffer = self.buffer.borrow_mut();
        let taken = buffer.take(rows, rng);
        let (mut points, mut before) = (Vec::new(), Vec::new());
        for &row in &taken {
            let (point, log_q) = buffer.row(row);
            points.extend_from_slice(point);
            before.push(log_q);
        }
        let x = batch(cast(&points), taken.len(), self.dim)?;
        let mut tape = Tape::recording();
        let LogProb { value, penalty, work } = flow.log_prob(&x, &Context::none(), &mut tape)?;
        let after: Vec<f64> = value.values().iter().map(|v| v.as_f64()).collect();
        if let Some(row) = after.iter().position(|v| !v.is_finite()) {
            let quantity = "log-density of the flow at a row of the buffer";
            let advice = "lower the learning rate, or train in f64";
            return Err(Error::NonFinite { quantity, row, advice });
        }
        let mut factors = Vec::with_capacity(taken.len());
        let mut total = 0.0;
        for ((&row, &now), then) in taken.iter().zip(&after).zip(before) {
            let log_factor = (1.0 - self.alpha) * (now - then);
            let factor = log_factor.exp();
            self.clipped.set(self.clipped.get() + u64::from(factor > self.clip));
            let factor = factor.min(self.clip);
            total -= factor * now;
            factors.push(E::of(factor));
            buffer.update(row, log_factor, now);
        }
        let mut terms = vec![weighted(value, factors, &mut tape)?];
        if let Some(penalty) = penalty {
            terms.push(negated(penalty, &mut tape)?);
        }
        let objective = sum(terms, &mut tape)?;
        let gradient = gradient_of_mean(-1.0, &objective, tape)?;
        Ok(Loss { value: total / taken.len() as f64, gradient, work })
    }
}
