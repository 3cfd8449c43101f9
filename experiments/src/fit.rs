//! `fit`: trains a flow on a table, or on a density that is known up to a constant.

mod resolve;
mod target;

use anyhow::{Context, Result, bail};
use flows_bench::table::{self, Table};
use flows_core::Real;
use flows_core::train::StopReason;
use flows_report::record::{Family, RunSummary};

use crate::cli::Fit;
use crate::config::{Dequantise, Precision, RunConfig};
use crate::data::{RunData, TableData};
use crate::evaluate::{Evaluation, evaluate};
use crate::preset;
use crate::problem::{ProblemData, warn_of_integers};
use crate::run::RunFolder;
use crate::training::{Place, on_rows};
use crate::{Usage, progress, say};
use resolve::{place, resolve, table_file, table_path};

/// Trains, evaluates, and writes the run.
///
/// # Errors
/// Wrong usage or config, unusable data, a run that diverges.
pub fn run(arguments: &Fit) -> Result<()> {
    let folder = RunFolder::new(&arguments.out);
    let mut config = resolve(arguments, &folder)?;
    if let Some(target) = config.target {
        if arguments.data.is_some() {
            let advice = "leave one out";
            bail!(Usage(format!("--data cannot be given with the target {target}; {advice}")));
        }
        return match config.precision {
            Precision::F32 => target::fit::<f32>(arguments, &config, &folder, target),
            Precision::F64 => target::fit::<f64>(arguments, &config, &folder, target),
        };
    }
    let path = table_path(arguments, &config)?.to_owned();
    let table = (table::read(&path)?, path.display().to_string());
    config.data.table = Some(table_file(&path, &config)?);
    match config.precision {
        Precision::F32 => fit::<f32>(arguments, &config, &folder, table),
        Precision::F64 => fit::<f64>(arguments, &config, &folder, table),
    }
}

fn fit<E: Real>(
    arguments: &Fit,
    config: &RunConfig,
    folder: &RunFolder,
    (table, name): (Table, String),
) -> Result<()> {
    let data = TableData::new(&table, &name, (&config.data, &config.support), config.seed)?;
    if config.data.dequantise == Dequantise::None {
        warn_of_integers(&table, &data.record.columns, "add --dequantise integers")?;
    }
    let inner = config.on_line();
    let record = data.record.clone();
    let data = ProblemData::of_table(data, config.seed);
    let flow =
        inner.build::<E>(data.dim(), data.context_dim()).with_context(|| place(arguments))?;
    let resume = arguments.resume && folder.file("checkpoint.safetensors").exists();
    if resume {
        check_same(&folder.data()?, &record, &name)?;
    } else {
        folder.create()?;
        folder.write_json("data.json", &record)?;
    }
    // The config comes last: it is what makes the folder a run that can be resumed.
    folder.write_config(config)?;
    let bar = progress::training(&preset_name(config));
    let mut trained = on_rows(&inner, flow, &data, &Place { folder, resume, bar: &bar })?;
    bar.finish_and_clear();
    refuse_divergence(&trained.outcome, arguments)?;
    let evaluation =
        evaluate(&mut trained.flow, &inner, &data, None).with_context(|| name.clone())?;
    let summary = RunSummary {
        parameters: Some(flows_core::Parameters::count(&trained.flow) as u64),
        train_seconds: Some(trained.seconds),
        steps: Some(trained.steps),
        train_work: Some(trained.work),
        ..summarise::<E>((&name, &preset_name(config)), config, &data, &evaluation)
    };
    folder.write_json("summary.json", &summary)?;
    print(&summary, arguments)
}

fn refuse_divergence(outcome: &StopReason, arguments: &Fit) -> Result<()> {
    let StopReason::Diverged { step, reason } = outcome else { return Ok(()) };
    bail!(
        "{reason}; {step} steps are done, and {} keeps the last checkpoint, if one was due",
        arguments.out.display()
    );
}

/// The record of an evaluated run; counts of its training are the caller's to fill in.
pub fn summarise<E: Real>(
    (problem, flow): (&str, &str),
    config: &RunConfig,
    data: &ProblemData,
    evaluation: &Evaluation,
) -> RunSummary {
    let family = preset::family(&*config.flow);
    RunSummary {
        dim: Some(data.dim()),
        nll_nats: Some(evaluation.nll.mean),
        nll_standard_error: Some(evaluation.nll.standard_error),
        kl_nats: evaluation.kl.map(|kl| kl.mean),
        kl_standard_error: evaluation.kl.map(|kl| kl.standard_error),
        normalisation: evaluation.integral.map(|integral| integral.value),
        normalisation_window: evaluation.integral.map(|integral| integral.window),
        round_trip_error: Some(evaluation.round_trip_error),
        evaluations: Some(evaluation.evaluations),
        log_det: Some(evaluation.log_det.into()),
        precision: Some(E::NAME.to_owned()),
        message: evaluation.audit.as_ref().err().map(|error| format!("no audit: {error}")),
        log_prob_rows_per_second: Some(evaluation.log_prob_rows_per_second.mean),
        sample_rows_per_second: Some(evaluation.sample_rows_per_second.mean),
        log_prob_rate_standard_error: Some(evaluation.log_prob_rows_per_second.standard_error),
        sample_rate_standard_error: Some(evaluation.sample_rows_per_second.standard_error),
        accuracy: (family == Family::Continuous).then(|| preset::accuracy(&*config.flow)).flatten(),
        solver_error_nats: evaluation.account.map(|account| account.solver),
        trace_noise_nats: evaluation.account.map(|account| account.trace),
        audit: evaluation.audit.clone().ok(),
        ..RunSummary::finished([problem, flow], family, config.seed)
    }
}

fn preset_name(config: &RunConfig) -> String {
    let on_target = config.target.is_some();
    let found = preset::ALL.iter().find(|preset| {
        *preset.flow == *config.flow || on_target && *preset.flow_on_target() == *config.flow
    });
    found.map_or_else(|| format!("{} flow", preset::family(&*config.flow)), |p| p.name.to_owned())
}

fn check_same(before: &RunData, now: &RunData, name: &str) -> Result<()> {
    if before.columns.len() != now.columns.len() {
        let (expected, got) = (before.columns.len(), now.columns.len());
        bail!(
            "{name}: expected {expected} columns as in the run, got {got}; resume with its table"
        );
    }
    if before != now {
        bail!(
            "{name}: expected the table that the run began with, got another; resume with that one"
        );
    }
    Ok(())
}

fn print(summary: &RunSummary, arguments: &Fit) -> Result<()> {
    let number = |value: Option<f64>| value.map_or("unknown".into(), |v| format!("{v:.4}"));
    say(&format!(
        "test negative log-likelihood {} +- {} nats a row, {} steps in {} s, {} parameters",
        number(summary.nll_nats),
        number(summary.nll_standard_error),
        summary.steps.unwrap_or(0),
        summary.train_seconds.map_or("unknown".into(), |v| format!("{v:.1}")),
        summary.parameters.unwrap_or(0),
    ))?;
    say(&arguments.out.display().to_string())
}
