//! A density in another language: a program that answers points with log-densities and gradients.

use std::sync::{Mutex, PoisonError};

use flows_core::target::at_point;
use flows_core::{Result, Target};

use crate::worker::{Format, Setup, Worker};

/// An unnormalised density that a program computes.
///
/// The program is started once, at the first evaluation, by `sh -c`. It reads points on standard
/// input, one a line, and answers each in order with one line: log p~ in nats, then its gradient. Or
/// both are little-endian doubles, [`Format::Binary`]. Outside of the support the log-density is
/// `-inf`, with any numbers as gradient.
#[derive(Debug)]
pub struct ProgramDensity {
    dim: usize,
    setup: Setup,
    worker: Mutex<Option<Worker>>,
}

impl ProgramDensity {
    /// A density of `dim` features; `limit` is how many seconds the program may take for an answer.
    #[must_use]
    pub fn new(command: &str, dim: usize, format: Format, limit: f64) -> Self {
        let command = command.to_owned();
        let setup = Setup { command, sent: dim, answered: 1 + dim, format, limit };
        Self { dim, setup, worker: Mutex::new(None) }
    }

    fn ask(&self, points: &[f64]) -> Result<Vec<f64>> {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match worker.take() {
            Some(running) => running,
            None => Worker::start(self.setup.clone())?,
        };
        Ok(worker.insert(running).ask(points)?)
    }
}

impl Target for ProgramDensity {
    fn dim(&self) -> usize {
        self.dim
    }

    /// NaN where the program fails; [`evaluate`](Target::evaluate) says why.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        let answers = self.ask(points)?;
        let rows = answers.chunks_exact(1 + self.dim).zip(gradients.chunks_exact_mut(self.dim));
        let values = rows.map(|(answer, gradient)| {
            gradient.copy_from_slice(&answer[1..]);
            if answer[0] == f64::NEG_INFINITY {
                gradient.fill(0.0);
            }
            answer[0]
        });
        Ok(values.collect())
    }

    fn is_cheaper_together(&self) -> bool {
        true
    }
}
