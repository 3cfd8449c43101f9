//! Explicit Runge–Kutta steps over a given mesh, without allocation per step.

use std::num::NonZeroUsize;

use flows_core::Real;

use crate::solution::first_non_finite;
use crate::{Failure, FieldError, SolveError, Tableau};

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
pub fn integrate<E, F>(
    tableau: &Tableau,
    mesh: &[f64],
    y: &mut Vec<E>,
    mut f: F,
) -> Result<usize, SolveError>
where
    E: Real,
    F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
{
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
pub(crate) fn evaluate<E, F>(f: &mut F, time: f64, y: &[E], dy: &mut [E]) -> Result<(), Failure>
where
    E: Real,
    F: FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
{
    f(time, y, dy).map_err(|source| Failure::Field { time, source })?;
    match first_non_finite(dy) {
        Some(index) => Err(Failure::NonFinite { quantity: "velocity", time, index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DVector, Matrix3};

    use super::*;
    use crate::{DORMAND_PRINCE, DORMAND_PRINCE_8, EULER, HEUN, MIDPOINT, RALSTON, RK4};

    const A: Matrix3<f64> = Matrix3::new(-0.4, 1.1, 0.3, -0.9, 0.2, 0.5, 0.1, -0.7, -0.3);

    fn linear(_: f64, y: &[f64], dy: &mut [f64]) -> Result<(), FieldError> {
        let product = A * Matrix3::from_column_slice(&[y, &[0.0; 6]].concat()).column(0);
        dy.copy_from_slice(product.as_slice());
        Ok(())
    }

    fn steps(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    fn error(method: &Tableau, n: usize) -> f64 {
        let mut y = vec![1.0, -0.5, 0.25];
        let exact = (A * 2.0).exp() * DVector::from_vec(y.clone());
        let mesh = uniform_mesh(0.0, 2.0, steps(n)).unwrap();
        let count = integrate(method, &mesh, &mut y, linear).unwrap();
        assert_eq!(count, n * method.stages());
        (DVector::from_vec(y) - exact).norm()
    }

    /// Slope of the regression of log error on log step.
    fn measured_order(method: &Tableau, counts: &[usize]) -> f64 {
        let points: Vec<(f64, f64)> =
            counts.iter().map(|n| ((2.0 / *n as f64).ln(), error(method, *n).ln())).collect();
        let mean = |pick: fn(&(f64, f64)) -> f64| {
            points.iter().map(pick).sum::<f64>() / points.len() as f64
        };
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        covariance / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
    }

    #[test]
    fn error_falls_with_the_order_of_the_method() {
        for method in [EULER, MIDPOINT, HEUN, RALSTON, RK4, DORMAND_PRINCE] {
            let slope = measured_order(&method, &[16, 32, 64, 128]);
            assert!((slope - method.order as f64).abs() < 0.2, "{}: {slope}", method.name);
        }
        // Errors from 2e-7 to 3e-12; with more steps, rounding hides the slope.
        let slope = measured_order(&DORMAND_PRINCE_8, &[2, 3, 4, 6, 8]);
        assert!((slope - 8.0).abs() < 0.2, "{slope}");
    }

    #[test]
    fn a_mesh_has_exact_ends_in_both_directions() {
        let mesh = uniform_mesh(1.0, -0.3, steps(7)).unwrap();
        assert_eq!((mesh.len(), mesh[0], mesh[7]), (8, 1.0, -0.3));
        assert!(mesh.windows(2).all(|pair| pair[1] < pair[0]));
        assert_eq!(uniform_mesh(0.5, 0.5, steps(3)).unwrap(), [0.5]);
        assert!(uniform_mesh(0.0, f64::NAN, steps(3)).is_err());
    }

    #[test]
    fn a_broken_mesh_is_refused_with_its_index() {
        let run = |mesh: &[f64]| integrate(&RK4, mesh, &mut vec![1.0, 0.0, 0.0], linear);
        let index = |mesh: &[f64]| match run(mesh) {
            Err(SolveError::Mesh { index, .. }) => Some(index),
            _ => None,
        };
        assert_eq!(index(&[]), Some(0));
        assert_eq!(index(&[f64::INFINITY]), Some(0));
        assert_eq!(index(&[0.0, 0.5, 0.5, 1.0]), Some(2));
        assert_eq!(index(&[0.0, 0.5, 0.4, 1.0]), Some(2));
        assert_eq!(index(&[1.0, 0.5, f64::NAN]), Some(2));
        assert_eq!(run(&[0.25]).unwrap(), 0);
        let broken = Tableau { b: &[0.5], ..EULER };
        let refused = integrate(&broken, &[0.0, 1.0], &mut vec![1.0, 0.0, 0.0], linear);
        assert!(matches!(refused, Err(SolveError::Tableau { name: "euler" })));
    }

    #[test]
    fn a_velocity_that_is_not_finite_stops_at_once_with_the_last_state() {
        let mut calls = 0;
        let field = |t: f64, _: &[f32], dy: &mut [f32]| {
            calls += 1;
            dy.copy_from_slice(&[1.0, if t > 0.6 { f32::NAN } else { 0.0 }]);
            Ok(())
        };
        let mut y = vec![0.0, 2.0];
        let stopped = integrate(&EULER, &[0.0, 0.25, 0.5, 0.75, 1.0], &mut y, field);
        let Err(SolveError::Failed(Failure::NonFinite { quantity, time, index })) = stopped else {
            panic!("{stopped:?}");
        };
        assert_eq!((quantity, time, index), ("velocity", 0.75, 1));
        assert_eq!((calls, y), (4, vec![0.75, 2.0]));
    }

    #[test]
    fn an_overflowing_state_and_a_failing_field_are_reported() {
        let grow = |_: f64, _: &[f32], dy: &mut [f32]| {
            dy.fill(f32::MAX);
            Ok(())
        };
        let mut y = vec![1.0];
        let stopped = integrate(&EULER, &[0.0, 4.0], &mut y, grow);
        assert!(stopped.is_err_and(|e| e.to_string().starts_with("state is not finite")));
        assert_eq!(y, [1.0]);

        let fail = |_: f64, _: &[f64], _: &mut [f64]| Err(FieldError::new("no weights"));
        let stopped = integrate(&RK4, &[0.0, 1.0], &mut vec![1.0], fail);
        assert!(matches!(stopped, Err(SolveError::Failed(Failure::Field { time: 0.0, .. }))));
    }

    #[test]
    fn an_empty_state_is_stepped() {
        let mut y: Vec<f64> = Vec::new();
        assert_eq!(integrate(&RK4, &[0.0, 1.0], &mut y, |_, _, _| Ok(())).unwrap(), 4);
    }
}
