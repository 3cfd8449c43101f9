//! Names of columns, as a config has them.

use serde::{Deserialize, Deserializer, Serialize};

use crate::Usage;

/// A column by its name or, where no column has that name, by its index from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ColumnName(String);

impl From<&str> for ColumnName {
    fn from(name: &str) -> Self {
        Self(name.trim().to_owned())
    }
}

impl std::str::FromStr for ColumnName {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> std::result::Result<Self, Self::Err> {
        Ok(name.into())
    }
}

impl<'de> Deserialize<'de> for ColumnName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(String),
            Index(usize),
        }
        Ok(match Written::deserialize(from)? {
            Written::Name(name) => Self(name),
            Written::Index(index) => Self(index.to_string()),
        })
    }
}

impl ColumnName {
    /// Whether it is the column with this index and name.
    #[must_use]
    pub fn is(&self, index: usize, name: &str) -> bool {
        self.0 == name || self.0.parse() == Ok(index)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The index of the column among `names`; `option` is what asks for it.
    ///
    /// # Errors
    /// [`Usage`] with all names, if there is none.
    pub fn find(&self, names: &[String], option: &str) -> Result<usize, Usage> {
        let Self(wanted) = self;
        if let Some(index) = names.iter().position(|name| name == wanted) {
            return Ok(index);
        }
        match wanted.parse::<usize>() {
            Ok(index) if index < names.len() => Ok(index),
            _ => {
                let names = names.join(", ");
                let got = format!("expected a column of the table ({names}), got {wanted:?}");
                Err(Usage(format!("{option}: {got}; give a name or an index from 0")))
            }
        }
    }
}
