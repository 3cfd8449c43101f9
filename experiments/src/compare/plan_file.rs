//! The plan of a comparison as a file says it: what is trained on what, and for how long.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flows_bench::table::PublishedTable;
use flows_core::train::Budget;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Usage;
use crate::config::{DataConfig, Set, Setting, line_of};
use crate::density::DensityName;

/// `plan.toml`: everything that a comparison is determined by. A comparison writes its own, from which
/// it is resumed; `compare PLAN.toml` reads one.
///
/// | key | default | meaning |
/// |---|---|---|
/// | `problems` | those of `--budget`, unless there are tables | names of problems and targets |
/// | `data` | none | tables: paths, or tables of a `path` and what `[data]` of a config has |
/// | `densities` | none | densities: tables of a `target`, as a config names it, and whether flows start at its mode (`laplace`) |
/// | `published` | none | standard tables with their published split: tables of a `table` and its `folder` |
/// | `flows` | the default ones | presets and config files: names, or tables of a `flow`, its `grid` and what it has `on` single problems |
/// | `seeds` | 1 | number of seeds, counted from 0 |
/// | `match` | the seconds of `--budget` | what every run is given the same amount of |
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Problems and targets by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<String>>,
    /// Number of seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// What every run is given the same amount of.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<MatchPlan>,
    /// Tables of the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<TablePlan>,
    /// Densities that are known up to a constant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub densities: Vec<DensityPlan>,
    /// Standard tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedPlan>,
    /// Flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Vec<FlowPlan>>,
}

/// What every run is given the same amount of: one of seconds, steps and work, and a size where flows
/// are scaled to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchPlan {
    /// Seconds of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Optimiser steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Network passes and evaluations of vector fields times rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<u64>,
    /// Weights of each flow, within a tenth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
}

impl MatchPlan {
    /// The budget.
    ///
    /// # Errors
    /// [`Usage`] unless it is exactly one of them.
    pub fn budget(self) -> Result<Budget, Usage> {
        match (self.seconds, self.steps, self.work) {
            (Some(seconds), None, None) => Ok(Budget::Seconds { seconds }),
            (None, Some(steps), None) => Ok(Budget::Steps { steps }),
            (None, None, Some(work)) => Ok(Budget::Work { work }),
            given => {
                let got = if given == (None, None, None) { "none" } else { "several" };
                Err(Usage(format!("match: expected one of seconds, steps and work, got {got}")))
            }
        }
    }
}

/// A table of the user's, with what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TablePlan {
    /// Its path.
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal digits, once a comparison has read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What is done to it.
    #[serde(flatten)]
    pub config: DataConfig,
}

impl TablePlan {
    /// A table that no comparison has read yet.
    #[must_use]
    pub fn new(path: &Path, config: &DataConfig) -> Self {
        Self { path: path.to_owned(), sha256: None, config: config.clone() }
    }
}

impl<'de> Deserialize<'de> for TablePlan {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Path(PathBuf),
            Table(Table),
        }
        match Written::deserialize(from)? {
            Written::Path(path) => Ok(Self::new(&path, &DataConfig::default())),
            Written::Table(mut table) => {
                let Some(Value::String(path)) = table.remove("path") else {
                    return Err(serde::de::Error::custom("data: expected a path"));
                };
                let sha256 = table.remove("sha256").map(Value::try_into).transpose();
                let sha256 = sha256.map_err(serde::de::Error::custom)?;
                let config = DataConfig::deserialize(table).map_err(serde::de::Error::custom)?;
                Ok(Self { path: path.into(), sha256, config })
            }
        }
    }
}

/// A density that is known up to a constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DensityPlan {
    /// Whether every flow on it starts at its mode, as wide as its curvature there says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub laplace: bool,
    /// The density.
    pub target: DensityName,
}

/// A standard table with its published split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPlan {
    /// Which one.
    pub table: PublishedTable,
    /// The folder that has the folders of the published archive.
    pub folder: PathBuf,
    /// SHA-256 of the bytes of its files one after another, in hexadecimal digits, once a comparison
    /// has read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What stands for every problem in [`FlowPlan::on`].
pub const EVERY: &str = "*";

/// A preset or a config file, with values of its settings to go through.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FlowPlan {
    /// Name of a preset or path of a config file.
    pub flow: String,
    /// Settings with their values; several make a grid.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "grid")]
    pub grid: Vec<Setting>,
    /// Settings that it has on single problems, by their names, or on every problem, by [`EVERY`]; they
    /// stand over those of the grid, and those of a single problem over those of every one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "on")]
    pub on: BTreeMap<String, Vec<Set>>,
}

impl FlowPlan {
    /// A preset or a config file as it is.
    #[must_use]
    pub fn named(flow: &str) -> Self {
        Self { flow: flow.to_owned(), ..Self::default() }
    }
}

/// Calls `put` with the path and the value of every key: `flow.bins = 4` without quotes is a table in
/// a table.
fn flatten(at: &str, table: Table, put: &mut impl FnMut(String, Value)) {
    for (key, value) in table {
        let key = if at.is_empty() { key } else { format!("{at}.{key}") };
        match value {
            Value::Table(inner) if !inner.contains_key("kind") => flatten(&key, inner, put),
            value => put(key, value),
        }
    }
}

/// A grid is a table of keys with lists of values, in the order of the file.
mod grid {
    use super::{Deserialize, Serialize, Setting, Table, Value, flatten};

    pub(super) fn serialize<S: serde::Serializer>(
        grid: &[Setting],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let entry = |setting: &Setting| (setting.key.clone(), Value::Array(setting.values.clone()));
        grid.iter().map(entry).collect::<Table>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Setting>, D::Error> {
        let mut settings = Vec::new();
        flatten("", Table::deserialize(from)?, &mut |key, value| {
            let values = match value {
                Value::Array(values) if !values.is_empty() => values,
                value => vec![value],
            };
            settings.push(Setting { key, values });
        });
        Ok(settings)
    }
}

/// Settings on single problems are tables of keys with values, by the names of the problems.
mod on {
    use std::collections::BTreeMap;

    use super::{Deserialize, Serialize, Set, Table, flatten};

    pub(super) fn serialize<S: serde::Serializer>(
        on: &BTreeMap<String, Vec<Set>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let table = |sets: &Vec<Set>| -> Table {
            sets.iter().map(|set| (set.key.clone(), set.value.clone())).collect()
        };
        let tables = on.iter().map(|(problem, sets)| (problem, table(sets)));
        tables.collect::<BTreeMap<_, _>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, Vec<Set>>, D::Error> {
        let sets = |table: Table| {
            let mut sets = Vec::new();
            flatten("", table, &mut |key, value| sets.push(Set { key, value }));
            sets
        };
        let tables = BTreeMap::<String, Table>::deserialize(from)?;
        Ok(tables.into_iter().map(|(problem, table)| (problem, sets(table))).collect())
    }
}

impl<'de> Deserialize<'de> for FlowPlan {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            flow: String,
            #[serde(default, with = "grid")]
            grid: Vec<Setting>,
            #[serde(default, with = "on")]
            on: BTreeMap<String, Vec<Set>>,
        }
        match Value::deserialize(from)? {
            Value::String(flow) => Ok(Self::named(&flow)),
            other => {
                let Fields { flow, grid, on } =
                    Fields::deserialize(other).map_err(serde::de::Error::custom)?;
                Ok(Self { flow, grid, on })
            }
        }
    }
}

impl PlanFile {
    /// Reads a plan.
    ///
    /// # Errors
    /// The system's reason; [`Usage`] for an unknown key or a value that does not fit.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot be read; check the path", path.display()))?;
        Self::of(&text, &path.display().to_string())
    }

    /// Reads the text of a plan; `name` says where it is from.
    ///
    /// # Errors
    /// [`Usage`] for an unknown key or a value that does not fit.
    pub fn of(text: &str, name: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let line = line_of(&error, text);
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Usage(format!("{name}, line {line}: {message}")).into()
        })
    }

    /// As the file has it.
    ///
    /// # Errors
    /// What cannot be written as TOML.
    pub fn text(&self) -> Result<String> {
        toml::to_string(self).context("writing the plan as TOML")
    }
}
