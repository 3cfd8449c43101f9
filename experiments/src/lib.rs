//! The program: trains finite and continuous flows, compares them, and reports.

pub mod audit;
pub mod chains;
pub mod cli;
pub mod compare;
pub mod config;
mod corner_file;
pub mod data;
pub mod density;
mod draw_archive;
pub mod error_account;
pub mod evaluate;
pub mod execute;
pub mod experiment;
pub mod fit;
pub mod importance;
pub mod integral;
pub mod interrupt;
pub mod list;
pub mod metrics;
pub mod npe;
pub mod preset;
pub mod problem;
pub mod progress;
mod reference_draws;
pub mod rows;
pub mod run;
pub mod show;
pub mod smc;
pub mod stated;
pub mod study;
pub mod trained_run;
pub mod training;
pub mod transport;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cli::{Arguments, Command};
use crate::compare::baseline::Worse;

/// Rows that go through a flow at a time.
const CHUNK: usize = 4_096;

/// Wrong usage or config, told apart from work that failed by the exit code.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Runs the command line; the exit code is 0 for done, 1 for work that failed, 2 for wrong usage or
/// config, 3 for a comparison in which something is worse than in an earlier one.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // On a thread of the pool, so that handing work to the others needs no sleeping and waking.
    let result = rayon::join(|| run(&arguments.command), || ()).0;
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<interrupt::Interrupted>() {
                return ExitCode::from(interrupt::EXIT_CODE);
            }
            if error.is::<Worse>() {
                return ExitCode::from(Worse::EXIT_CODE);
            }
            let usage = error.chain().any(|cause| cause.is::<Usage>());
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    if let Command::Compare(_) | Command::Fit(_) | Command::Run(_) | Command::Npe(_) = command {
        interrupt::listen()?;
    }
    match command {
        Command::Compare(arguments) => compare::from_arguments(arguments),
        Command::List => list::run(),
        Command::Run(arguments) => experiment::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Fit(arguments) => fit::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::LogProb(arguments) => trained_run::log_prob(arguments),
        Command::Sample(arguments) => trained_run::sample(arguments),
        Command::Transform(arguments) => trained_run::transform(arguments),
        Command::Importance(arguments) => importance::run(arguments),
        Command::Chains(arguments) => chains::run(arguments),
        Command::Smc(arguments) => smc::run(arguments),
        Command::Npe(arguments) => npe::run(arguments),
        Command::Metrics(arguments) => metrics::run(arguments),
        Command::Report(arguments) => report_all(&arguments.dirs),
    }
}

/// Writes a line of results.
fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output cannot be written")
}

fn report_all(dirs: &[std::path::PathBuf]) -> anyhow::Result<()> {
    for dir in dirs {
        let path = flows_report::write(dir).with_context(|| dir.display().to_string())?;
        say(&path.display().to_string())?;
    }
    Ok(())
}

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
