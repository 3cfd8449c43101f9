//! `log-prob`, `sample` and `transform`: what a trained run is used for.

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table, write_npz};
use flows_core::tensor::batch;
use flows_core::tensor::cast;
use flows_core::{Context, Flow, Purpose, Real, Tape, Values, stream};

use crate::CHUNK;
use crate::Usage;
use crate::cli::{Direction, LogProb, Sample, Transform};
use crate::config::Precision;
use crate::run::{RunData, RunFolder};

/// What is done with a loaded run, in either precision.
trait Use {
    fn with<E: Real>(&self, flow: &Flow<E>, data: &RunData) -> Result<()>;
}

/// Loads a run and hands it over.
fn with_run(path: &std::path::Path, work: &impl Use) -> Result<()> {
    let folder = RunFolder::new(path);
    let (config, data) = (folder.config()?, folder.data()?);
    let config = config.standardised(&data.standardiser);
    let dim = data.columns.len();
    match config.precision {
        Precision::F32 => {
            let mut flow = folder.flow::<f32>(&config, dim)?;
            flow.bijector_mut().set_purpose(Purpose::Reporting)?;
            work.with(&flow, &data)
        }
        Precision::F64 => {
            let mut flow = folder.flow::<f64>(&config, dim)?;
            flow.bijector_mut().set_purpose(Purpose::Reporting)?;
            work.with(&flow, &data)
        }
    }
}

/// A table with as many columns as the run has.
fn read(path: &std::path::Path, data: &RunData) -> Result<Table> {
    let table = table::read(path)?;
    let (expected, got) = (data.columns.len(), table.columns());
    if expected != got {
        bail!(
            "{}: expected {expected} columns as in the run ({}), got {got}; select or add columns",
            path.display(),
            data.columns.join(", ")
        );
    }
    Ok(table)
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
        let mut values = read(&self.data, data)?.into_values();
        warn_of_noise(data);
        data.standardiser.apply(&mut values)?;
        let name = || self.data.display().to_string();
        let (mut log_prob, _) =
            flow.evaluate(&cast(&values), &Context::none()).with_context(name)?;
        check_numbers(&self.data, "log-density", &log_prob, 1)?;
        let offset = data.standardiser.log_det();
        log_prob.iter_mut().for_each(|l| *l += offset);
        let table = Table::new(vec!["log_prob".into()], 1, log_prob)?;
        Ok(table::write(&self.out, &table)?)
    }
}

/// Writes draws in the data's own units.
///
/// # Errors
/// An unusable run, no rows, or a file that cannot be written.
pub fn sample(arguments: &Sample) -> Result<()> {
    table_name(&arguments.out)?;
    if arguments.rows == 0 {
        bail!(Usage("--rows must be at least 1, got 0".into()));
    }
    with_run(&arguments.run, arguments)
}

impl Use for Sample {
    fn with<E: Real>(&self, flow: &Flow<E>, data: &RunData) -> Result<()> {
        let mut rng = stream(self.seed, "sample");
        let mut values = Vec::new();
        let count = self.rows.checked_mul(flow.dim());
        if count.is_none_or(|count| values.try_reserve_exact(count).is_err()) {
            bail!(Usage(format!("--rows {} does not fit in memory; ask for fewer", self.rows)));
        }
        let mut left = self.rows;
        while left > 0 {
            let rows = left.min(CHUNK);
            let (drawn, _) = flow.sample(rows, &Context::none(), &mut rng)?;
            values.extend(drawn.values().iter().map(|v| v.as_f64()));
            left -= rows;
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (run, row) = (self.run.display(), index / flow.dim());
            bail!("{run}: draw {row} (from 0) is not finite; train again at a lower learning_rate");
        }
        data.standardiser.undo(&mut values)?;
        let table = Table::new(data.columns.clone(), flow.dim(), values)?;
        Ok(table::write(&self.out, &table)?)
    }
}

/// Writes images and log-determinants.
///
/// # Errors
/// An unusable run or table, or a file that cannot be written.
pub fn transform(arguments: &Transform) -> Result<()> {
    if arguments.out.extension().is_none_or(|e| !e.eq_ignore_ascii_case("npz")) {
        let message = format!("{}: expected a name that ends in .npz", arguments.out.display());
        bail!(Usage(message));
    }
    with_run(&arguments.run, arguments)
}

impl Use for Transform {
    fn with<E: Real>(&self, flow: &Flow<E>, data: &RunData) -> Result<()> {
        let dim = flow.dim();
        let mut values = read(&self.data, data)?.into_values();
        if self.direction == Direction::Inverse {
            data.standardiser.apply(&mut values)?;
        }
        let (mut images, mut log_dets) = (Vec::new(), Vec::new());
        for rows in values.chunks(CHUNK * dim) {
            let rows = batch(cast::<E>(rows), rows.len() / dim, dim)?;
            let (none, no_tape) = (Context::none(), &mut Tape::none());
            let mapped = match self.direction {
                Direction::Forward => flow.bijector().forward(&rows, &none, no_tape),
                Direction::Inverse => flow.bijector().inverse(&rows, &none, no_tape),
            };
            let mapped = mapped.with_context(|| self.data.display().to_string())?;
            images.extend(mapped.value.values().iter().map(|v| v.as_f64()));
            log_dets.extend(mapped.log_det.values().iter().map(|v| v.as_f64()));
        }
        check_numbers(&self.data, "image", &images, dim)?;
        check_numbers(&self.data, "log-determinant", &log_dets, 1)?;
        // The standardiser's log-det belongs to data to base.
        let sign = if self.direction == Direction::Inverse { 1.0 } else { -1.0 };
        let offset = sign * data.standardiser.log_det();
        log_dets.iter_mut().for_each(|l| *l += offset);
        if self.direction == Direction::Forward {
            data.standardiser.undo(&mut images)?;
        }
        let rows = log_dets.len();
        let arrays: [(&str, &[usize], &[f64]); 2] =
            [("value", &[rows, dim], &images), ("log_det", &[rows], &log_dets)];
        write_npz(&self.out, &arrays).context("writing the images")
    }
}

/// Refuses a result that is not a number, by its row.
fn check_numbers(path: &std::path::Path, what: &str, values: &[f64], columns: usize) -> Result<()> {
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
fn table_name(path: &std::path::Path) -> Result<()> {
    let name = path.to_string_lossy();
    let lower = name.to_lowercase();
    if [".csv", ".csv.gz", ".npy", ".npz"].iter().any(|ending| lower.ends_with(ending)) {
        return Ok(());
    }
    let endings = ".csv, .csv.gz, .npy or .npz";
    bail!(Usage(format!("{name}: expected a name that ends in {endings}")))
}
