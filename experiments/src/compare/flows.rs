//! The flows of a comparison: presets and config files, each with the points of its grid.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use flows_report::record::Family;

use super::plan_file::{EVERY, FlowPlan};
use crate::Usage;
use crate::config::RunConfig;
use crate::config::setting::{Set, grid, tidy, with_settings, words};
use crate::preset::{self, Preset};
use crate::problem::Problem;
use crate::stated::{Resolved, Stated};

/// Most flows of a comparison.
const MOST_FLOWS: usize = 1_000;

/// One flow of a comparison.
#[derive(Clone, Debug)]
pub(super) struct FlowChoice {
    /// Name of folders and in tables.
    pub(super) name: String,
    /// Name for readers.
    pub(super) title: String,
    /// Finite or continuous.
    pub(super) family: Family,
    /// One sentence.
    pub(super) description: String,
    /// The settings of its point of a grid.
    pub(super) sets: Vec<Set>,
    /// Settings that it has on single problems, by their names.
    pub(super) on: BTreeMap<String, Vec<Set>>,
    /// What it is a setting of: the name without the settings.
    pub(super) group: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Preset(&'static Preset),
    File(PathBuf),
}

impl FlowChoice {
    /// Its config for a problem.
    pub(super) fn config(&self, problem: &Problem) -> Result<RunConfig> {
        let on = [EVERY, problem.name()].into_iter().filter_map(|name| self.on.get(name)).flatten();
        let sets: Vec<Set> = self.sets.iter().chain(on).cloned().collect();
        Ok(read(&self.source, &sets, Some(problem))?.config)
    }

    /// Checks that what it has on single problems is for problems that there are.
    ///
    /// # Errors
    /// [`Usage`] with the names of the problems.
    pub(super) fn check_problems(&self, problems: &[Problem]) -> Result<(), Usage> {
        let names: Vec<&str> = problems.iter().map(Problem::name).collect();
        match self.on.keys().find(|name| *name != EVERY && !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => Err(Usage(format!(
                "{}: expected problems of the comparison under on, got {unknown}; there are {}",
                self.name,
                names.join(", ")
            ))),
        }
    }
}

/// All flows of some plans, no two of one name; every config has been read once.
pub(super) fn flows(plans: &[FlowPlan]) -> Result<Vec<FlowChoice>> {
    let mut flows: Vec<FlowChoice> = Vec::new();
    for plan in plans {
        let count: usize = plan.grid.iter().map(|setting| setting.values.len()).product();
        if flows.len() + count > MOST_FLOWS {
            bail!(Usage(format!(
                "{}: expected at most {MOST_FLOWS} flows, got a grid of {count}",
                plan.flow
            )));
        }
        let source = source(&plan.flow)?;
        for sets in grid(&plan.grid) {
            let flow = choice(&source, sets, &plan.on)?;
            if flows.iter().any(|other| other.name == flow.name) {
                bail!(Usage(format!("{} is named twice", flow.name)));
            }
            flows.push(flow);
        }
    }
    Ok(flows)
}

/// Flows that a comparison has where none are named.
pub(super) fn default_flows() -> Vec<FlowPlan> {
    let quick = preset::ALL.iter().filter(|preset| preset.quick);
    quick.map(|preset| FlowPlan::named(preset.name)).collect()
}

fn source(flow: &str) -> Result<Source> {
    if flow.to_lowercase().ends_with(".toml") {
        return Ok(Source::File(flow.into()));
    }
    Ok(Source::Preset(Preset::named(Some(flow))?))
}

fn choice(source: &Source, sets: Vec<Set>, on: &BTreeMap<String, Vec<Set>>) -> Result<FlowChoice> {
    for set in sets.iter().chain(on.values().flatten()) {
        let first = set.key.split('.').next().unwrap_or_default();
        let instead = match first {
            "seed" => "--seeds N",
            "budget" => "--seconds, --steps or --work",
            "target" => "--problems NAME",
            "data" | "support" => "what --data comes with",
            _ => continue,
        };
        bail!(Usage(format!("--set {set}: {first} is not a setting of a flow; use {instead}")));
    }
    let read = read(source, &sets, None)?;
    let (group, title, description) = match source {
        Source::Preset(preset) => {
            (preset.name.to_owned(), preset.title.to_owned(), preset.description.to_owned())
        }
        Source::File(path) => {
            let name = stem(path)?;
            let description = format!("{}, over the preset {}", path.display(), read.preset.name);
            (name.clone(), name, description)
        }
    };
    let values: Vec<String> =
        sets.iter().map(|set| format!("{} {}", set.name(), words(&set.value))).collect();
    let title = [vec![title], values].concat().join(", ");
    Ok(FlowChoice {
        name: with_settings(&group, &sets),
        title,
        family: preset::family(&*read.config.flow),
        description,
        sets,
        on: on.clone(),
        group,
        source: source.clone(),
    })
}

fn read(source: &Source, sets: &[Set], problem: Option<&Problem>) -> Result<Resolved> {
    let (file, preset) = match source {
        Source::Preset(preset) => (None, Some(preset.name)),
        Source::File(path) => (Some(path.as_path()), None),
    };
    Stated { file, preset, problem, sets }.read()
}

/// The name of a config file without its ending.
fn stem(path: &Path) -> Result<String> {
    let stem = tidy(&path.file_stem().unwrap_or_default().to_string_lossy());
    if stem.is_empty() {
        let path = path.display();
        bail!(Usage(format!("{path}: expected a file name with letters or digits; rename it")));
    }
    Ok(stem)
}
