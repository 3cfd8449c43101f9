//! Where the columns of a table or of a target lie, and the fixed map of a flow onto the latter.

use std::sync::Arc;

use anyhow::{Result, bail};
use flows_bench::table::Table;
use flows_core::{Bijector, Chain, Layer, Part, Real};
use flows_finite::{Elementwise, HalfLine, Interval, Transformer};
use serde::{Deserialize, Serialize};

use crate::Usage;

/// Where a column lies, in its own units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Support {
    /// On the real line.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Real,
    /// Between two numbers.
    Interval {
        /// The low end.
        from: f64,
        /// The high end.
        to: f64,
    },
    /// Above a number.
    Above {
        /// The low end.
        from: f64,
    },
    /// Below a number.
    Below {
        /// The high end.
        to: f64,
    },
}

impl Support {
    /// Its ends.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::Real => [f64::NEG_INFINITY, f64::INFINITY],
            Self::Interval { from, to } => [from, to],
            Self::Above { from } => [from, f64::INFINITY],
            Self::Below { to } => [f64::NEG_INFINITY, to],
        }
    }

    /// The map of one feature from the real line; none for the line itself.
    fn layer<E: Real>(self) -> flows_core::Result<Option<Box<dyn Bijector<E>>>> {
        let transformer: Arc<dyn Transformer<E>> = match self {
            Self::Real => return Ok(None),
            Self::Interval { from, to } => Arc::new(Interval::new(from, to)?),
            Self::Above { from } => Arc::new(HalfLine::new(from)?),
            Self::Below { to } => Arc::new(HalfLine::below(to)?),
        };
        // Without parameters there is nothing to start.
        let layer = Layer::with_values(Elementwise::new(1, transformer), Vec::new())?;
        Ok(Some(Box::new(layer)))
    }
}

/// `flow`, followed by the maps onto the supports where there are any.
///
/// # Errors
/// [`Usage`] unless there is one support a column, of bounds that can be told apart.
pub(super) fn onto<E: Real>(
    supports: &[Support],
    flow: Box<dyn Bijector<E>>,
    dim: usize,
) -> Result<Box<dyn Bijector<E>>> {
    if supports.is_empty() {
        return Ok(flow);
    }
    if supports.len() != dim {
        let got = supports.len();
        bail!(Usage(format!("support: expected one entry for each of {dim} columns, got {got}")));
    }
    let mut parts = vec![flow];
    for (column, support) in supports.iter().enumerate() {
        let layer = support
            .layer()
            .map_err(|error| Usage(format!("support of column {column} (from 0): {error}")))?;
        if let Some(layer) = layer {
            parts.push(Box::new(Part::new(layer, dim, vec![column])?));
        }
    }
    Ok(Box::new(Chain::new(dim, parts)?))
}

/// Refuses supports without room between their ends.
///
/// # Errors
/// The first of them.
pub fn check_ends(supports: &[Support]) -> Result<(), Usage> {
    for (column, support) in supports.iter().enumerate() {
        let [low, high] = support.ends();
        if low >= high || low.is_nan() || high.is_nan() {
            let expected = "expected its low end below its high end";
            let got = format!("got {low} and {high}");
            return Err(Usage(format!("support of column {column} (from 0): {expected}, {got}")));
        }
    }
    Ok(())
}

/// Refuses a table with a value outside of its column's support.
///
/// # Errors
/// The first such value.
pub fn check(supports: &[Support], table: &Table, name: &str) -> Result<()> {
    let (columns, got) = (table.columns(), supports.len());
    if got != columns && got > 0 {
        let expected = format!("expected one entry for each of {columns} columns");
        bail!(Usage(format!("{name}: support: {expected}, got {got}")));
    }
    for row in 0..table.rows() {
        let cells = table.row(row).iter().zip(supports).zip(table.names());
        for ((value, support), column) in cells {
            let [low, high] = support.ends();
            if !(low..=high).contains(value) {
                bail!(
                    "{name}, row {row} (from 0), column {column}: expected a value from {low} to \
                     {high} as in the config's support, got {value}; widen it or drop the row"
                );
            }
        }
    }
    Ok(())
}
