//! Why the published files of a problem cannot be used.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Error for a problem that does not exist, or whose published files do not hold what they should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A name that is not one of the list.
    #[error("no {kind} is called {name:?}, expected one of {known}")]
    Unknown {
        /// What was named.
        kind: &'static str,
        /// The name as given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A file that cannot be opened.
    #[error("{file}: cannot be read ({reason}); check the path and its permissions")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// A file that is not of its format.
    #[error("{file}: expected {kind}, got damaged or other data ({reason}); fetch the file again")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Its format.
        kind: &'static str,
        /// The reader's reason.
        reason: String,
    },
    /// A field that is missing or holds something else.
    #[error("{file}, {field}: expected {expected}, got {got}; compare with the published file")]
    Field {
        /// The file.
        file: PathBuf,
        /// The field, column or line.
        field: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        got: String,
    },
}

/// `Result` with [`ReferenceError`].
pub(crate) type Result<T, E = ReferenceError> = std::result::Result<T, E>;

impl ReferenceError {
    pub(crate) fn unreadable(file: &Path, cause: &std::io::Error) -> Self {
        Self::Unreadable { file: file.to_owned(), reason: cause.to_string() }
    }

    pub(crate) fn damaged(file: &Path, kind: &'static str, cause: &impl std::error::Error) -> Self {
        let reason = cause.to_string().trim_end_matches('.').to_owned();
        Self::Damaged { file: file.to_owned(), kind, reason }
    }

    pub(crate) fn field(
        file: &Path,
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        let (field, expected, got) = (field.into(), expected.into(), got.into());
        Self::Field { file: file.to_owned(), field, expected, got }
    }
}
