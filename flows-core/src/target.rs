//! Unnormalised target densities for reverse KL (review, Section 2.3.2).

use std::fmt::Debug;

use rayon::prelude::*;

use crate::operation::LANES;
use crate::tape::Tape;
use crate::tensor::{Batch, PerRow, Values, check_columns, per_row};
use crate::{Error, Real, Result};

/// An unnormalised density p~ with its gradient, a point at a time in double precision.
///
/// Points are evaluated on all threads, [`LANES`] to a task; the result must depend on the point
/// only.
pub trait Target: Debug + Send + Sync {
    /// Number of features.
    fn dim(&self) -> usize;

    /// log p~ at `point` in nats, and its gradient written over `gradient`, both of length
    /// [`dim`](Self::dim). Outside the support minus infinity, with a gradient of zero.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64;

    /// log p~ of rows stored one after another, in nats.
    fn log_densities(&self, rows: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.dim()];
        rows.chunks(self.dim()).map(|row| self.log_density(row, &mut gradient)).collect()
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
    let points = x.values();
    let mut log_density = vec![E::zero(); x.rows()];
    let mut slopes = vec![E::zero(); points.len()];
    let blocks = log_density.par_chunks_mut(LANES).zip(slopes.par_chunks_mut(LANES * dim));
    blocks.zip(points.par_chunks(LANES * dim)).for_each(|((values, slopes), points)| {
        evaluate(target, points, values, slopes);
    });
    if let Some(row) = log_density.iter().position(|v| v.is_nan() || *v == E::infinity()) {
        let advice = "give minus infinity outside the support";
        return Err(Error::NonFinite { quantity: "log-density of the target", row, advice });
    }
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

fn evaluate<E: Real>(target: &dyn Target, points: &[E], values: &mut [E], slopes: &mut [E]) {
    let dim = target.dim();
    let (mut point, mut gradient) = (vec![0.0; dim], vec![0.0; dim]);
    let rows = points.chunks(dim).zip(slopes.chunks_mut(dim));
    for ((row, slopes), value) in rows.zip(values) {
        for (wide, &narrow) in point.iter_mut().zip(row) {
            *wide = narrow.as_f64();
        }
        *value = E::of(target.log_density(&point, &mut gradient));
        for (narrow, &wide) in slopes.iter_mut().zip(&gradient) {
            *narrow = E::of(wide);
        }
    }
}
