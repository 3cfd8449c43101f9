//! Unnormalised target densities for reverse KL (review, Section 2.3.2).

use std::fmt::Debug;

use rayon::prelude::*;

use crate::operation::LANES;
use crate::tape::Tape;
use crate::tensor::{Batch, PerRow, Values, check_columns, per_row};
use crate::{Error, Real, Result};

/// An unnormalised density p~ with its gradient, in double precision.
///
/// Most give [`log_density`](Self::log_density), a point at a time; points are then evaluated on all
/// threads, [`LANES`] to a task. Where many points are cheaper together (another program, a vectorised
/// library) or an evaluation can fail, [`evaluate`](Self::evaluate) is written, and `log_density` is
/// [`at_point`]. The result must depend on the point only.
pub trait Target: Debug + Send + Sync {
    /// Number of features.
    fn dim(&self) -> usize;

    /// log p~ at `point` in nats, and its gradient written over `gradient`, both of length
    /// [`dim`](Self::dim). Outside the support minus infinity, with a gradient of zero.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64;

    /// log p~ of points stored one after another, in nats, with its gradients written over
    /// `gradients`, of the length of `points`.
    ///
    /// # Errors
    /// Where the density cannot be evaluated; [`log_density`](Self::log_density) cannot fail.
    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        let dim = self.dim();
        let mut values = vec![0.0; points.len() / dim];
        let blocks = gradients.par_chunks_mut(LANES * dim).zip(points.par_chunks(LANES * dim));
        values.par_chunks_mut(LANES).zip(blocks).for_each(|(values, (gradients, points))| {
            let rows = points.chunks(dim).zip(gradients.chunks_mut(dim));
            for (value, (point, gradient)) in values.iter_mut().zip(rows) {
                *value = self.log_density(point, gradient);
            }
        });
        Ok(values)
    }

    /// Whether one evaluation of some points costs less than one of each of them: for a program that
    /// answers over a pipe, or a flow, which goes through full blocks of rows.
    fn is_cheaper_together(&self) -> bool {
        false
    }

    /// log p~ of points stored one after another, in nats.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    fn log_densities(&self, points: &[f64]) -> Result<Vec<f64>> {
        self.evaluate(points, &mut vec![0.0; points.len()])
    }
}

/// [`Target::log_density`] of a target that gives [`Target::evaluate`]: not a number, with its gradient,
/// where that fails, and it tells why.
pub fn at_point(target: &dyn Target, point: &[f64], gradient: &mut [f64]) -> f64 {
    match target.evaluate(point, gradient).as_deref() {
        Ok([value]) => *value,
        _ => {
            gradient.fill(f64::NAN);
            f64::NAN
        }
    }
}

/// log p~ of each row in nats, differentiable by the target's gradient.
///
/// # Cost
/// One evaluation of the target a row, with or without tape; the backward pass is one
/// multiplication a value.
///
/// # Errors
/// [`Error::Dimension`] unless `x` has the target's columns; [`Error::NonFinite`] where a
/// log-density is neither finite nor minus infinity.
pub fn log_density<E: Real>(
    target: &dyn Target,
    x: &Batch<E>,
    tape: &mut Tape<E>,
) -> Result<PerRow<E>> {
    let dim = target.dim();
    check_columns("target density", x, dim)?;
    let points: Vec<f64> = x.values().iter().map(|value| value.as_f64()).collect();
    let mut slopes = vec![0.0; points.len()];
    let log_density = target.evaluate(&points, &mut slopes)?;
    let log_density: Vec<E> = log_density.into_iter().map(E::of).collect();
    if let Some(row) = log_density.iter().position(|v| v.is_nan() || *v == E::infinity()) {
        let advice = "give minus infinity outside the support";
        return Err(Error::NonFinite { quantity: "log-density of the target", row, advice });
    }
    let mut slopes: Vec<E> = slopes.into_iter().map(E::of).collect();
    let result = per_row(log_density)?;
    let (output, x) = (result.clone(), x.clone());
    tape.record(move |gradients| {
        let incoming = gradients.take(&output)?;
        let rows = slopes.chunks_exact_mut(dim).zip(incoming);
        rows.for_each(|(slopes, outer)| slopes.iter_mut().for_each(|slope| *slope *= outer));
        gradients.add(&x, &slopes)
    });
    Ok(result)
}
