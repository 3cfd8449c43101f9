//! Errors of a worker process.

/// Why a program that answers rows of numbers has not done so. Rows and columns count from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The command cannot be run.
    #[error("program {command:?} does not start: {reason}; check the command and its path")]
    NotStarted {
        /// The command.
        command: String,
        /// What the system or the shell says.
        reason: String,
    },
    /// It has ended, or closed its output, before it has answered.
    #[error(
        "the program ended before it answered row {row}, {asked:?} ({status}), its standard error ends \
         with {log:?}; expected an answer to every row and an end when its input ends, run it by hand \
         on this row"
    )]
    Ended {
        /// The row without an answer.
        row: usize,
        /// Its numbers.
        asked: String,
        /// Its exit status.
        status: String,
        /// The last lines of its standard error.
        log: String,
    },
    /// No answer within the limit.
    #[error(
        "the program has not answered row {row}, {asked:?}, within {seconds} seconds, its standard \
         error ends with {log:?}; let it read line by line and flush its output after every answer, or \
         raise the limit"
    )]
    Silent {
        /// The row without an answer.
        row: usize,
        /// Its numbers.
        asked: String,
        /// The limit in seconds.
        seconds: f64,
        /// The last lines of its standard error.
        log: String,
    },
    /// Its answer has a wrong number of columns.
    #[error(
        "answer of the program to row {row}: expected {expected} numbers, got {got} in {line:?}; let \
         it print one line of numbers for each row and nothing else"
    )]
    Columns {
        /// The row that it answers.
        row: usize,
        /// Numbers of an answer.
        expected: usize,
        /// Numbers of this answer.
        got: usize,
        /// The answer.
        line: String,
    },
    /// Its answer is no number.
    #[error(
        "answer of the program to row {row}, column {column}: expected a number, got {got:?}; let it \
         print numbers only, and nan where there is none"
    )]
    Value {
        /// The row that it answers.
        row: usize,
        /// The column of the answer.
        column: usize,
        /// What stands there.
        got: String,
    },
    /// It has written more than it was asked for.
    #[error(
        "output of the program: expected one answer for each row, got {got:?} beyond them; let it print \
         nothing but answers, and messages on standard error"
    )]
    Unasked {
        /// What it has written.
        got: String,
    },
    /// The system cannot read its output.
    #[error(
        "answer of the program to row {row}: expected output that can be read, got {reason}; start it \
         anew"
    )]
    Unreadable {
        /// The row without an answer.
        row: usize,
        /// The system's reason.
        reason: String,
    },
    /// An earlier error has ended it.
    #[error("program {command:?} was ended after an earlier error; start it anew")]
    Broken {
        /// The command.
        command: String,
    },
}

impl ProgramError {
    /// The same error, its row counted from `first` rows earlier.
    #[must_use]
    pub fn in_rows_from(mut self, first: usize) -> Self {
        if let Self::Ended { row, .. }
        | Self::Silent { row, .. }
        | Self::Columns { row, .. }
        | Self::Value { row, .. }
        | Self::Unreadable { row, .. } = &mut self
        {
            *row += first;
        }
        self
    }
}

impl From<ProgramError> for flows_core::Error {
    fn from(error: ProgramError) -> Self {
        Self::Caller(error.to_string())
    }
}
