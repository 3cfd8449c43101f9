//! `fit`: trains a flow on a table, on a problem that comes along, or on a density that is known up to
//! a constant.

mod resolve;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use flows_report::record::{RunSummary, Status};

use crate::cli::Fit;
use crate::config::{RunConfig, StartConfig};
use crate::density::Density;
use crate::execute::{Execution, write_images};
use crate::interrupt::Interrupted;
use crate::preset;
use crate::problem::{Problem, UserTable};
use crate::run::RunFolder;
use crate::{Usage, say};
use resolve::{place, resolve, table_path};

/// Trains, evaluates, and writes the run.
///
/// # Errors
/// Wrong usage or config, unusable data, a run that diverges; [`Interrupted`] by a signal.
pub fn run(arguments: &Fit) -> Result<()> {
    let folder = RunFolder::new(&arguments.out);
    let mut config = resolve(arguments, &folder)?;
    let problem = problem(arguments, &mut config)?;
    start(arguments, &mut config, &problem, &folder)?;
    let before = folder.config().is_ok_and(|before| before.is_same_run(&config));
    let diverged = |run: &RunSummary| run.status == Status::Diverged;
    let done = folder.summary().filter(|run| arguments.resume && before && diverged(run));
    let summary = match done {
        Some(summary) => summary,
        None => {
            let (flow, place) = (&name(&config), &place(arguments));
            let folder = &folder;
            let execution = Execution { problem: &problem, flow, config: &config, place, folder };
            execution.run().map_err(|error| with_advice(error, &arguments.out))?
        }
    };
    write_images(&folder, "truth.npy", &problem.true_images())?;
    if let Err(error) = flows_report::write(folder.path()) {
        eprintln!("warning: the page of the run could not be written: {error:#}");
    }
    if diverged(&summary) {
        bail!(
            "{}; {} steps are done, and {} keeps the last checkpoint, if one was due",
            summary.message.unwrap_or_default(),
            summary.steps.unwrap_or(0),
            arguments.out.display()
        );
    }
    print(&summary)?;
    say(&arguments.out.display().to_string())
}

/// Puts a Laplace approximation of the density into the config, as its start, where one is asked for.
fn start(
    arguments: &Fit,
    config: &mut RunConfig,
    problem: &Problem,
    folder: &RunFolder,
) -> Result<()> {
    let Some(density) = problem.target() else {
        if arguments.laplace {
            bail!(Usage("--laplace starts a flow on a density; leave it out for rows".into()));
        }
        return Ok(());
    };
    // What is resumed has its start, or none.
    if !arguments.laplace || config.start.is_some() {
        return Ok(());
    }
    if folder.is_taken() {
        let out = folder.path().display();
        let advice = "leave it out, or name another --out";
        bail!(Usage(format!("{out}: --laplace, and the run began without it; {advice}")));
    }
    config.start = Some(StartConfig::at_mode(density)?);
    Ok(())
}

/// How to go on after an interruption.
fn with_advice(error: anyhow::Error, out: &Path) -> anyhow::Error {
    match error.downcast::<Interrupted>() {
        Ok(Interrupted(message)) => {
            let out = out.display();
            Interrupted(format!("{message}; go on with fit --resume --out {out}")).into()
        }
        Err(error) => error,
    }
}

/// What the run learns, with the table that is read put into the config.
fn problem(arguments: &Fit, config: &mut RunConfig) -> Result<Problem> {
    let given = arguments.data.is_some();
    if let Some(target) = &config.target {
        let density = Density::open(target)?;
        if given {
            let advice = "leave one out";
            bail!(Usage(format!("--data cannot be given with the target {density}; {advice}")));
        }
        return Ok(Problem::Target(density));
    }
    if let Some(name) = &config.problem {
        if given {
            bail!(Usage(format!("--data cannot be given with the problem {name}; leave one out")));
        }
        return Problem::named(name);
    }
    let path = table_path(arguments, config)?.to_owned();
    let table = UserTable::read(&path, (&config.data, &config.support), config.seed)?;
    config.data = table.config().clone();
    Ok(Problem::File(Arc::new(table)))
}

/// What the flow is called; a run of an earlier release has no name.
fn name(config: &RunConfig) -> String {
    let unnamed = || format!("{} flow", preset::family(&*config.flow));
    config.name.clone().unwrap_or_else(unnamed)
}

/// Prints the numbers of a run.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn print(summary: &RunSummary) -> Result<()> {
    let number = |value: Option<f64>| value.map_or("unknown".into(), |v| format!("{v:.4}"));
    if let Some(on) = summary.on_target {
        let precise = |value: Option<f64>| value.map_or("unknown".into(), |v| format!("{v:.5}"));
        say(&format!(
            "reverse KL {} +- {} nats, forward KL {} +- {} nats, evidence lower bound {} +- {} nats",
            precise(on.reverse_kl_nats),
            precise(on.reverse_kl_standard_error),
            number(summary.kl_nats),
            number(summary.kl_standard_error),
            precise(on.evidence_bound_nats),
            precise(on.evidence_bound_standard_error),
        ))?;
        say(&format!(
            "effective sample size {:.2} %, Pareto k {}, log Z {:.5} +- {} (exactly {})",
            100.0 * on.effective_sample_size,
            on.pareto_k.map_or("unknown".into(), |k| format!("{k:.2}")),
            on.log_normaliser_nats,
            precise(on.log_normaliser_standard_error),
            precise(on.exact_log_normaliser_nats),
        ))?;
        if let Some(doubt) = summary.doubt() {
            say(&format!("the effective sample size and log Z {doubt}"))?;
        }
    } else {
        let (nats, error) = (number(summary.nll_nats), number(summary.nll_standard_error));
        say(&format!(
            "test negative log-likelihood {nats} +- {error} nats a row; {} in standardised units",
            number(summary.nll_standardised_nats),
        ))?;
    }
    if let (Some(kl), None) = (summary.kl_nats, summary.on_target) {
        say(&format!("KL {kl:.5} +- {} nats", number(summary.kl_standard_error)))?;
    }
    say(&format!(
        "{} steps in {} s, {} parameters",
        summary.steps.unwrap_or(0),
        summary.train_seconds.map_or("unknown".into(), |v| format!("{v:.1}")),
        summary.parameters.unwrap_or(0),
    ))?;
    summary.stopped_early().map_or(Ok(()), |early| say(&early))
}
