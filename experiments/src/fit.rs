//! `fit`: trains a flow on a table, or on a density that is known up to a constant.

mod resolve;
mod target;

use anyhow::{Context, Result, bail};
use flows_bench::table::{self, Table, TableError};
use flows_core::train::StopReason;
use flows_core::{Real, stream};
use flows_report::record::{Family, RunSummary, Stop};

use crate::cli::Fit;
use crate::config::{Dequantise, Precision, RunConfig, support};
use crate::evaluate::{Evaluation, evaluate};
use crate::preset;
use crate::problem::{ProblemData, warn_of_integers};
use crate::run::{RunData, RunFolder};
use crate::training::{Place, on_rows};
use crate::{Usage, progress, say};
use resolve::{place, resolve};

/// Trains, evaluates, and writes the run.
///
/// # Errors
/// Wrong usage or config, unusable data, a run that diverges.
pub fn run(arguments: &Fit) -> Result<()> {
    let folder = RunFolder::new(&arguments.out);
    let config = resolve(arguments, &folder)?;
    match (config.target, &arguments.data) {
        (Some(target), None) => match config.precision {
            Precision::F32 => target::fit::<f32>(arguments, &config, &folder, target),
            Precision::F64 => target::fit::<f64>(arguments, &config, &folder, target),
        },
        (None, Some(path)) => {
            let table = table::read(path)?;
            let name = path.display().to_string();
            match config.precision {
                Precision::F32 => fit::<f32>(arguments, &config, &folder, (table, name)),
                Precision::F64 => fit::<f64>(arguments, &config, &folder, (table, name)),
            }
        }
        (Some(target), Some(_)) => {
            bail!(Usage(format!("--data cannot be given with the target {target}; leave one out")))
        }
        (None, None) => bail!(Usage(
            "add --data TABLE, or --objective reverse-kl --target NAME; see fit --help".into()
        )),
    }
}

fn fit<E: Real>(
    arguments: &Fit,
    config: &RunConfig,
    folder: &RunFolder,
    (table, name): (Table, String),
) -> Result<()> {
    let split = match config.data.split.split(table.rows()) {
        Err(error @ TableError::Fraction { .. }) => {
            bail!(Usage(format!("{}: data: {error}", place(arguments))));
        }
        result => result.with_context(|| name.clone())?,
    };
    let noise = config.data.dequantise.noise(&table, &split.training)?;
    if config.data.dequantise == Dequantise::None {
        let advice = "set dequantise = \"integers\" under [data]";
        warn_of_integers(&table, &split.training, advice)?;
    }
    let table = noise.apply(&table, &mut stream(config.seed, "dequantise"))?;
    support::check(&config.support, &table, &name)?;
    let data = ProblemData::of_table(&table, &split, config.seed).with_context(|| name.clone())?;
    let standardiser = data.standardiser.clone().context("a table is standardised")?;
    let inner = config.standardised(&standardiser);
    let record = RunData {
        columns: data.columns.clone(),
        rows: [split.training.len(), split.validation.len(), split.test.len()],
        standardiser,
        dequantisation: noise,
    };
    let flow = inner.build::<E>(data.dim).with_context(|| place(arguments))?;
    if arguments.resume {
        check_same(&folder.data()?, &record, &name)?;
    } else {
        folder.create()?;
        folder.write_json("data.json", &record)?;
    }
    // The config comes last: it is what makes the folder a run that can be resumed.
    folder.write_config(config)?;
    let resume = arguments.resume && folder.file("checkpoint.safetensors").exists();
    let bar = progress::training(&preset_name(config));
    let mut trained = on_rows(&inner, flow, &data, &Place { folder, resume, bar: &bar })?;
    bar.finish_and_clear();
    refuse_divergence(&trained.outcome, arguments)?;
    let evaluation =
        evaluate(&mut trained.flow, &inner, &data, None).with_context(|| name.clone())?;
    evaluation.write_log_prob(folder)?;
    let summary = RunSummary {
        parameters: Some(flows_core::Parameters::count(&trained.flow) as u64),
        train_seconds: Some(trained.seconds),
        steps: Some(trained.steps),
        stop: Stop::of(&trained.outcome),
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
        dim: Some(data.dim),
        nll_nats: Some(evaluation.nll.mean),
        nll_standard_error: evaluation.nll.known_error(),
        nll_standardised_nats: Some(evaluation.nll.mean + data.log_det()),
        kl_nats: evaluation.kl.map(|kl| kl.mean),
        kl_standard_error: evaluation.kl.and_then(|kl| kl.known_error()),
        normalisation: evaluation.integral.map(|integral| integral.value),
        normalisation_window: evaluation.integral.map(|integral| integral.window),
        round_trip_error: Some(evaluation.round_trip_error),
        evaluations: Some(evaluation.evaluations),
        log_det: Some(evaluation.log_det.into()),
        precision: Some(E::NAME.to_owned()),
        patience: config.train.patience,
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
    if before.rows != now.rows
        || before.columns != now.columns
        || before.standardiser != now.standardiser
        || before.dequantisation != now.dequantisation
    {
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
    if let Some(early) = summary.stopped_early() {
        say(&early)?;
    }
    say(&arguments.out.display().to_string())
}
