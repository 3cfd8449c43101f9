//! What a `fit` does, resolved from file, preset and flags, or from the run that is resumed.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::TableError;
use flows_bench::targets::KnownTarget;
use flows_core::Estimator;
use flows_core::train::{Budget, Objective, ReverseKl};
use toml::{Table, Value};

use crate::Usage;
use crate::cli::{Fit, GradientName, ObjectiveName};
use crate::config::setting::{tidy, with_settings};
use crate::config::{ProposalConfig, RunConfig, Set, Setting, support};
use crate::density::Density;
use crate::problem::Problem;
use crate::run::RunFolder;
use crate::stated::{Resolved, Stated, contradiction};

/// The config from the run's folder, or from file, preset and flags.
pub(super) fn resolve(arguments: &Fit, folder: &RunFolder) -> Result<RunConfig> {
    let budget = budget(arguments)?;
    check_flags(arguments)?;
    if arguments.resume && folder.is_taken() {
        return resumed(arguments, folder, budget);
    }
    if folder.is_taken() {
        let path = arguments.out.display();
        bail!(Usage(format!("{path} holds a run; add --resume to go on, or name another --out")));
    }
    let Resolved { mut config, preset, .. } = asked(arguments, None)?;
    config.name.get_or_insert_with(|| name(arguments, preset.name));
    config.budget = budget.unwrap_or(config.budget);
    config.data.seed_split(config.seed);
    let place = place(arguments);
    config.budget.check().map_err(|error| Usage(format!("{place}: budget: {error}")))?;
    // Whatever the number of rows, shares have to be shares.
    if let Err(error @ TableError::Fraction { .. }) = config.data.split.split(1_000) {
        bail!(Usage(format!("{place}: data: {error}")));
    }
    config.train.check().map_err(|error| Usage(format!("{place}: train: {error}")))?;
    support::check_ends(&config.support).map_err(|error| Usage(format!("{place}: {}", error.0)))?;
    check_target(&config).map_err(|error| Usage(format!("{place}: {}", error.0)))?;
    Ok(config)
}

/// The name of the file or of the preset, with the settings over it.
fn name(arguments: &Fit, preset: &str) -> String {
    let stem = arguments.config.as_ref().and_then(|path| path.file_stem());
    let stem = stem.map_or_else(String::new, |stem| tidy(&stem.to_string_lossy()));
    // Several values were refused before.
    let sets: Vec<Set> = arguments.set.iter().filter_map(|set| set.single().ok()).collect();
    with_settings(if stem.is_empty() { preset } else { &stem }, &sets)
}

/// Where the config comes from, for messages.
pub(super) fn place(arguments: &Fit) -> String {
    arguments.config.as_ref().map_or("config".into(), |path| path.display().to_string())
}

fn budget(arguments: &Fit) -> Result<Option<Budget>> {
    let budget = match (arguments.seconds, arguments.steps) {
        (Some(seconds), _) => Budget::Seconds { seconds },
        (None, Some(steps)) => Budget::Steps { steps },
        (None, None) => return Ok(None),
    };
    budget.check().map_err(|error| Usage(error.to_string()))?;
    Ok(Some(budget))
}

/// File, preset, settings and flags put together; on what a run has learned so far, unless they say
/// something else.
fn asked(arguments: &Fit, run: Option<&RunConfig>) -> Result<Resolved> {
    let sets: Vec<Set> = arguments.set.iter().map(Setting::single).collect::<Result<_, _>>()?;
    let (file, preset) = (arguments.config.as_deref(), arguments.flow.as_deref());
    let given = arguments.density.config();
    let of_run = || run.filter(|_| file.is_none()).and_then(|run| run.target.clone());
    let problem = match (&arguments.problem, given.or_else(of_run)) {
        (Some(name), _) => Some(Problem::named(name)?),
        (None, density) => {
            let density = density.map(|config| Density::open(&config)).transpose()?;
            density.map(Problem::Target)
        }
    };
    let mut asked = Stated { file, preset, problem: problem.as_ref(), sets: &sets }.read()?;
    let config = &mut asked.config;
    config.seed = arguments.seed.unwrap_or(config.seed);
    config.precision = arguments.precision.unwrap_or(config.precision);
    arguments.table.over(&mut config.data);
    set_objective(arguments, config)?;
    Ok(asked)
}

/// The run's own config, of which the budget alone may change; whatever else is asked for has to be
/// what the run has.
fn resumed(arguments: &Fit, folder: &RunFolder, budget: Option<Budget>) -> Result<RunConfig> {
    let mut run = folder.config()?;
    let has = Table::try_from(&run).context("the run's config as TOML")?;
    let stated = stated(arguments, &run)?;
    if let Some(problem) = contradiction(&stated, &has) {
        let out = arguments.out.display();
        bail!(Usage(format!("{out}: {problem}; leave it out, or name another --out")));
    }
    run.budget = budget.unwrap_or(run.budget);
    Ok(run)
}

/// What the arguments say of the config, without the budget.
fn stated(arguments: &Fit, run: &RunConfig) -> Result<Table> {
    let Resolved { config, mut stated, .. } = asked(arguments, Some(run))?;
    stated.remove("budget");
    let all = Table::try_from(&config).context("the config as TOML")?;
    let mut take = |given: bool, path: &[&str]| {
        if given {
            copy(&all, path, &mut stated);
        }
    };
    let table = &arguments.table;
    take(arguments.seed.is_some(), &["seed"]);
    take(arguments.precision.is_some(), &["precision"]);
    take(arguments.objective.is_some(), &["train", "objective", "kind"]);
    take(arguments.objective.is_some(), &["proposal", "kind"]);
    take(arguments.gradient.is_some(), &["train", "objective", "estimator"]);
    take(!table.columns.is_empty(), &["data", "columns"]);
    take(!table.drop.is_empty(), &["data", "drop"]);
    take(!table.context.is_empty(), &["data", "context"]);
    take(table.dequantise.is_some(), &["data", "dequantise"]);
    take(table.split.is_some(), &["data", "split", "kind"]);
    if arguments.objective.is_some() && config.proposal.is_none() && run.proposal.is_some() {
        stated.insert("proposal".into(), Value::String("none".into()));
    }
    Ok(stated)
}

/// Copies the value at a path.
fn copy(from: &Table, path: &[&str], to: &mut Table) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(value) = from.get(*first) else { return };
    match (value, rest) {
        (Value::Table(inner), [_, ..]) => {
            let entry = to.entry((*first).to_owned());
            if let Value::Table(to) = entry.or_insert_with(|| Value::Table(Table::new())) {
                copy(inner, rest, to);
            }
        }
        _ => drop(to.insert((*first).to_owned(), value.clone())),
    }
}

/// The path of the table to train on: the one that is given, or that of the config.
///
/// # Errors
/// [`Usage`] without either.
pub(super) fn table_path<'a>(arguments: &'a Fit, config: &'a RunConfig) -> Result<&'a Path> {
    let of_config = config.data.table.as_ref().map(|file| &file.path);
    let advice = "add --data TABLE, or --objective reverse-kl --target NAME; see fit --help";
    let path = arguments.data.as_ref().or(of_config);
    Ok(path.ok_or_else(|| Usage(advice.into()))?)
}

/// Refuses flags that contradict each other, whatever a file says.
fn check_flags(arguments: &Fit) -> Result<()> {
    let likelihood = arguments.objective == Some(ObjectiveName::MaximumLikelihood);
    if let (Some(target), true) = (arguments.density.config(), likelihood) {
        let target = Density::open(&target)?;
        bail!(Usage(format!(
            "--objective maximum-likelihood needs rows, and the target {target} has none; take \
             reverse-kl, or --data instead of --target"
        )));
    }
    if likelihood && arguments.gradient.is_some() {
        bail!(Usage("--gradient belongs to reverse-kl, not to maximum-likelihood".into()));
    }
    Ok(())
}

/// Puts what the flags say about the objective over what the config says.
fn set_objective(arguments: &Fit, config: &mut RunConfig) -> Result<()> {
    let settings = match config.train.objective {
        Objective::ReverseKl(settings) => Some(settings),
        _ => None,
    };
    if let Some(objective) = arguments.objective {
        let asked = ProposalConfig::named(objective);
        let same = |own: &ProposalConfig| asked.as_ref().is_some_and(|asked| asked.is_like(own));
        if !config.proposal.as_ref().is_some_and(same) {
            config.proposal = asked;
        }
        config.train.objective = match objective {
            ObjectiveName::MaximumLikelihood => Objective::MaximumLikelihood,
            _ => Objective::ReverseKl(settings.unwrap_or_default()),
        };
    }
    let Some(gradient) = arguments.gradient else { return Ok(()) };
    if let Some(proposal) = &config.proposal {
        bail!(Usage(format!("--gradient belongs to reverse-kl, not to {proposal}; leave it out")));
    }
    let Objective::ReverseKl(ReverseKl { estimator, .. }) = &mut config.train.objective else {
        bail!(Usage("--gradient belongs to --objective reverse-kl; add it, and --target".into()));
    };
    *estimator = match gradient {
        GradientName::Reparameterised => Estimator::Reparameterised,
        GradientName::Path => Estimator::Path,
    };
    Ok(())
}

/// Refuses a target without reverse KL, and the other way about.
fn check_target(config: &RunConfig) -> Result<(), Usage> {
    config.check_proposal()?;
    let reverse = matches!(config.train.objective, Objective::ReverseKl(_));
    let Some(target) = &config.target else {
        let names = || KnownTarget::ALL.map(KnownTarget::name).join(", ");
        let needed = || format!("reverse KL needs a target; add --target, one of {}", names());
        return if reverse { Err(Usage(needed())) } else { Ok(()) };
    };
    let density = Density::open(target).map_err(|error| Usage(format!("{error:#}")))?;
    if !reverse {
        return Err(Usage(format!(
            "the target {density} is fitted by reverse KL alone; drop train.objective"
        )));
    }
    if density.own_support().is_some_and(|support| support != config.support) {
        let advice = "leave it out";
        return Err(Usage(format!("support is that of the target {density} itself; {advice}")));
    }
    Ok(())
}
