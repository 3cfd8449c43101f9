//! Behaviour of the adaptive solver: accuracy, both directions, memory; `endings`: bad input and
//! every way to stop early; `fixed_steps`: steps over a given mesh.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use flows_continuous::{
    Adaptive, DORMAND_PRINCE, DORMAND_PRINCE_8, FieldError, Keep, Method, Solution, Status,
    Tableau, dop853, dopri5, integrate,
};
use flows_core::Real;
use flows_core::testing::largest_difference;
use nalgebra::{DMatrix, DVector};

mod endings;
mod fixed_steps;

const METHODS: [Method; 2] = [Method::Dopri5, Method::Dop853];

/// The steps of a method over a given mesh.
fn tableau(method: Method) -> &'static Tableau {
    match method {
        Method::Dopri5 => &DORMAND_PRINCE,
        Method::Dop853 => &DORMAND_PRINCE_8,
    }
}

/// One pair of complex eigenvalues and one real one, all damped.
fn matrix() -> DMatrix<f64> {
    DMatrix::from_row_slice(3, 3, &[-0.4, 1.1, 0.3, -0.9, 0.2, 0.5, 0.1, -0.7, -0.3])
}

fn linear<E: Real>(a: DMatrix<f64>) -> impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError> {
    move |_, y, dy| {
        for (i, v) in dy.iter_mut().enumerate() {
            *v = (0..y.len()).fold(E::zero(), |s, j| s + E::of(a[(i, j)]) * y[j]);
        }
        Ok(())
    }
}

/// Velocity of each component from time and state.
fn each<E: Real>(
    velocity: impl Fn(f64, E) -> E,
) -> impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError> {
    move |t, y, dy| {
        for (v, y) in dy.iter_mut().zip(y) {
            *v = velocity(t, *y);
        }
        Ok(())
    }
}

/// Solves and checks what holds for every solution; the calls of the field are counted here.
fn run<E: Real>(
    method: Method,
    settings: &Adaptive,
    span: (f64, f64),
    y0: &[E],
    mut field: impl FnMut(f64, &[E], &mut [E]) -> Result<(), FieldError>,
) -> Solution<E> {
    let mut calls = 0;
    let (low, high) = (span.0.min(span.1), span.0.max(span.1));
    let counted = |t: f64, y: &[E], dy: &mut [E]| {
        calls += 1;
        assert!((low..=high).contains(&t), "time {t} is outside the interval");
        field(t, y, dy)
    };
    let solution = match method {
        Method::Dopri5 => dopri5(settings, span.0, span.1, y0.to_vec(), counted).unwrap(),
        Method::Dop853 => dop853(settings, span.0, span.1, y0.to_vec(), counted).unwrap(),
    };
    assert_eq!(solution.evaluations, calls);
    assert!(calls <= settings.max_evaluations);
    assert_eq!(solution.mesh.len(), solution.accepted + 1);
    assert_eq!(solution.earlier.len(), solution.accepted);
    assert_eq!(solution.mesh.first(), Some(&span.0));
    assert_eq!(solution.mesh.last(), Some(&solution.time));
    assert_eq!(solution.is_finished(), solution.time == span.1);
    let forward = span.1 > span.0;
    assert!(solution.mesh.windows(2).all(|t| t[0] != t[1] && (t[1] > t[0]) == forward));
    assert!(solution.state.iter().all(|y| y.is_finite()));
    if solution.is_finished() && calls > 0 {
        let start = if settings.first_step.is_some() { 1 } else { 2 };
        let attempts = solution.accepted + solution.rejected;
        assert_eq!(
            calls,
            start
                + match method {
                    Method::Dopri5 => 6 * attempts,
                    Method::Dop853 => 11 * attempts + solution.accepted,
                }
        );
    }
    solution
}

#[test]
fn a_linear_field_gives_the_matrix_exponential_in_both_directions() {
    for method in METHODS {
        let y0 = [1.0, -0.5, 0.25];
        for (t0, t1) in [(0.0, 2.0), (2.0, 0.0), (-1.0, 1.0), (1.0, -1.0), (5.0, 3.0)] {
            for first_step in [None, Some(f64::abs(t1 - t0)), Some(1e-3), Some(100.0)] {
                let settings = Adaptive { first_step, ..Adaptive::new(1e-9, 1e-10) };
                let solution = run(method, &settings, (t0, t1), &y0, linear(matrix()));
                let exact = (matrix() * (t1 - t0)).exp() * DVector::from_row_slice(&y0);
                let error = largest_difference(&solution.state, exact.as_slice());
                assert!(solution.is_finished() && error < 1e-8, "{t0} to {t1}: {error:e}");
            }
        }
    }
}

#[test]
fn one_step_is_exact_for_a_quadrature_of_the_order_of_the_method() {
    // y' = p t^(p - 1): an order of p gives y = t^p but for rounding. A stage at a wrong time shows.
    for (method, order) in [(Method::Dopri5, 5), (Method::Dop853, 7), (Method::Dop853, 8)] {
        let field = each(|t: f64, _| f64::from(order) * t.powi(order - 1));
        let settings = Adaptive { first_step: Some(1.0), ..Adaptive::new(1e3, 1e3) };
        let solution = run(method, &settings, (0.0, 1.0), &[0.0], field);
        assert_eq!(solution.accepted, 1);
        assert!((solution.state[0] - 1.0).abs() < 1e-13, "{method:?}: {:?}", solution.state);
    }
}

#[test]
fn error_follows_the_tolerance() {
    for method in METHODS {
        let y0 = [1.0, -0.5, 0.25];
        let exact = (matrix() * 2.0).exp() * DVector::from_row_slice(&y0);
        for exponent in 3..=12 {
            let settings = Adaptive::new(10_f64.powi(-exponent), 10_f64.powi(-exponent));
            let solution = run(method, &settings, (0.0, 2.0), &y0, linear(matrix()));
            let error = largest_difference(&solution.state, exact.as_slice());
            assert!(error < 10.0 * settings.rtol, "{method:?} {:e}: {error:e}", settings.rtol);
        }
    }
}

#[test]
fn error_follows_the_tolerance_for_a_nonlinear_field_that_depends_on_time() {
    for method in METHODS {
        for (exponent, t1) in (3..=10).flat_map(|e| [(e, 2.0), (e, -1.5)]) {
            let settings = Adaptive::new(10_f64.powi(-exponent), 10_f64.powi(-exponent));
            let field = each(|t: f64, y: f64| y * y * t.cos());
            let solution = run(method, &settings, (0.0, t1), &[0.5, -0.5], field);
            // 1/y falls by sin t. Each step may err by √2 of (1 + |y|) tolerances, which grow at most
            // fourfold, as y²: 70 tolerances in six steps if all erred alike. Ten is what we ask.
            let exact = [1.0 / (2.0 - t1.sin()), 1.0 / (-2.0 - t1.sin())];
            let error = largest_difference(&solution.state, &exact);
            assert!(error < 10.0 * settings.rtol, "{method:?} {:e}: {error:e}", settings.rtol);
        }
    }
}

#[test]
fn replaying_the_mesh_gives_the_same_state() {
    for method in METHODS {
        for span in [(0.0, 2.0), (2.0, 0.0), (7.3, 9.1)] {
            let wave = || each(|t: f64, y: f64| (3.0 * t).sin() - (2.0 * y).sin());
            let settings = Adaptive { first_step: Some(2.0), ..Adaptive::new(1e-7, 1e-8) };
            let solution = run(method, &settings, span, &[1.0, -0.5, 0.25], wave());
            assert!(solution.is_finished() && solution.rejected > 0);
            let mut state = vec![1.0, -0.5, 0.25];
            integrate(tableau(method), &solution.mesh, &mut state, wave()).unwrap();
            for (replayed, solved) in state.iter().zip(&solution.state) {
                assert!((replayed - solved).abs() <= 1e-12 * solved.abs());
            }
        }
    }
}

#[test]
fn there_and_back_returns_the_start() {
    for method in METHODS {
        let start = [1.0, -0.5, 0.25];
        for exponent in 3..=10 {
            let settings = Adaptive::new(10_f64.powi(-exponent), 10_f64.powi(-exponent));
            let there = run(method, &settings, (0.0, 1.0), &start, linear(matrix()));
            let back = run(method, &settings, (1.0, 0.0), &there.state, linear(matrix()));
            let error = largest_difference(&back.state, &start);
            assert!(error < 10.0 * settings.rtol, "{:e}: {error:e}", settings.rtol);
        }
    }
}

#[test]
fn both_directions_take_the_same_steps() {
    for method in METHODS {
        let settings = Adaptive::new(1e-6, 1e-8);
        let forward = run(method, &settings, (0.0, 2.0), &[1.0, 2.0], each(|_, y: f64| y.cos()));
        let backward = run(method, &settings, (2.0, 0.0), &[1.0, 2.0], each(|_, y: f64| -y.cos()));
        assert_eq!(forward.state, backward.state);
        assert_eq!(forward.evaluations, backward.evaluations);
    }
}

#[test]
fn single_precision_reaches_its_tolerance() {
    for method in METHODS {
        let y0 = [1.0_f32, -0.5, 0.25];
        for (t0, t1) in [(0.0, 2.0), (2.0, 0.0), (1000.0, 1002.0)] {
            let solution = run(method, &Adaptive::new(1e-5, 1e-5), (t0, t1), &y0, linear(matrix()));
            let exact = (matrix() * (t1 - t0)).exp() * DVector::from_vec(vec![1.0, -0.5, 0.25]);
            let state: Vec<f64> = solution.state.iter().map(|y| f64::from(*y)).collect();
            assert!(solution.is_finished());
            assert!(largest_difference(&state, exact.as_slice()) < 1e-4);
            let mut replayed = y0.to_vec();
            integrate(tableau(method), &solution.mesh, &mut replayed, linear(matrix())).unwrap();
            let replayed: Vec<f64> = replayed.into_iter().map(f64::from).collect();
            // The weights of a row of DOP853 sum to 96 without their signs, of the other to 25.
            let rounding = if method == Method::Dop853 { 8e-6 } else { 2e-6 };
            assert!(largest_difference(&replayed, &state) < rounding);
        }
    }
}

#[test]
fn the_first_step_does_not_depend_on_the_number_of_rows() {
    for method in METHODS {
        let settings = Adaptive::new(1e-6, 1e-8);
        let one = run(method, &settings, (0.0, 1.0), &[1.0], each(|_, y: f64| y.sin()));
        let many = run(method, &settings, (0.0, 1.0), &[1.0; 4096], each(|_, y: f64| y.sin()));
        assert!((one.mesh[1] - many.mesh[1]).abs() < 1e-12);
        assert_eq!(one.evaluations, many.evaluations);
    }
}

#[test]
fn a_field_at_rest_takes_few_steps() {
    for method in METHODS {
        let solution =
            run(method, &Adaptive::new(1e-9, 1e-9), (0.0, 1.0), &[0.0, 3.0], each(|_, _| 0.0));
        assert_eq!((solution.state, solution.status), (vec![0.0, 3.0], Status::Finished));
        // The first step is a tenth of the interval; the next are at most 10 and 6 times as long.
        assert!(solution.accepted <= 3);
    }
}

#[test]
fn nothing_is_evaluated_for_an_empty_interval_or_an_empty_state() {
    for method in METHODS {
        let settings = Adaptive::new(1e-5, 1e-5);
        let solution = run(method, &settings, (0.3, 0.3), &[1.0_f32], each(|_, y| y));
        assert_eq!(
            (solution.state, solution.mesh, solution.evaluations),
            (vec![1.0], vec![0.3], 0)
        );
        let solution = run(method, &settings, (0.0, 1.0), &[], each(|_, y: f64| y));
        assert_eq!((solution.mesh, solution.evaluations), (vec![0.0, 1.0], 0));
    }
}

#[test]
fn the_last_state_alone_is_the_same_and_takes_no_memory_per_step() {
    // A circle, half around in about ten steps and often in some ten thousand.
    let turn = |t: f64, y: &[f64], dy: &mut [f64]| {
        let speed = 1.0 + 0.5 * t.sin(); // angle t + (1 − cos t)/2
        dy.copy_from_slice(&[-speed * y[1], speed * y[0]]);
        Ok(())
    };
    let settings = Adaptive { max_evaluations: 1_000_000, ..Adaptive::new(1e-6, 1e-6) };
    for (method, turns) in METHODS.into_iter().flat_map(|m| [(m, 0.5), (m, 1500.0)]) {
        let t1 = std::f64::consts::TAU * turns;
        let all = run(method, &settings, (0.0, t1), &[1.0, 0.0], turn);
        let last = settings.solve(method, Keep::Last, [0.0, t1], vec![1.0, 0.0], turn).unwrap();
        assert!(all.is_finished() && last.is_finished());
        assert_eq!(all.state, last.state);
        assert_eq!((all.accepted, all.rejected), (last.accepted, last.rejected));
        assert_eq!((all.evaluations, all.time), (last.evaluations, last.time));
        assert_eq!((last.mesh.as_slice(), last.mesh.capacity()), ([t1].as_slice(), 1));
        assert_eq!((last.earlier.capacity(), last.state.capacity()), (0, 2));
        // On a circle errors neither grow nor shrink: √2 times 2e-6 for every step at most.
        let angle = t1 + 0.5 * (1.0 - t1.cos());
        let error = largest_difference(&last.state, &[angle.cos(), angle.sin()]);
        assert!(error < 3e-6 * all.accepted as f64, "{method:?}: {error:e}");
    }
}

#[test]
fn times_stay_within_the_interval_whatever_its_rounding() {
    // The checks of `run`. The nearest f32 of a length is beyond it for half of these intervals.
    for method in METHODS {
        for (i, j) in (0..10).flat_map(|i| (0..10).map(move |j| (i, j))).filter(|(i, j)| i != j) {
            let span = (0.1 + 0.3 * f64::from(i), 0.1 + 0.3 * f64::from(j));
            let settings = Adaptive { first_step: Some(10.0), ..Adaptive::new(1e-3, 1e-3) };
            let single = run(method, &settings, span, &[1.0_f32], each(|_, _| 1.0));
            let double = run(method, &settings, span, &[1.0_f64], each(|_, _| 1.0));
            assert!(single.is_finished() && double.is_finished(), "{method:?} {span:?}");
        }
    }
}

#[test]
fn a_solve_may_end_at_any_number_of_steps() {
    // The package is started again after 40 steps and every 50 that follow, but not at the end.
    for method in METHODS {
        let counts: std::collections::BTreeSet<usize> = (1..=600)
            .map(|end| {
                let field = each(|t: f64, y: f64| (3.0 * t).sin() - (2.0 * y).sin());
                let span = (0.0, 0.05 * f64::from(end));
                let solution = run(method, &Adaptive::new(1e-8, 1e-8), span, &[1.0], field);
                assert!(solution.is_finished(), "{method:?} {span:?}: {:?}", solution.status);
                solution.accepted
            })
            .collect();
        assert!([40, 90].iter().all(|count| counts.contains(count)), "{method:?}: {counts:?}");
    }
}
