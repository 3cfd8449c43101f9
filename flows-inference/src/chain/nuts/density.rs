//! A target as the log-density of `nuts-rs`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use flows_core::{Error, Result};
use nuts_rs::{CpuLogpFunc, CpuMathError, HasDims, LogpError};

use super::NutsCounts;

/// Evaluations of the target by one chain.
#[derive(Debug, Default)]
pub(super) struct Evaluations {
    all: Cell<u64>,
    undefined: Cell<u64>,
    failure: RefCell<Option<Error>>,
}

impl Evaluations {
    /// Moves what was counted into `counts` and starts again from zero.
    pub(super) fn move_to(&self, counts: NutsCounts) -> NutsCounts {
        let (gradient_evaluations, undefined) = (self.all.take(), self.undefined.take());
        NutsCounts { gradient_evaluations, undefined, ..counts }
    }

    /// The error of the target that stopped the chain.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    fn undefined(&self) -> NoDensity {
        self.undefined.set(self.undefined.get() + 1);
        NoDensity { is_recoverable: true }
    }
}

/// log p~ at a point, with its gradient written.
pub(super) type Evaluate<'a> = dyn Fn(&[f64], &mut [f64]) -> Result<f64> + 'a;

/// A target whose evaluations are counted.
pub(super) struct Density<'a> {
    pub(super) dim: usize,
    pub(super) evaluate: &'a Evaluate<'a>,
    pub(super) evaluations: &'a Evaluations,
}

/// There is no density at a point, or the target failed for good.
#[derive(Debug)]
pub(super) struct NoDensity {
    is_recoverable: bool,
}

impl fmt::Display for NoDensity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the target has no density there")
    }
}

impl std::error::Error for NoDensity {}

impl LogpError for NoDensity {
    fn is_recoverable(&self) -> bool {
        self.is_recoverable
    }
}

impl HasDims for Density<'_> {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_owned(), self.dim as u64)])
    }
}

impl CpuLogpFunc for Density<'_> {
    type LogpError = NoDensity;
    type FlowParameters = ();
    type ExpandedVector = ();

    fn dim(&self) -> usize {
        self.dim
    }

    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, NoDensity> {
        self.evaluations.all.set(self.evaluations.all.get() + 1);
        let value = match (self.evaluate)(position, gradient) {
            Ok(value) => value,
            // A trajectory may end where numbers overflow or a solver gives up.
            Err(Error::NonFinite { .. } | Error::NotConverged { .. } | Error::Stopped { .. }) => {
                return Err(self.evaluations.undefined());
            }
            Err(error) => {
                self.evaluations.failure.replace(Some(error));
                return Err(NoDensity { is_recoverable: false });
            }
        };
        if value == f64::NEG_INFINITY {
            return Err(NoDensity { is_recoverable: true });
        }
        let is_defined = value.is_finite() && gradient.iter().all(|slope| slope.is_finite());
        if is_defined { Ok(value) } else { Err(self.evaluations.undefined()) }
    }

    fn expand_vector<R: rand::Rng + ?Sized>(
        &mut self,
        _: &mut R,
        _: &[f64],
    ) -> Result<(), CpuMathError> {
        Ok(())
    }
}
