//! `log-prob`, `sample` and `transform`: what a trained run is used for.

mod cells;
mod density;
mod points;
mod sample;
mod transform;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table};
use flows_core::{Flow, Real};

use crate::Usage;
use crate::cli::LogProb;
use crate::config::{Precision, RunConfig};
use crate::data::RunData;
use crate::run::RunFolder;

pub(crate) use density::density_of;
pub use sample::sample;
pub use transform::transform;

/// What is done with a loaded run, in either precision.
pub(crate) trait Use {
    fn with<E: Real>(&self, flow: &Flow<E>, config: &RunConfig, data: &RunData) -> Result<()>;
}

/// Loads a run and hands it over.
pub(crate) fn with_run(path: &Path, work: &impl Use) -> Result<()> {
    let folder = RunFolder::new(path);
    let (config, data) = (folder.config()?, folder.data()?);
    // The supports of a table are part of its units; those of a target are part of the flow.
    let config = if config.target.is_none() { config.on_line() } else { config };
    match config.precision {
        Precision::F32 => work.with(&folder.flow::<f32>(&config, &data)?, &config, &data),
        Precision::F64 => work.with(&folder.flow::<f64>(&config, &data)?, &config, &data),
    }
}

/// Writes one log-density a row.
///
/// # Errors
/// An unusable run or table, or a file that cannot be written.
pub fn log_prob(arguments: &LogProb) -> Result<()> {
    table_name(&arguments.out)?;
    with_run(&arguments.run, arguments)
}

impl Use for LogProb {
    fn with<E: Real>(&self, flow: &Flow<E>, _: &RunConfig, data: &RunData) -> Result<()> {
        let rows = points::read(&self.data, None, data)?;
        let name = self.data.display();
        let log_prob = cells::log_densities(flow, data, &rows).with_context(|| name.to_string())?;
        let is_zero = |nats: &f64| *nats == f64::NEG_INFINITY;
        check_numbers(&self.data, "log-density", &log_prob, 1, |nats| {
            nats.is_finite() || is_zero(&nats)
        })?;
        if let Some(first) = log_prob.iter().position(is_zero) {
            let (zeros, all) =
                (log_prob.iter().filter(|nats| is_zero(nats)).count(), log_prob.len());
            eprintln!(
                "warning: {name}: {zeros} of {all} rows have log-density -inf, the first of them row \
                 {first} (from 0): outside of the support, on its end, or too far away for the flow"
            );
        }
        let table = Table::new(vec!["log_prob".into()], 1, log_prob)?;
        Ok(table::write(&self.out, &table)?)
    }
}

/// Refuses a result that is none, by its row.
fn check_numbers(
    path: &Path,
    what: &str,
    values: &[f64],
    columns: usize,
    is_one: impl Fn(f64) -> bool,
) -> Result<()> {
    if let Some(index) = values.iter().position(|value| !is_one(*value)) {
        bail!(
            "{}, row {} (from 0): the {what} is not finite; check the row for outliers, or train in f64",
            path.display(),
            index / columns
        );
    }
    Ok(())
}

/// Refuses an output name that no format claims, before any work is done.
pub(crate) fn table_name(path: &Path) -> Result<()> {
    let name = path.to_string_lossy();
    let lower = name.to_lowercase();
    if [".csv", ".csv.gz", ".npy", ".npz"].iter().any(|ending| lower.ends_with(ending)) {
        return Ok(());
    }
    let endings = ".csv, .csv.gz, .npy or .npz";
    bail!(Usage(format!("{name}: expected a name that ends in {endings}")))
}
