//! Simulators that are programs.

use std::sync::{Mutex, PoisonError};

use flows_core::{Error, Result, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Prior, Simulator};
use crate::worker::{Format, Setup, Worker};

/// How a simulator is run as a program.
///
/// It is started once, by `sh -c`, reads a row of parameters on its standard input and answers it with
/// a row of data on its standard output, in the same order, until its input ends. As
/// [`Format::Text`] a row is a line of numbers with blanks or commas between them.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `command` | | what the shell runs | |
/// | `data_columns` | | numbers of a row of data | >= 1 |
/// | `format` | text | one line of numbers a row, or little-endian doubles | text, binary |
/// | `limit_seconds` | 60 | time without an answer after which it counts as hung; the first one includes its start | > 0 |
/// | `sends_seeds` | false | whether each row ends with one more number, a whole random number below 2^31, to seed the program with | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramSettings {
    /// What the shell runs.
    pub command: String,
    /// Numbers of a row of data.
    pub data_columns: usize,
    /// How rows are written.
    #[serde(default)]
    pub format: Format,
    /// Seconds without an answer after which the program counts as hung.
    #[serde(default = "default_limit")]
    pub limit_seconds: f64,
    /// Whether each row ends with a seed. Without, draws of the program are its own, and do not repeat
    /// with the seed of a run.
    #[serde(default)]
    pub sends_seeds: bool,
}

fn default_limit() -> f64 {
    60.0
}

impl ProgramSettings {
    /// A program that reads and writes text, with the defaults of the table above.
    #[must_use]
    pub fn new(command: impl Into<String>, data_columns: usize) -> Self {
        let (command, limit_seconds) = (command.into(), default_limit());
        Self { command, data_columns, format: Format::Text, limit_seconds, sends_seeds: false }
    }
}

/// A simulator that is a running program. It is ended when this is dropped.
#[derive(Debug)]
pub struct ProgramSimulator {
    prior: Box<dyn Prior>,
    settings: ProgramSettings,
    worker: Mutex<Worker>,
}

impl ProgramSimulator {
    /// Starts the program for parameters with this prior.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of its range;
    /// [`ProgramError::NotStarted`](crate::ProgramError::NotStarted), as [`Error::Caller`].
    pub fn start(prior: impl Prior + 'static, settings: ProgramSettings) -> Result<Self> {
        let worker = Worker::start(Setup {
            command: settings.command.clone(),
            sent: prior.dim() + usize::from(settings.sends_seeds),
            answered: settings.data_columns,
            format: settings.format,
            limit: settings.limit_seconds,
        })?;
        Ok(Self { prior: Box::new(prior), settings, worker: Mutex::new(worker) })
    }
}

impl Simulator for ProgramSimulator {
    fn prior(&self) -> &dyn Prior {
        &*self.prior
    }

    fn data_columns(&self) -> usize {
        self.settings.data_columns
    }

    /// # Errors
    /// Any [`ProgramError`](crate::ProgramError), as [`Error::Caller`];
    /// [`Error::Dimension`] unless the parameters fill whole rows.
    fn simulate(&self, parameters: &[f64], rng: &mut Stream) -> Result<Vec<f64>> {
        let dim = self.prior.dim();
        if !parameters.len().is_multiple_of(dim) {
            let (op, got) = ("last row of parameters", parameters.len() % dim);
            return Err(Error::Dimension { op, expected: dim, got });
        }
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.settings.sends_seeds {
            return Ok(worker.ask(parameters)?);
        }
        let mut rows = Vec::with_capacity(parameters.len() / dim * (dim + 1));
        for row in parameters.chunks_exact(dim) {
            rows.extend_from_slice(row);
            rows.push(f64::from(rng.random_range(0..i32::MAX)));
        }
        Ok(worker.ask(&rows)?)
    }
}
