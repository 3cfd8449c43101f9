//! What a comparison will do: its arguments, resolved and checked.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use flows_bench::toys::Toy;
use flows_core::train::Budget;
use flows_report::record::Matching;

use super::size::sized;
use crate::Usage;
use crate::cli::{BudgetName, Compare, Match};
use crate::config::{DataConfig, RunConfig};
use crate::preset::{self, Preset};
use crate::problem::{Problem, UserTable};

/// Most seeds of a comparison.
const MOST_SEEDS: u64 = 1_000;

/// A comparison, resolved and checked.
pub(super) struct Plan {
    pub(super) problems: Vec<Problem>,
    pub(super) presets: Vec<&'static Preset>,
    pub(super) seeds: Vec<u64>,
    pub(super) matching: Matching,
    /// `quick` or `full`.
    pub(super) name: &'static str,
    pub(super) out: PathBuf,
    /// Configs of seed 0, by problem and preset.
    configs: Vec<Vec<RunConfig>>,
}

pub(super) fn plan(arguments: &Compare) -> Result<Plan> {
    let (name, seconds, quick) = match arguments.budget {
        BudgetName::Quick => ("quick", 14.0, true),
        BudgetName::Full => ("full", 60.0, false),
    };
    let matching = matching(arguments, seconds)?;
    if !(1..=MOST_SEEDS).contains(&arguments.seeds) {
        let got = arguments.seeds;
        bail!(Usage(format!("--seeds must be between 1 and {MOST_SEEDS}, got {got}")));
    }
    let mut problems: Vec<Problem> = if !arguments.problems.is_empty() {
        unique(&arguments.problems, Problem::named)?
    } else if !arguments.data.is_empty() {
        Vec::new()
    } else {
        let few = [Toy::EightGaussians, Toy::Checkerboard, Toy::Pinwheel];
        let kept = |p: &Problem| match p {
            Problem::Toy(toy) => !quick || few.contains(toy),
            Problem::Digits => !quick,
            _ => true,
        };
        Problem::all().filter(kept).collect()
    };
    problems.extend(tables(arguments)?);
    let presets = if arguments.flows.is_empty() {
        preset::ALL.iter().filter(|preset| preset.quick).collect()
    } else {
        unique(&arguments.flows, |name| Preset::named(Some(name)))?
    };
    let out = folder(arguments)?;
    let config = |problem: &Problem, preset: &&Preset| config(problem, preset, &matching);
    let of_problem =
        |problem: &Problem| presets.iter().map(|preset| config(problem, preset)).collect();
    let configs = problems.iter().map(of_problem).collect::<Result<_>>()?;
    let seeds = (0..arguments.seeds).collect();
    Ok(Plan { problems, presets, seeds, matching, name, out, configs })
}

impl Plan {
    /// The config of a run.
    pub(super) fn config(&self, problem: usize, preset: usize, seed: u64) -> RunConfig {
        RunConfig { seed, ..self.configs[problem][preset].clone() }
    }
}

/// What the runs are given the same amount of; `seconds` where nothing is said.
fn matching(arguments: &Compare, seconds: f64) -> Result<Matching> {
    for (given, name, mode) in [
        (arguments.parameters.is_some(), "parameters", Match::Parameters),
        (arguments.work.is_some(), "work", Match::Work),
    ] {
        if given && arguments.matching != mode {
            bail!(Usage(format!("--{name} needs --match {name}")));
        }
    }
    let budget = match (arguments.work, arguments.steps) {
        (Some(work), _) => Budget::Work { work },
        (None, Some(steps)) => Budget::Steps { steps },
        (None, None) => Budget::Seconds { seconds: arguments.seconds.unwrap_or(seconds) },
    };
    budget.check().map_err(|error| Usage(error.to_string()))?;
    if arguments.parameters == Some(0) {
        bail!(Usage("--parameters must be at least 1, got 0".into()));
    }
    Ok(Matching { budget, parameters: arguments.parameters })
}

/// The preset's config under the comparison's budget and size. A toy's rows are fresh each step, so
/// there is nothing to stop early for.
fn config(problem: &Problem, preset: &Preset, matching: &Matching) -> Result<RunConfig> {
    let mut config = RunConfig { budget: matching.budget, ..RunConfig::of(preset) };
    if problem.toy().is_some() {
        config.train = preset.train.clone();
    }
    if let Some(target) = matching.parameters {
        config.flow = sized(&config, preset.name, (problem.dim(), problem.context_dim()), target)?;
    }
    Ok(config)
}

/// The user's tables, no two problems of one name.
fn tables(arguments: &Compare) -> Result<Vec<Problem>> {
    let mut config = DataConfig::default();
    arguments.table.over(&mut config);
    let mut tables: Vec<Problem> = Vec::new();
    for path in &arguments.data {
        let table = UserTable::read(path, &config)?;
        let same = |problem: &Problem| problem.name() == table.name();
        if tables.iter().any(same) || Problem::all().any(|problem| same(&problem)) {
            let (path, name) = (path.display(), table.name());
            bail!(Usage(format!(
                "{path}: there is another problem called {name}; rename the file"
            )));
        }
        tables.push(Problem::File(Arc::new(table)));
    }
    Ok(tables)
}

/// The things called `names`, each named once.
fn unique<T>(names: &[String], named: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            bail!(Usage(format!("{name} is named twice")));
        }
    }
    names.iter().map(|name| named(name)).collect()
}

fn folder(arguments: &Compare) -> Result<PathBuf> {
    if let Some(out) = &arguments.out {
        if out.join("comparison.json").exists() && !arguments.resume {
            let path = out.display();
            bail!(Usage(format!(
                "{path} holds a comparison; add --resume to finish it, or name another --out"
            )));
        }
        return Ok(out.clone());
    }
    let free = |path: &PathBuf| !path.exists();
    let numbered = (2..).map(|n| PathBuf::from(format!("results/compare-{n}")));
    let mut names = std::iter::once(PathBuf::from("results/compare")).chain(numbered);
    names.find(free).context("no free folder name")
}
