//! Explicit Runge–Kutta steps over a given mesh, without allocation per step.

use std::num::NonZeroUsize;

use flows_core::Real;

use crate::solver::solution::first_non_finite;
use crate::solver::solution::{Failure, FieldError, SolveError};
use crate::solver::tableau::Tableau;

/// Time number `index` of `steps` equal steps from `t0` to `t1`; both ends are exact.
pub(crate) fn uniform_time([t0, t1]: [f64; 2], steps: NonZeroUsize, index: usize) -> f64 {
    let n = steps.get();
    if index >= n { t1 } else { t0 + (t1 - t0) * (index as f64 / n as f64) }
}

/// Times of `steps` equal steps from `t0` to `t1`, in either direction; both ends are exact.
///
/// An interval of length zero gives the one-point mesh `[t0]`, which asks for no step.
///
/// # Errors
/// [`SolveError::Interval`] if an end or the length is not finite.
pub fn uniform_mesh(t0: f64, t1: f64, steps: NonZeroUsize) -> Result<Vec<f64>, SolveError> {
    let length = t1 - t0;
    if !length.is_finite() {
        return Err(SolveError::Interval { t0, t1 });
    }
    if length == 0.0 {
        return Ok(vec![t0]);
    }
    Ok((0..=steps.get()).map(|index| uniform_time([t0, t1], steps, index)).collect())
}

/// Advances `y` from the first to the last time of `mesh`, one step of `tableau` between
/// neighbours, and returns the number of evaluations: stages × steps.
///
/// `f(t, y, dy)` writes the velocity at time t and state y into every entry of `dy`; what `dy`
/// holds before is arbitrary. Times are `f64` whatever the precision of the state.
///
/// # Errors
/// [`SolveError::Tableau`] and [`SolveError::Mesh`] before anything is evaluated;
/// [`SolveError::Failed`] as soon as the field fails or a velocity or state is not finite: then
/// `y` holds the state of the last completed step.
pub fn integrate<E: Real>(
    tableau: &Tableau,
    mesh: &[f64],
    y: &mut Vec<E>,
    mut f: impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
) -> Result<usize, SolveError> {
    if !tableau.check() {
        return Err(SolveError::Tableau { name: tableau.name });
    }
    check_mesh(mesh)?;
    let dim = y.len();
    let mut stage = vec![E::zero(); dim];
    let mut k = vec![E::zero(); dim * tableau.stages()];

    for ends in mesh.windows(2) {
        let (t, h) = (ends[0], ends[1] - ends[0]);
        for (i, (row, c)) in tableau.a.iter().zip(tableau.c).enumerate() {
            let (known, rest) = k.split_at_mut(i * dim);
            stage.copy_from_slice(y);
            combine(&mut stage, row, h, known);
            // The last stage of a step may end it: then its time is the mesh point, not a rounding.
            let time = if *c == 1.0 { ends[1] } else { t + c * h };
            evaluate(&mut f, time, &stage, &mut rest[..dim])?;
        }
        stage.copy_from_slice(y);
        combine(&mut stage, tableau.b, h, &k);
        if let Some(index) = first_non_finite(&stage) {
            return Err(Failure::NonFinite { quantity: "state", time: ends[1], index }.into());
        }
        std::mem::swap(y, &mut stage);
    }
    Ok(tableau.stages() * (mesh.len() - 1))
}

/// Refuses meshes that are empty, have an entry that is not finite, or turn back or stand still.
fn check_mesh(mesh: &[f64]) -> Result<(), SolveError> {
    let len = mesh.len();
    let forward = mesh.first() < mesh.get(1);
    let advances =
        |i: usize| i == 0 || (mesh[i] != mesh[i - 1] && (mesh[i] > mesh[i - 1]) == forward);
    let sound = |i: &usize| mesh[*i].is_finite() && advances(*i);
    match (0..len).find(|i| !sound(i)) {
        Some(index) => Err(SolveError::Mesh { index, len }),
        None if mesh.is_empty() => Err(SolveError::Mesh { index: 0, len }),
        None => Ok(()),
    }
}

/// `y += h Σⱼ weightsⱼ kⱼ`, with the velocities kⱼ one after the other in `k`.
fn combine<E: Real>(y: &mut [E], weights: &[f64], h: f64, k: &[E]) {
    if y.is_empty() {
        return; // chunks of length zero do not exist
    }
    for (weight, velocity) in weights.iter().zip(k.chunks_exact(y.len())) {
        if *weight != 0.0 {
            let factor = E::of(h * weight);
            for (y, v) in y.iter_mut().zip(velocity) {
                *y += factor * *v;
            }
        }
    }
}

/// One velocity, refused if it is not finite.
pub(crate) fn evaluate<E: Real>(
    f: &mut impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
    time: f64,
    y: &[E],
    dy: &mut [E],
) -> Result<(), Failure> {
    f(time, y, dy).map_err(|source| Failure::Field { time, source })?;
    match first_non_finite(dy) {
        Some(index) => Err(Failure::NonFinite { quantity: "velocity", time, index }),
        None => Ok(()),
    }
}
