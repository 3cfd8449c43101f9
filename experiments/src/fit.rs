//! `fit`: trains a flow on a table.

use anyhow::{Context, Result, bail};
use flows_bench::table::{self, Dequantisation, Table, TableError};
use flows_core::train::{Budget, Outcome};
use flows_core::{Real, stream};

use crate::cli::Fit;
use crate::config::{Dequantise, Precision, RunConfig};
use crate::evaluate::{Evaluation, evaluate};
use crate::preset;
use crate::problem::ProblemData;
use crate::record::{self, Family, RunSummary, Status};
use crate::run::{RunData, RunFolder, train};
use crate::{Usage, progress, say};

/// Trains, evaluates on the test rows, and writes the run.
///
/// # Errors
/// Wrong usage or config, unusable data, a run that diverges.
pub fn run(arguments: &Fit) -> Result<()> {
    let folder = RunFolder::new(&arguments.out);
    let config = resolve(arguments, &folder)?;
    let table = table::read(&arguments.data)?;
    match config.precision {
        Precision::F32 => fit::<f32>(arguments, &config, &folder, table),
        Precision::F64 => fit::<f64>(arguments, &config, &folder, table),
    }
}

/// The config from the run's folder, or from file, preset and flags.
fn resolve(arguments: &Fit, folder: &RunFolder) -> Result<RunConfig> {
    let budget = match (arguments.seconds, arguments.steps) {
        (Some(seconds), _) => Some(Budget::Seconds(seconds)),
        (None, Some(steps)) => Some(Budget::Steps(steps)),
        (None, None) => None,
    };
    if let Some(budget) = budget {
        budget.check().map_err(|error| Usage(error.to_string()))?;
    }
    if arguments.resume {
        let fixed = [
            (arguments.config.is_some(), "a config file"),
            (arguments.flow.is_some(), "--flow"),
            (arguments.seed.is_some(), "--seed"),
            (arguments.precision.is_some(), "--precision"),
        ];
        if let Some((_, name)) = fixed.iter().find(|(given, _)| *given) {
            let message =
                format!("{name} cannot be given with --resume: the run has its own config");
            bail!(Usage(message));
        }
        let mut config = folder.config()?;
        config.budget = budget.unwrap_or(config.budget);
        return Ok(config);
    }
    if folder.is_taken() {
        let path = arguments.out.display();
        bail!(Usage(format!("{path} holds a run; add --resume to go on, or name another --out")));
    }
    let mut config = RunConfig::read(arguments.config.as_deref(), arguments.flow.as_deref())?;
    config.budget = budget.unwrap_or(config.budget);
    config.seed = arguments.seed.unwrap_or(config.seed);
    config.precision = arguments.precision.unwrap_or(config.precision);
    let place = place(arguments);
    config.budget.check().map_err(|error| Usage(format!("{place}: budget: {error}")))?;
    config.train.check().map_err(|error| Usage(format!("{place}: train: {error}")))?;
    Ok(config)
}

/// Where the config comes from, for messages.
fn place(arguments: &Fit) -> String {
    arguments.config.as_ref().map_or("config".into(), |path| path.display().to_string())
}

fn fit<E: Real>(
    arguments: &Fit,
    config: &RunConfig,
    folder: &RunFolder,
    table: Table,
) -> Result<()> {
    let name = arguments.data.display().to_string();
    let split = match config.data.split.split(table.rows()) {
        Err(error @ TableError::Fraction { .. }) => {
            bail!(Usage(format!("{}: data: {error}", place(arguments))));
        }
        result => result.with_context(|| name.clone())?,
    };
    let noise = match config.data.dequantise {
        Dequantise::None => Dequantisation::default(),
        Dequantise::Integers => Dequantisation::integers(&table, &split.training)?,
        Dequantise::Grids => Dequantisation::grids(&table, &split.training)?,
    };
    if config.data.dequantise == Dequantise::None {
        warn_of_integers(&table, &split.training)?;
    }
    let table = noise.apply(&table, &mut stream(config.seed, "dequantise"))?;
    let data = ProblemData::of_table(&table, &split, config.seed).with_context(|| name.clone())?;
    let standardiser = data.standardiser.clone().context("a table is standardised")?;
    let record = RunData {
        columns: data.columns.clone(),
        rows: [split.training.len(), split.validation.len(), split.test.len()],
        standardiser,
        dequantisation: noise,
    };
    if arguments.resume {
        check_same(&folder.data()?, &record, &name)?;
    } else {
        config.build::<E>(data.dim).with_context(|| place(arguments))?;
        folder.create()?;
        folder.write_json("data.json", &record)?;
    }
    // The config comes last: it is what makes the folder a run that can be resumed.
    folder.write_config(config)?;
    let resume = arguments.resume && folder.file("checkpoint.safetensors").exists();
    let bar = progress::training(&preset_name(config));
    let mut trained = train::<E>(config, &data, folder, resume, &bar)?;
    bar.finish_and_clear();
    if let Outcome::Diverged { step, reason } = &trained.outcome {
        bail!(
            "{reason}; {step} steps are done, and {} keeps the last checkpoint, if one was due",
            arguments.out.display()
        );
    }
    let evaluation =
        evaluate(&mut trained.flow, config, &data, None).with_context(|| name.clone())?;
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

/// The record of an evaluated run; counts of its training are the caller's to fill in.
pub fn summarise<E: Real>(
    (problem, flow): (&str, &str),
    config: &RunConfig,
    data: &ProblemData,
    evaluation: &Evaluation,
) -> RunSummary {
    let family = preset::family(&config.flow);
    RunSummary {
        problem: problem.to_owned(),
        flow: flow.to_owned(),
        family,
        seed: config.seed,
        dim: Some(data.dim),
        parameters: None,
        train_seconds: None,
        steps: None,
        nll_nats: Some(evaluation.nll.mean),
        nll_standard_error: Some(evaluation.nll.standard_error),
        kl_nats: evaluation.kl.map(|kl| kl.mean),
        kl_standard_error: evaluation.kl.map(|kl| kl.standard_error),
        normalisation: evaluation.integral.map(|integral| integral.value),
        normalisation_window: evaluation.integral.map(|integral| integral.window),
        round_trip_error: Some(evaluation.round_trip_error),
        evaluations: Some(evaluation.evaluations),
        log_det: Some(match evaluation.log_det {
            flows_core::LogDet::Exact => record::LogDet::Exact,
            flows_core::LogDet::Estimate => record::LogDet::Estimate,
        }),
        precision: Some(E::NAME.to_owned()),
        status: Status::Finished,
        message: evaluation.audit.as_ref().err().map(|error| format!("no audit: {error}")),
        log_prob_rows_per_second: Some(evaluation.log_prob_rows_per_second.mean),
        sample_rows_per_second: Some(evaluation.sample_rows_per_second.mean),
        log_prob_rate_standard_error: Some(evaluation.log_prob_rows_per_second.standard_error),
        sample_rate_standard_error: Some(evaluation.sample_rows_per_second.standard_error),
        accuracy: (family == Family::Continuous).then(|| preset::accuracy(&config.flow)).flatten(),
        solver_error_nats: evaluation.account.map(|account| account.solver),
        trace_noise_nats: evaluation.account.map(|account| account.trace),
        train_work: None,
        audit: evaluation.audit.clone().ok(),
    }
}

fn preset_name(config: &RunConfig) -> String {
    let found = preset::ALL.iter().find(|preset| preset.flow == config.flow);
    found.map_or_else(|| format!("{} flow", preset::family(&config.flow)), |p| p.name.to_owned())
}

/// A column of integers has no density: a flow that finds that out gains likelihood without bound.
fn warn_of_integers(table: &Table, training: &[usize]) -> Result<()> {
    let names: Vec<String> = Dequantisation::integers(table, training)?
        .columns
        .into_iter()
        .map(|column| column.name)
        .collect();
    if !names.is_empty() {
        eprintln!(
            "warning: {} hold integers only; set dequantise = \"integers\" under [data] to add \
             noise, or likelihoods mean little",
            names.join(", ")
        );
    }
    Ok(())
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
    say(&arguments.out.display().to_string())
}
