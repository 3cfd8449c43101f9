//! What can be wrong with a table, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The result of a table operation.
pub type Result<T, E = TableError> = std::result::Result<T, E>;

/// A file, and within an archive the array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The array of an NPZ archive; `None` for an NPY file.
    pub array: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.array {
            Some(array) => write!(f, "{}, array {array:?}", self.file.display()),
            None => write!(f, "{}", self.file.display()),
        }
    }
}

/// Why a table could not be read, written, split or prepared.
///
/// Lines are counted from 1, as an editor shows them; rows and column indices from 0.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of a variant says what each of its fields is")]
pub enum TableError {
    #[error("{file}: no such file; check the path")]
    Missing { file: PathBuf },
    #[error("{file}: expected a file, got a folder; name a file inside it")]
    Folder { file: PathBuf },
    #[error("{file}: cannot be read ({reason}); check the permissions of the file and the disk")]
    Unreadable { file: PathBuf, reason: String },
    #[error(
        "{file}: cannot be written ({reason}); check that the folder exists and can be written"
    )]
    Unwritable { file: PathBuf, reason: String },
    #[error("{file}: expected a name that ends in .csv, .csv.gz, .npy or .npz; convert or rename")]
    Ending { file: PathBuf },
    #[error("{file}: expected rows of numbers, got an empty file")]
    Empty { file: PathBuf },
    #[error("{file}: expected rows of numbers, got comments and blank lines only")]
    CommentsOnly { file: PathBuf },
    #[error("{file}, line {line}: expected rows of numbers below the header, got none")]
    HeaderOnly { file: PathBuf, line: u64 },
    #[error("{file}, line {line}: expected {expected}, got {got}; {advice}")]
    Line {
        file: PathBuf,
        line: u64,
        expected: &'static str,
        got: &'static str,
        advice: &'static str,
    },
    #[error(
        "{file}, line {line}: expected {expected} fields as in the first line, got {got}; {advice}"
    )]
    Ragged { file: PathBuf, line: u64, expected: usize, got: usize, advice: &'static str },
    #[error(
        "{file}, line {line}, column {column:?} (index {index}): expected a number, got {got:?}; \
         {advice}"
    )]
    Text {
        file: PathBuf,
        line: u64,
        column: String,
        index: usize,
        got: String,
        advice: &'static str,
    },
    #[error(
        "{file}, line {line}, column {column:?} (index {index}): expected a number, got nothing; \
         fill in the value or remove the line"
    )]
    EmptyCell { file: PathBuf, line: u64, column: String, index: usize },
    #[error(
        "{file}, line {line}, column {column:?} (index {index}): expected a finite number, \
         got {got:?}; fill in the value or remove the line"
    )]
    NonFiniteField { file: PathBuf, line: u64, column: String, index: usize, got: String },
    #[error(
        "{origin}, row {row} (from 0), column {column:?} (index {index}): expected a finite \
         number, got {value}; fill in the value or remove the row"
    )]
    NonFinite { origin: Origin, row: usize, column: String, index: usize, value: f64 },
    #[error(
        "{origin}: expected an NPY header, got {problem}; the file is damaged or of another kind"
    )]
    Header { origin: Origin, problem: String },
    #[error("{origin}: expected numbers (float, integer or bool), got dtype {dtype}; {advice}")]
    Dtype { origin: Origin, dtype: String, advice: &'static str },
    #[error(
        "{origin}: expected an array of rank 2, (rows, columns), got shape {shape}; \
         use reshape(1, -1) for one row or reshape(-1, 1) for one column"
    )]
    Vector { origin: Origin, shape: String },
    #[error(
        "{origin}: expected an array of rank 2, (rows, columns), got shape {shape}; \
         reshape it to one row a sample"
    )]
    Rank { origin: Origin, shape: String },
    #[error("{origin}: expected at least one row and one column, got shape {shape}")]
    NoValues { origin: Origin, shape: String },
    #[error(
        "{origin}: expected {expected} bytes of data for shape {shape} of dtype {dtype}, got {got}; \
         the file is cut off or damaged, write it again"
    )]
    Length { origin: Origin, shape: String, dtype: String, expected: u128, got: u64 },
    #[error(
        "{origin}: expected a table that fits into memory, got shape {shape}; read a part of it"
    )]
    TooLarge { origin: Origin, shape: String },
    #[error(
        "{file}: expected a {kind} file, got damaged or other data ({reason}); copy or write it again"
    )]
    Damaged { file: PathBuf, kind: &'static str, reason: String },
    #[error("{file}: expected an archive with an array of rank 2, got one without arrays")]
    NoArrays { file: PathBuf },
    #[error(
        "{file}: expected one array of rank 2, or one called data, x or value, got {arrays}; \
         save the table alone or under one of these names"
    )]
    Ambiguous { file: PathBuf, arrays: String },
    #[error(
        "a table: expected a positive multiple of {columns} values (the number of columns), got {got}"
    )]
    Shape { columns: usize, got: usize },
    #[error("a table: expected {expected} column names or none, got {got}")]
    Names { expected: usize, got: usize },
    #[error("{file}: expected {expected} values for shape {shape}, got {got}")]
    ArrayShape { file: PathBuf, shape: String, expected: u128, got: usize },
    #[error("row {row} (from 0): expected an index below {rows}, the number of rows")]
    Row { row: usize, rows: usize },
    #[error("column {column} (from 0): expected an index below {columns}, the number of columns")]
    Column { column: usize, columns: usize },
    #[error(
        "split: expected at least {needed} rows (1 test, 1 validation, 2 training), got {rows}; \
         add rows or change the split"
    )]
    TooFewRows { needed: usize, rows: usize },
    #[error("standardiser: expected at least 2 training rows, got {got}; add rows")]
    TrainingRows { got: usize },
    #[error(
        "{file}: expected {bound} {expected} columns as in the published data, got {got}; \
         check that it is the file of this data set"
    )]
    Published { file: PathBuf, bound: &'static str, expected: usize, got: usize },
    #[error(
        "{file}: expected rows of class 1 in the first column, got none; check that the column is the label"
    )]
    NoSignal { file: PathBuf },
    #[error("split: {name} must be {requirement}, got {value}")]
    Fraction { name: &'static str, requirement: &'static str, value: f64 },
    #[error(
        "column {name:?} (index {column}): expected values that vary, got {value} in every training \
         row; remove the column"
    )]
    Constant { column: usize, name: String, value: f64 },
    #[error(
        "column {name:?} (index {column}): expected a positive, finite standard deviation, \
         got {scale}; change the unit of the column"
    )]
    Spread { column: usize, name: String, scale: f64 },
    #[error("{op}: expected a multiple of {columns} values (rows of {columns} columns), got {got}")]
    Rows { op: &'static str, columns: usize, got: usize },
    #[error(
        "standardiser: expected as many means as scales, at least one, got {means} and {scales}"
    )]
    Moments { means: usize, scales: usize },
    #[error(
        "standardiser: expected a finite mean and a positive, finite scale, got {mean} and {scale} (column {column})"
    )]
    Moment { column: usize, mean: f64, scale: f64 },
    #[error("column {column} (from 0): expected a positive, finite noise step, got {step}")]
    Step { column: usize, step: f64 },
    #[error("column {column} (from 0): expected one noise step, got a second one; list it once")]
    Repeated { column: usize },
    #[error(
        "column {column} (from 0): expected the name {expected:?} that noise was recorded for, got {got:?}"
    )]
    Renamed { column: usize, expected: String, got: String },
}

impl TableError {
    pub(super) fn reading(file: &Path, cause: &io::Error) -> Self {
        let file = file.to_owned();
        match cause.kind() {
            io::ErrorKind::NotFound => Self::Missing { file },
            io::ErrorKind::IsADirectory => Self::Folder { file },
            _ => Self::Unreadable { file, reason: reason(cause) },
        }
    }

    pub(super) fn writing(file: &Path, cause: &io::Error) -> Self {
        Self::Unwritable { file: file.to_owned(), reason: reason(cause) }
    }
}

/// The cause in words; for common ones of the system without its number and path.
fn reason(cause: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match cause.kind() {
        Kind::NotFound => "no such folder".to_owned(),
        Kind::PermissionDenied
        | Kind::IsADirectory
        | Kind::NotADirectory
        | Kind::ReadOnlyFilesystem
        | Kind::StorageFull => cause.kind().to_string(),
        _ => cause.to_string().trim_end_matches('.').to_owned(),
    }
}

/// `text`, cut where it is too long for a message.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

/// A shape as `(3, 4)`, cut after eight axes.
pub(super) fn shape_text<T: fmt::Display>(shape: &[T]) -> String {
    let mut axes: Vec<String> = shape.iter().take(8).map(T::to_string).collect();
    if shape.len() > axes.len() {
        axes.push("..".to_owned());
    }
    match &axes[..] {
        [only] => format!("({only},)"),
        _ => format!("({})", axes.join(", ")),
    }
}
