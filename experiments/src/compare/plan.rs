//! What a comparison will do: its plan, resolved and checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use flows_bench::toys::Toy;
use flows_core::train::Budget;
use flows_report::record::Matching;
use toml::Table;

use super::flows::{FlowChoice, default_flows, flows};
use super::plan_file::{DensityPlan, FlowPlan, MatchPlan, PlanFile, PublishedPlan, TablePlan};
use super::size::sized;
use crate::Usage;
use crate::cli::{BudgetName, Compare, Match};
use crate::config::{DataConfig, RunConfig, StartConfig, TableFile};
use crate::density::Density;
use crate::problem::{Problem, Published, UserTable};
use crate::stated::contradiction;

/// Most seeds of a comparison.
const MOST_SEEDS: u64 = 1_000;

/// A comparison, resolved and checked.
pub(super) struct Plan {
    pub(super) problems: Vec<Problem>,
    pub(super) flows: Vec<FlowChoice>,
    pub(super) seeds: Vec<u64>,
    pub(super) matching: Matching,
    /// `quick` or `full`.
    pub(super) name: &'static str,
    pub(super) out: PathBuf,
    /// What the folder keeps of it: with the hashes of the tables.
    pub(super) file: PlanFile,
    /// Configs of seed 0, by problem and flow.
    configs: Vec<Vec<RunConfig>>,
}

/// The plan that the arguments ask for, and the name of its budget.
///
/// # Errors
/// [`Usage`] for arguments that contradict each other or the comparison that is resumed.
pub(super) fn of_arguments(arguments: &Compare) -> Result<(PlanFile, &'static str)> {
    let quick = arguments.budget != Some(BudgetName::Full);
    let name = if quick { "quick" } else { "full" };
    let asked = asked(arguments)?;
    let Some(out) = arguments.out.as_ref().filter(|_| arguments.resume) else {
        return Ok((with_defaults(asked, quick), name));
    };
    let path = out.join("plan.toml");
    if !path.exists() {
        if out.join("comparison.json").exists() {
            let out = out.display();
            bail!(Usage(format!(
                "{out}: its comparison was written by an earlier release, without a plan.toml; name \
                 another --out"
            )));
        }
        return Ok((with_defaults(asked, quick), name));
    }
    let before = PlanFile::read(&path)?;
    let table = |plan: &PlanFile| Table::try_from(plan).context("the plan as TOML");
    if let Some(problem) = contradiction(&table(&asked)?, &table(&before)?) {
        let out = out.display();
        bail!(Usage(format!("{out}: {problem}; leave it out, or name another --out")));
    }
    Ok((before, name))
}

/// What the arguments say, and nothing more.
fn asked(arguments: &Compare) -> Result<PlanFile> {
    if let Some(path) = &arguments.plan {
        return PlanFile::read(path);
    }
    for (given, name, mode) in [
        (arguments.parameters.is_some(), "parameters", Match::Parameters),
        (arguments.work.is_some(), "work", Match::Work),
    ] {
        if given && arguments.matching != Some(mode) {
            bail!(Usage(format!("--{name} needs --match {name}")));
        }
    }
    if arguments.laplace && arguments.density.config().is_none() {
        bail!(Usage("--laplace is for a density; add --posterior or --target-command".into()));
    }
    let mut config = DataConfig::default();
    arguments.table.over(&mut config);
    let table = |path: &PathBuf| TablePlan::new(path, &config);
    let flow = |flow: &String| FlowPlan { grid: arguments.set.clone(), ..FlowPlan::named(flow) };
    let mut flows: Option<Vec<FlowPlan>> = None;
    if !arguments.flows.is_empty() {
        flows = Some(arguments.flows.iter().map(flow).collect());
    } else if !arguments.set.is_empty() {
        let all = default_flows().into_iter();
        flows = Some(all.map(|plan| FlowPlan { grid: arguments.set.clone(), ..plan }).collect());
    }
    let density = |target| DensityPlan { target, laplace: arguments.laplace };
    let Compare { seconds, steps, work, parameters, .. } = *arguments;
    let matching = MatchPlan { seconds, steps, work, parameters };
    Ok(PlanFile {
        problems: (!arguments.problems.is_empty()).then(|| arguments.problems.clone()),
        seeds: arguments.seeds,
        matching: (matching != MatchPlan::default()).then_some(matching),
        data: arguments.data.iter().map(table).collect(),
        densities: arguments.density.config().into_iter().map(density).collect(),
        published: Vec::new(),
        flows,
    })
}

/// The plan with everything that a comparison is determined by.
pub(super) fn with_defaults(asked: PlanFile, quick: bool) -> PlanFile {
    let problems = asked.problems.unwrap_or_else(|| {
        let tables = !asked.data.is_empty() || !asked.published.is_empty();
        let own = tables || !asked.densities.is_empty();
        if own { Vec::new() } else { default_problems(quick) }
    });
    let matching = asked.matching.unwrap_or_default();
    let unlimited = matching.steps.or(matching.work).is_none();
    let seconds = matching.seconds.or(unlimited.then_some(if quick { 14.0 } else { 60.0 }));
    PlanFile {
        problems: Some(problems),
        seeds: asked.seeds.or(Some(1)),
        matching: Some(MatchPlan { seconds, ..matching }),
        flows: Some(asked.flows.unwrap_or_else(default_flows)),
        ..asked
    }
}

fn default_problems(quick: bool) -> Vec<String> {
    let few = [Toy::EightGaussians, Toy::Checkerboard, Toy::Pinwheel];
    let kept = |problem: &Problem| match problem {
        Problem::Toy(toy) => !quick || few.contains(toy),
        Problem::Digits => !quick,
        Problem::RedWine => true,
        _ => false,
    };
    Problem::all().filter(kept).map(|problem| problem.name().to_owned()).collect()
}

impl Plan {
    /// Resolves a plan; every name, key and value is read before anything trains.
    ///
    /// # Errors
    /// [`Usage`] for what does not exist or fit; unusable tables.
    pub(super) fn new(
        file: &PlanFile,
        name: &'static str,
        (out, resume): (Option<&Path>, bool),
    ) -> Result<Self> {
        let matching = matching(file.matching.unwrap_or_default())?;
        let seeds = file.seeds.unwrap_or(1);
        if !(1..=MOST_SEEDS).contains(&seeds) {
            bail!(Usage(format!("--seeds must be between 1 and {MOST_SEEDS}, got {seeds}")));
        }
        let names = file.problems.as_deref().unwrap_or_default();
        let mut problems = unique(names, Problem::named)?;
        let mut file = file.clone();
        for plan in &mut file.published {
            let published = published(plan, &problems)?;
            plan.sha256.clone_from(&published.file().sha256);
            problems.push(Problem::Published(Arc::new(published)));
        }
        let mut starts = vec![None; problems.len()];
        for plan in &file.densities {
            let (density, start) = density(plan, &problems)?;
            problems.push(Problem::Target(density));
            starts.push(start);
        }
        let tables = tables(&file.data, &problems)?;
        for (plan, table) in file.data.iter_mut().zip(&tables) {
            plan.sha256 = table.config().table.as_ref().and_then(|file| file.sha256.clone());
        }
        problems.extend(tables.into_iter().map(Problem::File));
        if problems.is_empty() {
            bail!(Usage("problems: expected at least one problem or table, got none".into()));
        }
        let flows = flows(file.flows.as_deref().unwrap_or_default())?;
        if flows.is_empty() {
            bail!(Usage("flows: expected at least one flow, got none".into()));
        }
        for flow in &flows {
            flow.check_problems(&problems)?;
        }
        let out = folder(out, resume)?;
        starts.resize(problems.len(), None);
        let of_problem = |(problem, start)| {
            flows.iter().map(|flow| config((problem, start), flow, &matching)).collect()
        };
        let configs = problems.iter().zip(&starts).map(of_problem).collect::<Result<_>>()?;
        Ok(Self {
            problems,
            flows,
            seeds: (0..seeds).collect(),
            matching,
            name,
            out,
            file,
            configs,
        })
    }

    /// The config of a run.
    pub(super) fn config(&self, problem: usize, flow: usize, seed: u64) -> RunConfig {
        RunConfig { seed, ..self.configs[problem][flow].clone() }
    }
}

/// What the runs are given the same amount of.
fn matching(plan: MatchPlan) -> Result<Matching> {
    let budget = plan.budget()?;
    budget.check().map_err(|error| Usage(error.to_string()))?;
    if plan.parameters == Some(0) {
        bail!(Usage("--parameters must be at least 1, got 0".into()));
    }
    if matches!(budget, Budget::Work { .. }) && plan.parameters.is_some() {
        bail!(Usage("match: expected work or parameters, got both; leave one out".into()));
    }
    Ok(Matching { budget, parameters: plan.parameters })
}

/// The flow's config under the comparison's budget and size, built once so that what cannot be built
/// is named before anything trains.
fn config(
    (problem, start): (&Problem, &Option<StartConfig>),
    flow: &FlowChoice,
    matching: &Matching,
) -> Result<RunConfig> {
    let mut config = RunConfig { budget: matching.budget, ..flow.config(problem)? };
    match problem {
        Problem::Target(_) => config.start = config.start.or_else(|| start.clone()),
        Problem::File(table) => config.data = table.config().clone(),
        Problem::Published(published) => config.data.table = Some(published.file().clone()),
        _ => {}
    }
    let sizes = (problem.dim(), problem.context_dim());
    if let Some(target) = matching.parameters {
        config.flow = sized(&config, &flow.name, sizes, target)?;
    }
    config.train.check().map_err(|error| Usage(format!("{}: train: {error}", flow.name)))?;
    let on = || format!("{} on {}", flow.name, problem.name());
    config.check_proposal().map_err(|Usage(error)| Usage(format!("{}: {error}", on())))?;
    config.build::<f32>(sizes.0, sizes.1).map_err(|error| Usage(format!("{}: {error:#}", on())))?;
    Ok(config)
}

/// A density, named once, and the normal that flows on it start from, where they are to.
fn density(plan: &DensityPlan, others: &[Problem]) -> Result<(Density, Option<StartConfig>)> {
    let density = Density::open(&plan.target)?;
    let name = density.name();
    if others.iter().any(|other| other.name() == name) {
        bail!(Usage(format!("{name} is named twice")));
    }
    let start = plan.laplace.then(|| StartConfig::at_mode(&density)).transpose()?;
    Ok((density, start))
}

/// A standard table, named once.
fn published(plan: &PublishedPlan, others: &[Problem]) -> Result<Published> {
    let name = plan.table.name();
    if others.iter().any(|other| other.name() == name) {
        bail!(Usage(format!("{name} is named twice")));
    }
    Published::read(plan.table, &plan.folder, plan.sha256.as_deref())
}

/// The user's tables, no two problems of one name.
fn tables(plans: &[TablePlan], others: &[Problem]) -> Result<Vec<Arc<UserTable>>> {
    let mut tables: Vec<Arc<UserTable>> = Vec::new();
    for TablePlan { path, sha256, config } in plans {
        let file = TableFile { path: path.clone(), sha256: sha256.clone() };
        let config = DataConfig { table: Some(file), ..config.clone() };
        // Split and noise are part of the problem: the same for every flow and every seed.
        let table = UserTable::read(path, (&config, &[]), 0)?;
        let path = path.display();
        if table.name().is_empty() {
            bail!(Usage(format!("{path}: expected a file name with letters or digits; rename it")));
        }
        let name = table.name();
        let another = tables.iter().any(|table| table.name() == name);
        let is_it = |problem: &Problem| problem.name() == name;
        if another || others.iter().any(is_it) || Problem::all().any(|problem| is_it(&problem)) {
            bail!(Usage(format!(
                "{path}: there is another problem called {name}; rename the file"
            )));
        }
        tables.push(Arc::new(table));
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

fn folder(out: Option<&Path>, resume: bool) -> Result<PathBuf> {
    if let Some(out) = out {
        if out.join("comparison.json").exists() && !resume {
            let path = out.display();
            bail!(Usage(format!(
                "{path} holds a comparison; add --resume to finish it, or name another --out"
            )));
        }
        return Ok(out.to_owned());
    }
    let free = |path: &PathBuf| !path.exists();
    let numbered = (2..).map(|n| PathBuf::from(format!("results/compare-{n}")));
    let mut names = std::iter::once(PathBuf::from("results/compare")).chain(numbered);
    names.find(free).context("no free folder name")
}
