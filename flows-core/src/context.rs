//! The context of a conditional flow.

use crate::tensor::{Batch, check_columns, columns};
use crate::{Error, Real, Result, Values};

/// Conditioning features: one row for every row of the batch, or none.
///
/// They may come from an encoder recorded on the same tape, which is then trained through the flow,
/// because bijectors write the features' gradient.
#[derive(Debug, Clone, Default)]
pub struct Context<E: Real> {
    features: Option<Batch<E>>,
}

impl<E: Real> Context<E> {
    /// No conditioning.
    #[must_use]
    pub fn none() -> Self {
        Self { features: None }
    }

    /// Conditions on `features`, `(rows, context dim)`.
    #[must_use]
    pub fn of(features: Batch<E>) -> Self {
        Self { features: Some(features) }
    }

    /// The features, if there are any.
    #[must_use]
    pub fn features(&self) -> Option<&Batch<E>> {
        self.features.as_ref()
    }

    /// Number of conditioning features, 0 if there are none.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.features.as_ref().map_or(0, columns)
    }

    /// The context for a part of a flow that takes `dim` features; none if that is 0.
    #[must_use]
    pub fn if_taken(&self, dim: usize) -> Self {
        if dim > 0 { self.clone() } else { Self::none() }
    }

    /// Checks the number of features and of rows.
    ///
    /// # Errors
    /// [`Error::Dimension`] or [`Error::Rows`].
    pub fn check(&self, op: &'static str, dim: usize, rows: usize) -> Result<()> {
        match &self.features {
            None if dim == 0 => Ok(()),
            None => Err(Error::Dimension { op, expected: dim, got: 0 }),
            Some(features) => {
                check_columns(op, features, dim)?;
                let got = features.rows();
                if got == rows { Ok(()) } else { Err(Error::Rows { op, expected: rows, got }) }
            }
        }
    }
}
