//! Tables of parameters and simulated data.

use std::ops::ControlFlow;
use std::time::Instant;

use flows_core::{Error, Result, Stream, train};
use serde::{Deserialize, Serialize};

use super::Simulator;

/// Rows that are simulated between two reports.
const CHUNK: usize = 256;

/// What is done with a row of data that has a value which is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    /// It is an error.
    #[default]
    Refuse,
    /// The row is left out and counted. [`npe`](super::npe) is exact all the same, since no posterior
    /// given finite data changes. [`nle`](super::nle), and the later rounds of [`snpe`](super::snpe),
    /// then learn p(x | theta, x is finite): where the probability that x is finite depends on theta,
    /// their posteriors are off by a factor of one over it.
    LeaveOut,
}

/// How far an estimation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// Rows have been simulated.
    Simulation {
        /// Rows so far.
        rows: usize,
        /// Rows asked for.
        of: usize,
    },
    /// A step of training has been done.
    Training(train::Progress),
}

/// Sees progress, and breaks to stop: a simulation then fails, a training ends early.
pub type Report<'a> = &'a mut dyn FnMut(&Progress) -> Result<ControlFlow<()>>;

/// Parameters with the data that were simulated from them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Simulations {
    /// rows x parameters, row after row.
    pub parameters: Vec<f64>,
    /// rows x data columns, row after row; finite.
    pub data: Vec<f64>,
    /// Rows that were left out, because a value was not finite.
    pub left_out: usize,
    /// Seconds that the simulator took.
    pub seconds: f64,
}

impl Simulations {
    /// Simulates data for `rows` parameters from the prior.
    ///
    /// # Errors
    /// As [`of_parameters`](Self::of_parameters).
    pub fn of_prior(
        simulator: &dyn Simulator,
        rows: usize,
        invalid: Invalid,
        report: Report<'_>,
        rng: &mut Stream,
    ) -> Result<Self> {
        Self::of_parameters(simulator, simulator.prior().sample(rows, rng), invalid, report, rng)
    }

    /// Simulates data for each row of parameters.
    ///
    /// # Errors
    /// Errors of the simulator and of `report`; [`Error::Dimension`] if the parameters or the data do
    /// not fill their rows; [`Error::NonFinite`] for a row of data that is refused; [`Error::Caller`]
    /// if `report` breaks or no row is left.
    pub fn of_parameters(
        simulator: &dyn Simulator,
        parameters: Vec<f64>,
        invalid: Invalid,
        report: Report<'_>,
        rng: &mut Stream,
    ) -> Result<Self> {
        let (dim, columns) = (simulator.prior().dim(), simulator.data_columns());
        if parameters.is_empty() || !parameters.len().is_multiple_of(dim) {
            let (op, got) = ("rows of parameters", parameters.len());
            return Err(Error::Dimension { op, expected: dim, got });
        }
        let of = parameters.len() / dim;
        let mut result = Self::default();
        let mut first = 0;
        for part in parameters.chunks(CHUNK * dim) {
            let (clock, rows) = (Instant::now(), part.len() / dim);
            let data = simulator.simulate(part, rng).map_err(|error| in_rows(error, first))?;
            result.seconds += clock.elapsed().as_secs_f64();
            if data.len() != rows * columns {
                let (expected, got) = (rows * columns, data.len());
                return Err(Error::Caller(format!(
                    "simulator: expected {expected} values for {rows} rows of {columns} columns, got \
                     {got}; let it give one row of data for each row of parameters"
                )));
            }
            for (row, (theta, x)) in
                part.chunks_exact(dim).zip(data.chunks_exact(columns)).enumerate()
            {
                if x.iter().all(|value| value.is_finite()) {
                    result.parameters.extend_from_slice(theta);
                    result.data.extend_from_slice(x);
                } else if invalid == Invalid::LeaveOut {
                    result.left_out += 1;
                } else {
                    let (quantity, row) = ("simulated data", first + row);
                    let advice = "let the simulator give numbers, or leave invalid rows out";
                    return Err(Error::NonFinite { quantity, row, advice });
                }
            }
            first += rows;
            if report(&Progress::Simulation { rows: first, of })?.is_break() {
                return Err(Error::Caller(format!(
                    "the simulation was stopped after {first} of {of} rows; run it again"
                )));
            }
        }
        if result.data.is_empty() {
            return Err(Error::Caller(format!(
                "simulated data: expected rows of finite values, got none among {of}; check the \
                 simulator on a draw of the prior"
            )));
        }
        Ok(result)
    }

    /// Number of rows that are kept, for so many parameters a row.
    #[must_use]
    pub fn rows(&self, parameters: usize) -> usize {
        self.parameters.len() / parameters.max(1)
    }

    /// Adds the rows of another table.
    pub fn append(&mut self, other: Self) {
        self.parameters.extend(other.parameters);
        self.data.extend(other.data);
        self.left_out += other.left_out;
        self.seconds += other.seconds;
    }
}

/// The same error with its row among all. A message counts within its part, which it is told.
fn in_rows(error: Error, first: usize) -> Error {
    match error {
        Error::Caller(message) if first > 0 => {
            Error::Caller(format!("in the rows from {first}, counted from there: {message}"))
        }
        error => error.in_rows_from(first),
    }
}
