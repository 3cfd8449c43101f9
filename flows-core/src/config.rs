//! Tagged choices in configs: a table whose `kind` names one of several options, with the settings of
//! that option beside it.
//!
//! ```text
//! solver = { kind = "rk4", steps = 8 }
//! ```
//! Enums get this form from serde's `tag`, traits that other crates implement from typetag's.

use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

/// The settings of an option that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// For `#[serde(deserialize_with)]` of a unit variant: any setting is refused by name, where serde's
/// own unit variants would ignore it.
///
/// # Errors
/// Of the deserializer, for any key.
pub fn no_settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    NoSettings::deserialize(deserializer).map(|NoSettings {}| ())
}

/// The kinds of a tagged choice, by asking for one that is not there; empty for any other type.
///
/// ```
/// use flows_core::config::kinds;
/// use flows_core::train::Budget;
/// assert_eq!(kinds::<Budget>(), ["steps", "seconds", "work"]);
/// ```
#[must_use]
pub fn kinds<T: DeserializeOwned>() -> Vec<&'static str> {
    let unknown = MapDeserializer::new([("kind", "")].into_iter());
    match T::deserialize(unknown) {
        Err(Refusal::Kind(kinds)) => kinds.to_vec(),
        Err(Refusal::Other) | Ok(_) => Vec::new(),
    }
}

/// Why a table is refused.
#[derive(Debug)]
enum Refusal {
    /// Its kind is none of these.
    Kind(&'static [&'static str]),
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kinds) => write!(formatter, "expected one of {}", kinds.join(", ")),
            Self::Other => formatter.write_str("no tagged choice"),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Kind(expected)
    }
}
