//! Errors of this crate.

use std::path::PathBuf;

use dfdx::tensor::CpuError;
use thiserror::Error;

use crate::Space;

/// Error type of the flow crates: wrong dimensions or parameters, numerical failures, unreadable
/// files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The input has a wrong number of columns.
    #[error("{op}: expected {expected} columns, got {got}")]
    Dimension {
        /// The operation.
        op: &'static str,
        /// Columns it expects.
        expected: usize,
        /// Columns it was given.
        got: usize,
    },
    /// Two inputs have different numbers of rows.
    #[error("{op}: expected {expected} rows, got {got}")]
    Rows {
        /// The operation.
        op: &'static str,
        /// Rows of the first input.
        expected: usize,
        /// Rows of the other one.
        got: usize,
    },
    /// Points reach a map from outside of the space on which it is injective.
    #[error(
        "{op}: feature {feature} (from 0) must lie on {expected}, got {got}; choose a base that lies \
         there, or a map of the whole line"
    )]
    Space {
        /// The map.
        op: &'static str,
        /// Index of the feature.
        feature: usize,
        /// Where the map is injective.
        expected: Space,
        /// Where the points lie.
        got: Space,
    },
    /// A setting is outside its range.
    #[error("{name} must be {requirement}, got {value}")]
    Parameter {
        /// Name of the setting.
        name: &'static str,
        /// Its range in words.
        requirement: &'static str,
        /// The value given.
        value: f64,
    },
    /// A bijector was asked for a direction that it does not have.
    #[error("{bijector} has no inverse; use its forward direction or wrap it in Inverse")]
    NotInvertible {
        /// Name of the bijector.
        bijector: &'static str,
    },
    /// A quantity stopped being finite.
    #[error("{quantity} is not finite (row {row}); {advice}")]
    NonFinite {
        /// What is not finite.
        quantity: &'static str,
        /// First row, counted from 0.
        row: usize,
        /// What to try.
        advice: &'static str,
    },
    /// An iteration or an integration stopped before its tolerance was met.
    #[error("{method} stopped at {}{reached} ({status}); {advice}", in_row(*row))]
    Stopped {
        /// Name of the numerical method.
        method: &'static str,
        /// The row that it stopped for, from 0, where rows are computed one by one.
        row: Option<usize>,
        /// How far it came, with its unit.
        reached: String,
        /// Why it stopped.
        status: String,
        /// What to try.
        advice: &'static str,
    },
    /// A root search or a fixed point did not come within its tolerance.
    #[error(
        "{method}: row {row} did not converge (residual {residual:.1e} after {iterations} \
         iterations); {advice}"
    )]
    NotConverged {
        /// What was to be inverted.
        method: &'static str,
        /// First row, counted from 0.
        row: usize,
        /// Distance between what was reached and what was asked for.
        residual: f64,
        /// Evaluations spent.
        iterations: u64,
        /// What to try.
        advice: &'static str,
    },
    /// The tensor library reported an error.
    #[error("the tensor library failed: {0}")]
    Tensor(CpuError),
    /// A file could not be read or written.
    #[error("{path}: cannot be read or written", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A model file does not hold what the model needs.
    #[error("{path}: {problem}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Expected, got, and what to do.
        problem: String,
    },
    /// A tensor of a model file does not fit the model.
    #[error("{name}: expected {expected}, got {got}; was the model built from another config?")]
    Tensors {
        /// Name of the tensor.
        name: String,
        /// What the model needs.
        expected: String,
        /// What there is.
        got: String,
    },
    /// An operation that this object does not support.
    #[error("{what} is not available here: {advice}")]
    Unavailable {
        /// What was asked for.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// The caller's progress callback or batch source failed.
    #[error("{0}")]
    Caller(String),
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The same error, its row counted from `first` rows earlier: whoever passes a part of the rows
    /// on, from row `first`, gets errors that count from 0, and returns them counted as its caller
    /// counts. Errors without a row stay as they are.
    #[must_use]
    pub fn in_rows_from(self, first: usize) -> Self {
        self.in_row_of(|row| row + first)
    }

    /// The same error, its row numbered anew.
    #[must_use]
    pub fn in_row_of(mut self, number: impl FnOnce(usize) -> usize) -> Self {
        if let Self::NonFinite { row, .. }
        | Self::NotConverged { row, .. }
        | Self::Stopped { row: Some(row), .. } = &mut self
        {
            *row = number(*row);
        }
        self
    }

    /// The same error, its feature numbered anew.
    #[must_use]
    pub(crate) fn of_feature(mut self, number: impl FnOnce(usize) -> usize) -> Self {
        if let Self::Space { feature, .. } = &mut self {
            *feature = number(*feature);
        }
        self
    }
}

fn in_row(row: Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!("row {row}, "))
}

impl From<CpuError> for Error {
    fn from(error: CpuError) -> Self {
        Self::Tensor(error)
    }
}
