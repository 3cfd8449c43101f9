//! `transform`: a table pushed through a trained run, with log-determinants.

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, write_npz};
use flows_core::{Flow, Real, Tape, Values};

use super::{Use, check_numbers, points, with_run};
use crate::Usage;
use crate::cli::{Direction, Transform};
use crate::config::RunConfig;
use crate::data::RunData;
use crate::rows::Rows;

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

impl Transform {
    /// Rows of data in the flow's units, and log |det| of the change to them.
    fn data_points(&self, data: &RunData) -> Result<(Rows, Vec<f64>)> {
        let rows = points::read(&self.data, self.context.as_deref(), data)?;
        let mut values = rows.values().to_vec();
        let log_det = data.units.apply(&mut values)?;
        if let Some(row) = log_det.iter().position(|nats| *nats == f64::NEG_INFINITY) {
            bail!(
                "{}, row {row} (from 0): outside of the support or on its end, where there is no \
                 base point; leave the row out",
                self.data.display()
            );
        }
        let context = rows.context_values().to_vec();
        Ok((Rows::new(values, rows.dim()).given(context, rows.context_dim()), log_det))
    }

    /// Base points, whose columns have no names.
    fn base_points(&self, data: &RunData) -> Result<Rows> {
        let (table, dim, file) =
            (table::read(&self.data)?, data.columns.len(), self.data.display());
        if table.columns() != dim {
            let (got, columns) = (table.columns(), data.columns.join(", "));
            bail!(
                "{file}: expected base points of {dim} columns as in the run ({columns}), got {got}; \
                 select or add columns"
            );
        }
        let rows = Rows::new(table.into_values(), dim);
        match &self.context {
            Some(path) => points::given(rows, path, data),
            None if data.context.is_empty() => Ok(rows),
            None => bail!(Usage(format!("{file}: a conditional run needs --context FILE as well"))),
        }
    }
}

impl Use for Transform {
    fn with<E: Real>(&self, flow: &Flow<E>, _: &RunConfig, data: &RunData) -> Result<()> {
        let dim = flow.dim();
        let (points, mut log_dets) = match self.direction {
            Direction::Inverse => self.data_points(data)?,
            Direction::Forward => {
                let points = self.base_points(data)?;
                let zeros = vec![0.0; points.count()];
                (points, zeros)
            }
        };
        let mut images = Vec::new();
        for batch in points.batches::<E>() {
            let (first, rows, context) = batch?;
            let no_tape = &mut Tape::none();
            let mapped = match self.direction {
                Direction::Forward => flow.bijector().forward(&rows, &context, no_tape),
                Direction::Inverse => flow.bijector().inverse(&rows, &context, no_tape),
            };
            let mapped = mapped
                .map_err(|error| error.in_row_of(|row| first + row))
                .with_context(|| self.data.display().to_string())?;
            images.extend(mapped.value.values().iter().map(|v| v.as_f64()));
            for (total, part) in log_dets[first..].iter_mut().zip(mapped.log_det.values()) {
                *total += part.as_f64();
            }
        }
        check_numbers(&self.data, "image", &images, dim, f64::is_finite)?;
        check_numbers(&self.data, "log-determinant", &log_dets, 1, f64::is_finite)?;
        if self.direction == Direction::Forward {
            for (total, part) in log_dets.iter_mut().zip(data.units.undo(&mut images)?) {
                *total += part;
            }
        }
        let rows = log_dets.len();
        let (images, log_dets) = (table::Values::F64(&images), table::Values::F64(&log_dets));
        let arrays: [(&str, &[usize], table::Values<'_>); 2] =
            [("value", &[rows, dim], images), ("log_det", &[rows], log_dets)];
        write_npz(&self.out, &arrays).context("writing the images")
    }
}
