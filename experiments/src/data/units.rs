//! Units of a flow: each column on the line, of mean 0 and standard deviation 1.

use anyhow::{Result, bail};
use flows_bench::table::{Standardiser, Table};
use serde::{Deserialize, Serialize};

use crate::config::Support;

/// The change from a table's units to those of a flow, in double precision: each column is mapped
/// from its support onto the real line and then standardised.
///
/// ```text
/// above a:   t = (x - a) / u,   y = log(e^t - 1)                  (inverse of softplus)
/// interval:  y = log(x - a) - log(b - x)                          (logit)
/// z = (y - mean) / scale
/// ```
/// u is the mean distance of the training rows from a, so that t is about 1. The moments are those of
/// the training rows on the line. Maps and moments come before any rounding to single precision, so
/// that values over many decades stay apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// Support of each column; none where all are on the line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Line>,
    /// Moments on the line.
    standardiser: Standardiser,
}

/// A support with the unit u of distances from its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    support: Support,
    unit: f64,
}

impl Units {
    /// The units of a table, by its training rows.
    ///
    /// # Errors
    /// A column that does not vary, or a training row on an end of its support.
    pub fn fit(table: &Table, training: &[usize], supports: &[Support]) -> Result<Self> {
        let lines: Vec<Line> = supports
            .iter()
            .enumerate()
            .map(|(column, &support)| {
                let values = training.iter().map(|&row| table.row(row)[column]);
                Line::fit(support, values)
            })
            .collect();
        if lines.is_empty() {
            return Ok(Self { lines, standardiser: Standardiser::fit(table, training)? });
        }
        let mut values = table.select_rows(training)?.into_values();
        let columns = table.columns();
        for row in values.chunks_exact_mut(columns) {
            for ((value, line), name) in row.iter_mut().zip(&lines).zip(table.names()) {
                let (mapped, _) = line.onto_line(*value);
                if !mapped.is_finite() {
                    bail!("column {name}: {value} lies on an end of its support; drop the row");
                }
                *value = mapped;
            }
        }
        let rows: Vec<usize> = (0..training.len()).collect();
        let mapped = Table::new(table.names().to_vec(), columns, values)?;
        Ok(Self { lines, standardiser: Standardiser::fit(&mapped, &rows)? })
    }

    /// No change.
    ///
    /// # Errors
    /// For no columns.
    pub fn none(columns: usize) -> Result<Self> {
        let standardiser = Standardiser::new(vec![0.0; columns], vec![1.0; columns])?;
        Ok(Self { lines: Vec::new(), standardiser })
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.standardiser.mean().len()
    }

    /// From the table's units to the flow's; returns log |det| of the change in nats for each row.
    /// A row outside of a support or on its end becomes NaN, and its log |det| is -inf: no flow gives
    /// it density.
    ///
    /// # Errors
    /// Values that do not fill whole rows.
    pub fn apply(&self, values: &mut [f64]) -> Result<Vec<f64>> {
        let mut log_det = vec![self.standardiser.log_det(); values.len() / self.columns()];
        for (row, log_det) in values.chunks_exact_mut(self.columns()).zip(&mut log_det) {
            for (value, line) in row.iter_mut().zip(&self.lines) {
                let (mapped, log_slope) = line.onto_line(*value);
                *value = mapped;
                *log_det += log_slope;
            }
            if row.iter().any(|value| !value.is_finite()) || !log_det.is_finite() {
                row.fill(f64::NAN);
                *log_det = f64::NEG_INFINITY;
            }
        }
        self.standardiser.apply(values)?;
        Ok(log_det)
    }

    /// From the flow's units to the table's; returns log |det| of the change in nats for each row.
    ///
    /// # Errors
    /// Values that do not fill whole rows.
    pub fn undo(&self, values: &mut [f64]) -> Result<Vec<f64>> {
        self.standardiser.undo(values)?;
        let mut log_det = vec![-self.standardiser.log_det(); values.len() / self.columns()];
        for (row, log_det) in values.chunks_exact_mut(self.columns()).zip(&mut log_det) {
            for (value, line) in row.iter_mut().zip(&self.lines) {
                let (back, log_slope) = line.off_line(*value);
                *value = back;
                *log_det += log_slope;
            }
        }
        Ok(log_det)
    }
}

impl Line {
    fn fit(support: Support, values: impl Iterator<Item = f64> + Clone) -> Self {
        let [low, high] = support.ends();
        let end = if low.is_finite() { low } else { high };
        let count = values.clone().count() as f64;
        let unit = match support {
            Support::Above { .. } | Support::Below { .. } => {
                values.map(|value| (value - end).abs() / count).sum::<f64>()
            }
            Support::Real | Support::Interval { .. } => 1.0,
        };
        Self { support, unit: if unit > 0.0 && unit.is_finite() { unit } else { 1.0 } }
    }

    /// The image of a value on the line and the logarithm of the map's slope; not finite outside of
    /// the support and on its ends.
    fn onto_line(self, x: f64) -> (f64, f64) {
        let half = |distance: f64| {
            let t = distance / self.unit;
            // y = log(e^t - 1) and dy/dt = 1 / (1 - e^-t), without overflow.
            let rest = (-(-t).exp_m1()).ln();
            (t + rest, -rest - self.unit.ln())
        };
        match self.support {
            Support::Real => (x, 0.0),
            Support::Above { from } => half(x - from),
            Support::Below { to } => {
                let (y, log_slope) = half(to - x);
                (-y, log_slope)
            }
            Support::Interval { from, to } => {
                let width = to - from;
                let (up, down) = (((x - from) / width).ln(), ((to - x) / width).ln());
                (up - down, -up - down - width.ln())
            }
        }
    }

    /// The inverse of [`onto_line`](Self::onto_line) and the logarithm of its slope.
    fn off_line(self, y: f64) -> (f64, f64) {
        // softplus(y) and the logarithm of its slope, sigmoid(y).
        let softplus = |y: f64| y.max(0.0) + (-y.abs()).exp().ln_1p();
        match self.support {
            Support::Real => (y, 0.0),
            Support::Above { from } => {
                (from + self.unit * softplus(y), self.unit.ln() - softplus(-y))
            }
            Support::Below { to } => (to - self.unit * softplus(-y), self.unit.ln() - softplus(y)),
            Support::Interval { from, to } => {
                let width = to - from;
                let share = (-softplus(y.abs())).exp();
                let x = if y < 0.0 { from + width * share } else { to - width * share };
                (x, width.ln() - softplus(y) - softplus(-y))
            }
        }
    }
}
