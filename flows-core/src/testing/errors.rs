//! Assertions that a failure is the one that was meant.

use std::fmt::Display;

use crate::Error;

/// Asserts that the message of an error contains each of these words.
///
/// # Panics
/// With the message and the word that is missing.
#[track_caller]
pub fn names(error: &impl Display, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not name {word:?}");
    }
}

/// Asserts that the message of an error says what its kind has to say: what is at fault, what was
/// expected and what there was, or how far it came and why it stopped, and what to do.
///
/// # Panics
/// With the message and what it does not say.
#[track_caller]
pub fn is_complete(error: &Error) {
    let text = |value: &dyn Display| value.to_string();
    let parts: Vec<String> = match error {
        Error::Dimension { op, expected, got } | Error::Rows { op, expected, got } => {
            vec![text(op), text(expected), text(got)]
        }
        Error::Parameter { name, requirement, value } => {
            vec![text(name), text(requirement), text(value)]
        }
        Error::NotInvertible { bijector } => vec![text(bijector)],
        Error::NonFinite { quantity, row, advice } => {
            vec![text(quantity), format!("row {row}"), text(advice)]
        }
        Error::Stopped { method, row, reached, status, advice } => {
            let row = row.map(|row| format!("row {row}"));
            let all = [method, reached.as_str(), status, advice].map(str::to_owned);
            all.into_iter().chain(row).collect()
        }
        Error::NotConverged { method, row, residual, iterations, advice } => vec![
            text(method),
            format!("row {row}"),
            format!("{residual:.1e}"),
            text(iterations),
            text(advice),
        ],
        Error::Space { op, feature, expected, got } => {
            vec![text(op), format!("feature {feature}"), text(expected), text(got)]
        }
        Error::Tensor(cause) => vec![text(cause)],
        Error::File { path, .. } => vec![text(&path.display())],
        Error::Checkpoint { path, problem } => vec![text(&path.display()), text(problem)],
        Error::Tensors { name, expected, got } => vec![text(name), text(expected), text(got)],
        Error::Unavailable { what, advice } => vec![text(what), text(advice)],
        Error::Caller(message) => vec![text(message)],
    };
    for part in &parts {
        assert!(!part.is_empty(), "{error:?} leaves something unsaid");
        names(error, &[part]);
    }
}

/// Asserts that a result is an error that matches a pattern, with a guard as in `matches!`, and
/// optionally that its message contains each of a list of words. What follows is added to the report,
/// as in `assert!`.
///
/// ```
/// use flows_core::testing::assert_error;
/// use flows_core::{Base, Error};
///
/// assert_error!(Base::<f64>::student_t(1, -1.0), Error::Parameter { .. }, ["positive", "-1"]);
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! __assert_error {
    (
        $result:expr, $kind:pat $(if $guard:expr)?
        $(, [$($word:expr),* $(,)?] $(, $($context:tt)+)?)?
    ) => {{
        let error = $result.err();
        assert!(
            matches!(&error, Some($kind) $(if $guard)?),
            "expected {}, got {error:?}{}",
            stringify!($kind $(if $guard)?),
            String::new() $($(+ ": " + &format!($($context)+))?)?
        );
        $(if let Some(error) = &error {
            $crate::testing::names(error, &[$($word),*]);
        })?
    }};
}

pub use __assert_error as assert_error;
