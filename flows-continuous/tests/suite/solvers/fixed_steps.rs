//! Steps over a given mesh: their order, the mesh, and every way to stop early.

use std::num::NonZeroUsize;

use flows_continuous::{
    DORMAND_PRINCE, DORMAND_PRINCE_8, EULER, Failure, FieldError, HEUN, MIDPOINT, RALSTON, RK4,
    SolveError, Tableau, integrate, uniform_mesh,
};
use flows_core::testing::assert_error;
use nalgebra::DVector;

use super::{linear, matrix};
use crate::residual_steps::slope;

fn steps(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn error(method: &Tableau, n: usize) -> f64 {
    let mut y = vec![1.0, -0.5, 0.25];
    let exact = (matrix() * 2.0).exp() * DVector::from_vec(y.clone());
    let mesh = uniform_mesh(0.0, 2.0, steps(n)).unwrap();
    let count = integrate(method, &mesh, &mut y, linear(matrix())).unwrap();
    assert_eq!(count, n * method.stages());
    (DVector::from_vec(y) - exact).norm()
}

/// The rate at which the error falls with the number of steps.
fn measured_order(method: &Tableau, counts: &[usize]) -> f64 {
    let errors: Vec<_> = counts.iter().map(|&n| (n, error(method, n))).collect();
    -slope(&errors)
}

#[test]
fn error_falls_with_the_order_of_the_method() {
    for method in [EULER, MIDPOINT, HEUN, RALSTON, RK4, DORMAND_PRINCE] {
        let order = measured_order(&method, &[16, 32, 64, 128]);
        assert!((order - method.order as f64).abs() < 0.2, "{}: {order}", method.name);
    }
    // Errors from 2e-7 to 3e-12; with more steps, rounding hides the order.
    let order = measured_order(&DORMAND_PRINCE_8, &[2, 3, 4, 6, 8]);
    assert!((order - 8.0).abs() < 0.2, "{order}");
}

#[test]
fn a_mesh_has_exact_ends_in_both_directions() {
    let mesh = uniform_mesh(1.0, -0.3, steps(7)).unwrap();
    assert_eq!((mesh.len(), mesh[0], mesh[7]), (8, 1.0, -0.3));
    assert!(mesh.windows(2).all(|pair| pair[1] < pair[0]));
    assert_eq!(uniform_mesh(0.5, 0.5, steps(3)).unwrap(), [0.5]);
    assert_error!(
        uniform_mesh(0.0, f64::NAN, steps(3)),
        SolveError::Interval { .. },
        ["interval", "from 0 to NaN"]
    );
}

#[test]
fn a_broken_mesh_is_refused_with_its_index() {
    let run = |mesh: &[f64]| integrate(&RK4, mesh, &mut vec![1.0, 0.0, 0.0], linear(matrix()));
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
    let refused = integrate(&broken, &[0.0, 1.0], &mut vec![1.0, 0.0, 0.0], linear(matrix()));
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
fn the_first_component_that_is_not_finite_is_named() {
    let step = |velocity: [f64; 3]| {
        let field = |_: f64, _: &[f64], dy: &mut [f64]| {
            dy.copy_from_slice(&velocity);
            Ok(())
        };
        match integrate(&EULER, &[0.0, 0.5], &mut vec![0.0; 3], field) {
            Err(SolveError::Failed(Failure::NonFinite { index, .. })) => Some(index),
            other => {
                assert!(other.is_ok(), "{other:?}");
                None
            }
        }
    };
    assert_eq!(step([0.0, f64::MAX, -1.0]), None);
    assert_eq!(step([0.0, f64::INFINITY, f64::NAN]), Some(1));
    assert_eq!(step([f64::NAN, 1.0, f64::NEG_INFINITY]), Some(0));
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
