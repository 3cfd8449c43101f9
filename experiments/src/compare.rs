//! `compare`: finite and continuous flows on the same problems, seeds and time.

pub mod baseline;
mod describe;
mod flows;
mod plan;
pub mod plan_file;
pub mod size;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use flows_bench::table::{Values, write_npy};
use flows_core::train::write_atomically;
use flows_report::record::{About, Comparison, Folder, RunSummary, Status, summary_csv};

use crate::cli::Compare;
use crate::config::RunConfig;
use crate::evaluate::KEPT_DRAWS;
use crate::execute::{Execution, write_images};
use crate::interrupt::{self, Interrupted};
use crate::problem::Problem;
use crate::run::{RunFolder, write_json};
use crate::say;
use baseline::Baseline;
use describe::describe;
use flows::FlowChoice;
use plan::Plan;
use plan_file::PlanFile;

/// A comparison from the command line: planned by arguments, by a file, or by the folder that is
/// resumed.
///
/// # Errors
/// As [`run`].
pub fn from_arguments(arguments: &Compare) -> Result<()> {
    let baseline = Baseline::of_arguments(arguments)?;
    let (file, budget) = plan::of_arguments(arguments)?;
    run(&file, (budget, arguments.out.as_deref(), arguments.resume), None, baseline)
}

/// Trains everything, writes the result files and the report, which says what it is about and how it
/// differs from an earlier comparison.
///
/// # Errors
/// Wrong usage, or a file that cannot be written; [`Interrupted`] by a signal;
/// [`Worse`](baseline::Worse) than the earlier comparison. A run that fails is a row of the report.
pub fn run(
    file: &PlanFile,
    (budget, out, resume): (&'static str, Option<&Path>, bool),
    about: Option<About>,
    baseline: Option<Baseline<'_>>,
) -> Result<()> {
    let clock = Instant::now();
    let plan = Plan::new(file, budget, (out, resume))?;
    std::fs::create_dir_all(&plan.out)
        .with_context(|| format!("{}: the folder cannot be made", plan.out.display()))?;
    write_atomically(&plan.out.join("plan.toml"), plan.file.text()?.as_bytes())?;
    let mut comparison = Comparison { about, ..describe(&plan)? };
    let record = plan.out.join("comparison.json");
    if let (true, Ok(before)) = (resume, Folder::new(&plan.out).comparison()) {
        // What began it says what it is, and not what went on with it.
        comparison.command = before.command;
        comparison.about = comparison.about.or(before.about);
    }
    write_json(&record, &comparison)?;
    // What an earlier call found would be that of other runs.
    RunFolder::new(&plan.out).remove("baseline.csv")?;
    let mut summaries = Vec::new();
    for (p, problem) in plan.problems.iter().enumerate() {
        write_problem(&plan.out, problem)?;
        for (f, flow) in plan.flows.iter().enumerate() {
            for &seed in &plan.seeds {
                let config = plan.config(p, f, seed);
                let run = Run { problem, flow, config };
                summaries.push(run.finish(&plan.out, resume)?);
                write_atomically(&plan.out.join("summary.csv"), &summary_csv(&summaries)?)?;
            }
        }
    }
    comparison.wall_seconds = clock.elapsed().as_secs_f64();
    write_json(&record, &comparison)?;
    let changes = match baseline {
        Some(baseline) => baseline.changes(&plan.out)?,
        None => Vec::new(),
    };
    let path = flows_report::write(&plan.out)?;
    print(&summaries)?;
    baseline::print(&changes)?;
    say(&path.display().to_string())?;
    if summaries.iter().all(|summary| summary.status != Status::Finished) {
        bail!("no run finished; {} says why", path.display());
    }
    Ok(baseline.map_or(Ok(()), |baseline| baseline.judge(&changes))?)
}

/// Writes the true density and held-out rows for the figures.
fn write_problem(out: &Path, problem: &Problem) -> Result<()> {
    let folder = RunFolder::new(&out.join("problems").join(problem.name()));
    folder.create()?;
    let (rows, dim) = match (problem.target(), problem.data(0)?) {
        (_, Some(data)) => {
            let rows = data.in_own_units(data.test.first(KEPT_DRAWS).values().to_vec())?;
            (rows, data.dim())
        }
        (Some(density), None) => {
            let draws = density.sample(KEPT_DRAWS, &mut flows_core::stream(0, "test"));
            let Some(draws) = draws else { return Ok(()) };
            (draws, problem.dim())
        }
        (None, None) => return Ok(()),
    };
    write_npy(&folder.file("samples.npy"), &[rows.len() / dim, dim], Values::F64(&rows))?;
    write_images(&folder, "truth.npy", &problem.true_images())
}

/// One run of a comparison.
struct Run<'a> {
    problem: &'a Problem,
    flow: &'a FlowChoice,
    config: RunConfig,
}

impl Run<'_> {
    /// Trains and evaluates, as far as that is not done; whatever keeps it from finishing becomes its
    /// status.
    fn finish(&self, out: &Path, resume: bool) -> Result<RunSummary> {
        let Self { problem, flow, config } = self;
        let path = out.join("runs").join(problem.name()).join(&flow.name);
        let folder = RunFolder::new(&path.join(format!("seed-{}", config.seed)));
        let same = resume && folder.config().is_ok_and(|before| before.is_same_run(config));
        if same && let Some(done) = folder.summary().filter(is_done) {
            return Ok(done);
        }
        interrupt::check().map_err(|_| to_be_resumed(out))?;
        folder.create()?;
        if !same {
            // A checkpoint of another config must not be taken for one of this.
            folder.remove("checkpoint.safetensors")?;
        }
        let (name, place) = (&flow.name, "config");
        let execution = Execution { problem, flow: name, config, place, folder: &folder };
        match execution.run() {
            Ok(summary) => {
                if summary.status == Status::Diverged {
                    warn(problem, name, config.seed, &summary.message.clone().unwrap_or_default());
                }
                Ok(summary)
            }
            Err(error) if error.is::<Interrupted>() => Err(to_be_resumed(out).into()),
            Err(error) => {
                warn(problem, name, config.seed, &format!("{error:#}"));
                let failed = execution.without_numbers(Status::Failed, format!("{error:#}"));
                folder.write_json("summary.json", &failed)?;
                Ok(failed)
            }
        }
    }
}

fn warn(problem: &Problem, flow: &str, seed: u64, message: &str) {
    eprintln!("warning: {} {flow} {seed}: {message}", problem.name());
}

/// A run that diverged is done as one that finished is: it would diverge again.
fn is_done(summary: &RunSummary) -> bool {
    matches!(summary.status, Status::Finished | Status::Diverged)
}

fn to_be_resumed(out: &Path) -> Interrupted {
    let out = out.display();
    Interrupted(format!(
        "stopped between two steps, and everything so far is kept; go on with compare --resume --out \
         {out}"
    ))
}

fn print(summaries: &[RunSummary]) -> Result<()> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
    };
    let width = |name: fn(&RunSummary) -> &str| {
        summaries.iter().map(|run| name(run).chars().count()).fold(14, usize::max)
    };
    let (problem, flow) = (width(|run| &run.problem), width(|run| &run.flow));
    say(&format!(
        "{:<problem$} {:<flow$} {:>4} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}",
        "problem", "flow", "seed", "steps", "NLL nats", "KL nats", "s.e.", "integral", "status"
    ))?;
    let in_doubt = |run: &RunSummary| run.doubt().is_some() || !run.warnings.is_empty();
    for run in summaries {
        say(&format!(
            "{:<problem$} {:<flow$} {:>4} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}{}",
            run.problem,
            run.flow,
            run.seed,
            run.steps.map_or_else(|| "-".to_owned(), |s| s.to_string()),
            number(run.nll_nats, 4),
            number(run.kl_nats, 4),
            number(run.kl_standard_error.or(run.nll_standard_error), 4),
            number(run.normalisation, 4),
            run.status.to_string(),
            if in_doubt(run) { " *" } else { "" },
        ))?;
    }
    if summaries.iter().any(in_doubt) {
        say("* read its warnings in the report before its numbers")?;
    }
    Ok(())
}
