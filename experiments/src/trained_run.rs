//! `log-prob`, `sample` and `transform`: what a trained run is used for.

mod points;
mod sample;
mod transform;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table};
use flows_core::{Flow, Purpose, Real};

use crate::Usage;
use crate::cli::LogProb;
use crate::config::Precision;
use crate::data::{RunData, log_densities};
use crate::run::RunFolder;

pub use sample::sample;
pub use transform::transform;

/// What is done with a loaded run, in either precision.
trait Use {
    fn with<E: Real>(&self, flow: &Flow<E>, data: &RunData) -> Result<()>;
}

/// Loads a run and hands it over.
fn with_run(path: &Path, work: &impl Use) -> Result<()> {
    let folder = RunFolder::new(path);
    let (config, data) = (folder.config()?, folder.data()?);
    // The supports of a table are part of its units; those of a target are part of the flow.
    let config = if config.target.is_none() { config.on_line() } else { config };
    match config.precision {
        Precision::F32 => {
            let mut flow = folder.flow::<f32>(&config, &data)?;
            flow.bijector_mut().set_purpose(Purpose::Reporting)?;
            work.with(&flow, &data)
        }
        Precision::F64 => {
            let mut flow = folder.flow::<f64>(&config, &data)?;
            flow.bijector_mut().set_purpose(Purpose::Reporting)?;
            work.with(&flow, &data)
        }
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
    fn with<E: Real>(&self, flow: &Flow<E>, data: &RunData) -> Result<()> {
        let rows = points::read(&self.data, None, data)?;
        warn_of_noise(data);
        let name = self.data.display();
        let log_prob = log_densities(flow, data, &rows).with_context(|| name.to_string())?;
        check_numbers(&self.data, "log-density", &log_prob, 1)?;
        let outside = log_prob.iter().filter(|nats| **nats == f64::NEG_INFINITY).count();
        if outside > 0 {
            let all = log_prob.len();
            eprintln!(
                "warning: {name}: {outside} of {all} rows lie outside of the support or on its end; \
                 their log-density is -inf"
            );
        }
        let table = Table::new(vec!["log_prob".into()], 1, log_prob)?;
        Ok(table::write(&self.out, &table)?)
    }
}

/// Refuses a result that is not a number, by its row.
fn check_numbers(path: &Path, what: &str, values: &[f64], columns: usize) -> Result<()> {
    if let Some(index) = values.iter().position(|value| value.is_nan()) {
        bail!(
            "{}, row {} (from 0): the {what} is not a number; check the row for outliers, or train in f64",
            path.display(),
            index / columns
        );
    }
    Ok(())
}

/// A run on dequantised columns knows the density of value plus noise.
fn warn_of_noise(data: &RunData) {
    let names: Vec<&str> =
        data.dequantisation.columns.iter().map(|column| column.name.as_str()).collect();
    if !names.is_empty() {
        eprintln!(
            "warning: the run added noise to {}; densities are those at the values given, without \
             noise",
            names.join(", ")
        );
    }
}

/// Refuses an output name that no format claims, before any work is done.
fn table_name(path: &Path) -> Result<()> {
    let name = path.to_string_lossy();
    let lower = name.to_lowercase();
    if [".csv", ".csv.gz", ".npy", ".npz"].iter().any(|ending| lower.ends_with(ending)) {
        return Ok(());
    }
    let endings = ".csv, .csv.gz, .npy or .npz";
    bail!(Usage(format!("{name}: expected a name that ends in {endings}")))
}
