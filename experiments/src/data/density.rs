//! Densities of a flow on rows in the data's own units.

use anyhow::Result;
use flows_core::{Flow, Real};

use super::RunData;
use crate::rows::Rows;

/// The log-density of rows in their own units, nats; -inf outside of a support.
///
/// # Errors
/// As [`Flow::evaluate`].
pub fn log_densities<E: Real>(flow: &Flow<E>, data: &RunData, rows: &Rows) -> Result<Vec<f64>> {
    let mut values = rows.values().to_vec();
    let mut log_det = data.units.apply(&mut values)?;
    let inside = |row: &usize| log_det[*row] > f64::NEG_INFINITY;
    let inside: Vec<usize> = (0..rows.count()).filter(inside).collect();
    if inside.is_empty() {
        return Ok(log_det);
    }
    let context = rows.context_values().to_vec();
    let rows = Rows::new(values, rows.dim()).given(context, rows.context_dim());
    let nats = if inside.len() == rows.count() {
        rows.log_prob(flow)?
    } else {
        let within = rows.select(&inside);
        within.log_prob(flow).map_err(|error| match error.downcast::<flows_core::Error>() {
            Ok(error) => error.in_row_of(|row| inside.get(row).copied().unwrap_or(row)).into(),
            Err(error) => error,
        })?
    };
    for (&row, nats) in inside.iter().zip(nats) {
        log_det[row] += nats;
    }
    Ok(log_det)
}
