//! Single settings of a config, as `--set key=value` gives them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Usage;

/// A table that a config may have and a preset has not.
const OPTIONAL: &str = "proposal";

/// A key of the config with the values that it takes one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The path of the key, its parts separated by dots.
    pub key: String,
    /// At least one value.
    pub values: Vec<Value>,
}

/// A key with one value: a point of a grid is a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Set {
    /// The path of the key, its parts separated by dots.
    pub key: String,
    /// The value.
    pub value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected key=value or key=value,value";
        let (key, values) = text.split_once('=').ok_or_else(|| expected.to_owned())?;
        let key = key.trim().to_owned();
        if key.is_empty() || values.trim().is_empty() {
            return Err(expected.into());
        }
        Ok(Self { key, values: parse(values) })
    }
}

/// Values of TOML, separated by commas; what is not one is a word.
fn parse(text: &str) -> Vec<Value> {
    let list = |text: &str| {
        let table = format!("x = [{text}]").parse::<Table>().ok()?;
        table.get("x")?.as_array().cloned()
    };
    if let Some(values) = list(text) {
        return values;
    }
    let word = |text: &str| match list(text).as_deref() {
        Some([value]) => value.clone(),
        _ => Value::String(text.trim().to_owned()),
    };
    text.split(',').map(word).collect()
}

impl Setting {
    /// The single value that the key takes.
    ///
    /// # Errors
    /// [`Usage`] for several values.
    pub fn single(&self) -> Result<Set, Usage> {
        match &self.values[..] {
            [value] => Ok(Set { key: self.key.clone(), value: value.clone() }),
            values => Err(Usage(format!(
                "--set {}: expected one value, got {}; compare trains a grid of several",
                self.key,
                values.len()
            ))),
        }
    }
}

/// Every combination of the values of some settings, the last one varying fastest; one empty
/// combination if there are none.
#[must_use]
pub fn grid(settings: &[Setting]) -> Vec<Vec<Set>> {
    let mut points = vec![Vec::new()];
    for Setting { key, values } in settings {
        let with = |point: &Vec<Set>, value: &Value| {
            let mut point = point.clone();
            point.push(Set { key: key.clone(), value: value.clone() });
            point
        };
        points = points.iter().flat_map(|p| values.iter().map(move |v| with(p, v))).collect();
    }
    points
}

impl Set {
    /// The last part of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }

    /// Puts the value into `over`, where the key is in the config `under`: at its path or, for a path
    /// that is not there, at the only key of that name further inside.
    ///
    /// # Errors
    /// [`Usage`] for a key that is not there, or is there several times.
    pub fn put(&self, under: &Table, over: &mut Table) -> Result<(), Usage> {
        let path: Vec<&str> = self.key.split('.').collect();
        let path = self.find(under, &path)?;
        let Some((last, tables)) = path.split_last() else { return Ok(()) };
        let mut table = over;
        for part in tables {
            let next = table.entry(part.clone()).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = next else {
                return Err(Usage(format!("{self}: {part} is no table in the config file")));
            };
            table = inner;
        }
        table.insert(last.clone(), self.value.clone());
        Ok(())
    }

    fn find(&self, under: &Table, path: &[&str]) -> Result<Vec<String>, Usage> {
        let owned = |path: &[&str]| path.iter().map(|&part| part.to_owned()).collect();
        let Some((last, tables)) = path.split_last() else { return Ok(Vec::new()) };
        let mut table = under;
        for part in tables {
            match table.get(*part).and_then(Value::as_table) {
                Some(inner) => table = inner,
                None if OPTIONAL == *part => return Ok(owned(path)),
                None => return Err(self.unknown(part, table)),
            }
        }
        if table.contains_key(*last) {
            return Ok(owned(path));
        }
        let mut inner = Vec::new();
        inside(table, last, &mut Vec::new(), &mut inner);
        match &inner[..] {
            // It may be a setting that is absent at its default, such as `ema`: reading the config
            // tells.
            [] => Ok(owned(path)),
            [one] => Ok([owned(tables), one.clone()].concat()),
            several => {
                let several: Vec<String> = several.iter().map(|path| path.join(".")).collect();
                Err(Usage(format!(
                    "{self}: {last} is in several places ({}); give the whole path",
                    several.join(", ")
                )))
            }
        }
    }

    fn unknown(&self, part: &str, table: &Table) -> Usage {
        let names: Vec<&str> = table.keys().map(String::as_str).collect();
        Usage(format!("--set {self}: there is no {part}; there are {}", names.join(", ")))
    }
}

/// Paths of all keys called `name` inside of the tables of `table`.
fn inside(table: &Table, name: &str, at: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    for (key, value) in table {
        let Value::Table(inner) = value else { continue };
        at.push(key.clone());
        if inner.contains_key(name) {
            found.push([at.as_slice(), &[name.to_owned()]].concat());
        }
        inside(inner, name, at, found);
        at.pop();
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, words(&self.value))
    }
}

/// A value as it is written after `--set key=`.
#[must_use]
pub fn words(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        other => other.to_string(),
    }
}

/// The name of a flow followed by the settings that it was given.
#[must_use]
pub fn with_settings(name: &str, sets: &[Set]) -> String {
    let setting = |set: &Set| format!("_{}-{}", set.name(), tidy(&words(&set.value)));
    sets.iter().map(setting).fold(name.to_owned(), |name, setting| name + &setting)
}

/// Letters, digits, `-`, `_` and `.`; other characters are `-`.
#[must_use]
pub fn tidy(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '-' };
    text.chars().map(kept).collect::<String>().trim_matches('-').to_owned()
}
