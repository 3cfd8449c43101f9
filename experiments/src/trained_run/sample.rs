//! `sample`: draws of a trained run.

use anyhow::{Result, bail};
use flows_bench::table::{self, Table};
use flows_core::{Flow, Real, Values, stream};

use super::points::Contexts;
use super::{Use, table_name, with_run};
use crate::cli::Sample;
use crate::config::RunConfig;
use crate::data::RunData;
use crate::rows::context;
use crate::{CHUNK, Usage};

/// Writes draws in the data's own units, behind their contexts where there are any.
///
/// # Errors
/// An unusable run or contexts, no rows, or a file that cannot be written.
pub fn sample(arguments: &Sample) -> Result<()> {
    table_name(&arguments.out)?;
    if arguments.rows == Some(0) || arguments.repeat == 0 {
        let option = if arguments.repeat == 0 { "--repeat" } else { "--rows" };
        bail!(Usage(format!("{option} must be at least 1, got 0")));
    }
    with_run(&arguments.run, arguments)
}

impl Sample {
    /// A context for each draw; none for a run without.
    fn contexts(&self, data: &RunData) -> Result<Option<Contexts>> {
        match &self.context {
            Some(path) => {
                let contexts = Contexts::read(path, data)?;
                Ok(Some(contexts.repeated(self.repeat, data.context_dim())?))
            }
            None if data.context.is_empty() => Ok(None),
            None => {
                let (run, names) = (self.run.display(), data.context_names().join(", "));
                bail!(Usage(format!(
                    "{run}: its density is conditional on {names}; give --context FILE with these \
                     columns instead of --rows"
                )))
            }
        }
    }
}

impl Use for Sample {
    fn with<E: Real>(&self, flow: &Flow<E>, _: &RunConfig, data: &RunData) -> Result<()> {
        let contexts = self.contexts(data)?;
        let given = |contexts: &Contexts| contexts.table.rows();
        let count = contexts.as_ref().map_or(self.rows.unwrap_or(0), given);
        let mut values = Vec::new();
        let size = count.checked_mul(flow.dim());
        if size.is_none_or(|size| values.try_reserve_exact(size).is_err()) {
            bail!(Usage(format!("--rows {count} does not fit in memory; ask for fewer")));
        }
        let features = contexts.as_ref().map_or(&[][..], |contexts| &contexts.features);
        let width = data.context_dim();
        let mut rng = stream(self.seed, "sample");
        for first in (0..count).step_by(CHUNK) {
            let rows = CHUNK.min(count - first);
            let context = context(&features[first * width..(first + rows) * width], width)?;
            let (drawn, _) = flow.sample(rows, &context, &mut rng)?;
            values.extend(drawn.values().iter().map(|v| v.as_f64()));
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (run, row) = (self.run.display(), index / flow.dim());
            bail!("{run}: draw {row} (from 0) is not finite; train again at a lower learning_rate");
        }
        data.units.undo(&mut values)?;
        data.dequantisation.restore(&mut values, flow.dim());
        let draws = Table::new(data.columns.clone(), flow.dim(), values)?;
        let table = match contexts {
            None => draws,
            Some(contexts) => beside(&contexts.table, &draws)?,
        };
        Ok(table::write(&self.out, &table)?)
    }
}

/// The columns of two tables with as many rows, next to each other.
fn beside(left: &Table, right: &Table) -> Result<Table> {
    let names = [left.names(), right.names()].concat();
    let rows = (0..left.rows()).flat_map(|row| [left.row(row), right.row(row)].concat());
    let mut table = Table::new(names, left.columns() + right.columns(), rows.collect())?;
    for column in 0..left.columns() {
        if let Some(classes) = left.classes(column) {
            table = table.with_classes(column, classes.to_vec());
        }
    }
    Ok(table)
}
