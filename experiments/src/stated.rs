//! What a config is told: a file and single settings over a preset.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::{Table, Value};

use crate::Usage;
use crate::config::{RunConfig, Set, kind, merge, message, read_table, spelling};
use crate::density::{Density, DensityName};
use crate::preset::Preset;
use crate::problem::Problem;

/// What a config is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stated<'a> {
    /// A file over the preset.
    pub file: Option<&'a Path>,
    /// Name of the preset; else the file's key `preset` has it, else it is the one of the file's
    /// architecture, else the default one.
    pub preset: Option<&'a str>,
    /// What is learned; it stands over the file's own `problem` or `target`.
    pub problem: Option<&'a Problem>,
    /// Settings over the file.
    pub sets: &'a [Set],
}

/// A config, and the part of it that was asked for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The whole.
    pub config: RunConfig,
    /// The preset that it began with.
    pub preset: &'static Preset,
    /// The keys of the preset, where one was named, of the file and of the settings; the values that
    /// the config has for them.
    pub stated: Table,
}

impl Stated<'_> {
    /// Reads the file and puts everything together.
    ///
    /// # Errors
    /// [`Usage`] for an unknown preset, key or value; the file's system error.
    pub fn read(&self) -> Result<Resolved> {
        let (mut over, name) = match self.file {
            None => (Table::new(), "config".to_owned()),
            Some(path) => (read_table(path)?, path.display().to_string()),
        };
        let here = |error: Usage| Usage(format!("{name}: {}", error.0));
        let named = match over.remove("preset") {
            None => None,
            Some(Value::String(named)) => Some(named),
            Some(other) => {
                return Err(here(Usage(format!("preset must be a name, got {other}"))).into());
            }
        };
        let is_named = self.preset.is_some() || named.is_some();
        let preset = match (self.preset, named.as_deref()) {
            (None, Some(named)) => {
                Preset::named(Some(named)).map_err(|error| here(Usage(error.to_string())))?
            }
            (None, None) => Preset::of_kind(kind(&over)).unwrap_or(Preset::named(None)?),
            (preset, _) => Preset::named(preset)?,
        };
        let own = own_problem(&mut over).map_err(here)?;
        let problem = self.problem.or(own.as_ref());
        let under = on(preset, problem);
        let under = Table::try_from(under).context("the preset as TOML")?;
        let mut base = under.clone();
        merge(&mut base, over.clone());
        for set in self.sets {
            set.put(&base, &mut over)?;
        }
        let mut config = under.clone();
        merge(&mut config, over.clone());
        let config = RunConfig::deserialize(config).map_err(|error| {
            let place = match self.sets {
                [] => name.clone(),
                sets => {
                    let sets: Vec<String> = sets.iter().map(|set| format!("--set {set}")).collect();
                    format!("{name}, {}", sets.join(" "))
                }
            };
            let message = spelling::advice(&under, &over).unwrap_or_else(|| message(&error));
            Usage(format!("{place}: {message}"))
        })?;
        if is_named {
            let mut whole = Table::new();
            for key in ["flow", "train"] {
                if let Some(value) = under.get(key) {
                    whole.insert(key.into(), value.clone());
                }
            }
            merge(&mut whole, over);
            over = whole;
        }
        let all = Table::try_from(&config).context("the config as TOML")?;
        for key in ["target", "problem"].into_iter().filter(|_| problem.is_some()) {
            if let Some(value) = all.get(key) {
                over.insert(key.into(), value.clone());
            }
        }
        Ok(Resolved { stated: values_of(&over, &all), config, preset })
    }
}

/// The preset's config for a problem, or for a table.
fn on(preset: &Preset, problem: Option<&Problem>) -> RunConfig {
    match problem {
        Some(Problem::Target(density)) => RunConfig::of_target(preset, density),
        Some(problem) => {
            let table = RunConfig::of(preset);
            // Of rows that are drawn anew there is nothing to stop early for.
            let drawn = problem.is_sampled();
            let train = if drawn { preset.train.clone() } else { table.train.clone() };
            let named = !matches!(problem, Problem::File(_));
            let problem = named.then(|| problem.name().to_owned());
            RunConfig { problem, train, ..table }
        }
        None => RunConfig::of(preset),
    }
}

/// Takes out what a file says is learned.
fn own_problem(over: &mut Table) -> Result<Option<Problem>, Usage> {
    let target = match over.remove("target") {
        None => None,
        Some(named) => {
            let config = DensityName::deserialize(named)
                .map_err(|error| Usage(format!("target: {}", error.to_string().trim())))?;
            Some(Density::open(&config).map_err(|error| Usage(format!("target: {error:#}")))?)
        }
    };
    match (over.remove("problem"), target) {
        (None, target) => Ok(target.map(Problem::Target)),
        (Some(Value::String(name)), None) => {
            Ok(Some(Problem::named(&name).map_err(|error| Usage(format!("problem: {error}")))?))
        }
        (Some(_), Some(_)) => Err(Usage("problem: there is a target as well; drop one".into())),
        (Some(other), None) => Err(Usage(format!("problem must be a name, got {other}"))),
    }
}

/// The keys of `over` with the values that `all` has for them.
fn values_of(over: &Table, all: &Table) -> Table {
    let value = |(key, value): (&String, &Value)| {
        let now = all.get(key)?;
        Some((
            key.clone(),
            match (value, now) {
                (Value::Table(over), Value::Table(all)) => Value::Table(values_of(over, all)),
                _ => now.clone(),
            },
        ))
    };
    over.iter().filter_map(value).collect()
}

/// The first key of `stated` for which `run` has another value, as a sentence with both.
#[must_use]
pub fn contradiction(stated: &Table, run: &Table) -> Option<String> {
    differing(stated, run, "")
}

fn differing(stated: &Table, run: &Table, at: &str) -> Option<String> {
    stated.iter().find_map(|(key, asked)| {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (asked, run.get(key)) {
            (Value::Table(asked), Some(Value::Table(has))) => differing(asked, has, &path),
            (Value::Array(asked), Some(Value::Array(has))) if are_tables(asked, has) => {
                let mut pairs = asked.iter().zip(has).enumerate();
                pairs.find_map(|(index, pair)| match pair {
                    (Value::Table(asked), Value::Table(has)) => {
                        differing(asked, has, &format!("{path}[{index}]"))
                    }
                    _ => None,
                })
            }
            (asked, Some(has)) if asked == has => None,
            (asked, has) => {
                let has = has.map_or_else(|| "nothing".to_owned(), Value::to_string);
                Some(format!("{path} is {has} in the run, and {asked} is asked for"))
            }
        }
    })
}

/// Whether these are tables one by one, of which each may say less than the other's.
fn are_tables(asked: &[Value], has: &[Value]) -> bool {
    asked.len() == has.len() && asked.iter().chain(has).all(Value::is_table)
}
