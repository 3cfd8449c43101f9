//! Behaviour of the adaptive solver: accuracy, both directions, and every way to stop early.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use flows_continuous::{
    Adaptive, DORMAND_PRINCE, Failure, FieldError, Solution, SolveError, Status, dopri5, integrate,
};
use flows_core::Real;
use nalgebra::{DMatrix, DVector};

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
    let solution = dopri5(settings, span.0, span.1, y0.to_vec(), counted).unwrap();
    assert_eq!(solution.evaluations, calls);
    assert!(calls <= settings.max_evaluations);
    assert_eq!(solution.mesh.len(), solution.accepted + 1);
    assert_eq!(solution.mesh.first(), Some(&span.0));
    assert_eq!(solution.mesh.last(), Some(&solution.time));
    assert_eq!(solution.is_finished(), solution.time == span.1);
    let forward = span.1 > span.0;
    assert!(solution.mesh.windows(2).all(|t| t[0] != t[1] && (t[1] > t[0]) == forward));
    assert!(solution.state.iter().all(|y| y.is_finite()));
    if solution.is_finished() && calls > 0 {
        let start = if settings.first_step.is_some() { 1 } else { 2 };
        assert_eq!(calls, start + 6 * (solution.accepted + solution.rejected));
    }
    solution
}

fn distance(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(l, r)| (l - r).abs()).fold(0.0, f64::max)
}

#[test]
fn a_linear_field_gives_the_matrix_exponential_in_both_directions() {
    let y0 = [1.0, -0.5, 0.25];
    for (t0, t1) in [(0.0, 2.0), (2.0, 0.0), (-1.0, 1.0), (1.0, -1.0), (5.0, 3.0)] {
        for first_step in [None, Some(f64::abs(t1 - t0)), Some(1e-3), Some(100.0)] {
            let settings = Adaptive { first_step, ..Adaptive::new(1e-9, 1e-10) };
            let solution = run(&settings, (t0, t1), &y0, linear(matrix()));
            let exact = (matrix() * (t1 - t0)).exp() * DVector::from_row_slice(&y0);
            let error = distance(&solution.state, exact.as_slice());
            assert!(solution.is_finished() && error < 1e-8, "{t0} to {t1}: {error:e}");
        }
    }
}

#[test]
fn error_follows_the_tolerance() {
    let y0 = [1.0, -0.5, 0.25];
    let exact = (matrix() * 2.0).exp() * DVector::from_row_slice(&y0);
    for tolerance in [1e-4, 1e-6, 1e-8, 1e-10, 1e-12] {
        let settings = Adaptive::new(tolerance, tolerance);
        let solution = run(&settings, (0.0, 2.0), &y0, linear(matrix()));
        let error = distance(&solution.state, exact.as_slice());
        assert!(error < 10.0 * tolerance, "{tolerance:e}: {error:e}");
    }
}

#[test]
fn replaying_the_mesh_gives_the_same_state() {
    for span in [(0.0, 2.0), (2.0, 0.0), (7.3, 9.1)] {
        let wave = || each(|t: f64, y: f64| (3.0 * t).sin() - (2.0 * y).sin());
        let settings = Adaptive { first_step: Some(2.0), ..Adaptive::new(1e-7, 1e-8) };
        let solution = run(&settings, span, &[1.0, -0.5, 0.25], wave());
        assert!(solution.is_finished() && solution.rejected > 0);
        let mut state = vec![1.0, -0.5, 0.25];
        integrate(&DORMAND_PRINCE, &solution.mesh, &mut state, wave()).unwrap();
        for (replayed, solved) in state.iter().zip(&solution.state) {
            assert!((replayed - solved).abs() <= 1e-12 * solved.abs());
        }
    }
}

#[test]
fn there_and_back_returns_the_start() {
    let start = [1.0, -0.5, 0.25];
    for exponent in 3..=10 {
        let settings = Adaptive::new(10_f64.powi(-exponent), 10_f64.powi(-exponent));
        let there = run(&settings, (0.0, 1.0), &start, linear(matrix()));
        let back = run(&settings, (1.0, 0.0), &there.state, linear(matrix()));
        let error = distance(&back.state, &start);
        assert!(error < 10.0 * settings.rtol, "{:e}: {error:e}", settings.rtol);
    }
}

#[test]
fn both_directions_take_the_same_steps() {
    let settings = Adaptive::new(1e-6, 1e-8);
    let forward = run(&settings, (0.0, 2.0), &[1.0, 2.0], each(|_, y: f64| y.cos()));
    let backward = run(&settings, (2.0, 0.0), &[1.0, 2.0], each(|_, y: f64| -y.cos()));
    assert_eq!(forward.state, backward.state);
    assert_eq!(forward.evaluations, backward.evaluations);
}

#[test]
fn single_precision_reaches_its_tolerance() {
    let y0 = [1.0_f32, -0.5, 0.25];
    for (t0, t1) in [(0.0, 2.0), (2.0, 0.0), (1000.0, 1002.0)] {
        let solution = run(&Adaptive::new(1e-5, 1e-5), (t0, t1), &y0, linear(matrix()));
        let exact = (matrix() * (t1 - t0)).exp() * DVector::from_vec(vec![1.0, -0.5, 0.25]);
        let state: Vec<f64> = solution.state.iter().map(|y| f64::from(*y)).collect();
        assert!(solution.is_finished());
        assert!(distance(&state, exact.as_slice()) < 1e-4);
        let mut replayed = y0.to_vec();
        integrate(&DORMAND_PRINCE, &solution.mesh, &mut replayed, linear(matrix())).unwrap();
        let replayed: Vec<f64> = replayed.into_iter().map(f64::from).collect();
        assert!(distance(&replayed, &state) < 2e-6);
    }
}

#[test]
fn the_first_step_does_not_depend_on_the_number_of_rows() {
    let settings = Adaptive::new(1e-6, 1e-8);
    let one = run(&settings, (0.0, 1.0), &[1.0], each(|_, y: f64| y.sin()));
    let many = run(&settings, (0.0, 1.0), &[1.0; 4096], each(|_, y: f64| y.sin()));
    assert!((one.mesh[1] - many.mesh[1]).abs() < 1e-12);
    assert_eq!(one.evaluations, many.evaluations);
}

#[test]
fn a_field_at_rest_takes_few_steps() {
    let solution = run(&Adaptive::new(1e-9, 1e-9), (0.0, 1.0), &[0.0, 3.0], each(|_, _| 0.0));
    assert_eq!((solution.state, solution.status), (vec![0.0, 3.0], Status::Finished));
    assert!(solution.accepted <= 2);
}

#[test]
fn nothing_is_evaluated_for_an_empty_interval_or_an_empty_state() {
    let settings = Adaptive::new(1e-5, 1e-5);
    let solution = run(&settings, (0.3, 0.3), &[1.0_f32], each(|_, y| y));
    assert_eq!((solution.state, solution.mesh, solution.evaluations), (vec![1.0], vec![0.3], 0));
    let solution = run(&settings, (0.0, 1.0), &[], each(|_, y: f64| y));
    assert_eq!((solution.mesh, solution.evaluations), (vec![0.0, 1.0], 0));
}

#[test]
fn wrong_arguments_are_refused() {
    let refuse = |settings: Adaptive, t1: f64| {
        dopri5(&settings, 0.0, t1, vec![1.0_f64], each(|_, y| y)).unwrap_err().to_string()
    };
    for value in [0.0, -1e-6, 1e-20, f64::NAN, f64::INFINITY] {
        assert!(refuse(Adaptive::new(value, 1e-6), 1.0).starts_with("rtol must be finite"));
        assert!(refuse(Adaptive::new(1e-6, value), 1.0).starts_with("atol must be finite"));
    }
    for step in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let settings = Adaptive { first_step: Some(step), ..Adaptive::new(1e-6, 1e-6) };
        assert!(refuse(settings, 1.0).starts_with("first_step"));
    }
    let settings = Adaptive { max_evaluations: 0, ..Adaptive::new(1e-6, 1e-6) };
    assert!(refuse(settings, 1.0).starts_with("max_evaluations"));
    for t1 in [f64::NAN, f64::INFINITY] {
        assert!(refuse(Adaptive::new(1e-6, 1e-6), t1).starts_with("interval"));
    }
    let short = dopri5(&Adaptive::new(1e-5, 1e-5), 0.0, 1e-60, vec![1_f32], each(|_, y| y));
    assert!(matches!(short, Err(SolveError::Interval { .. })));
}

#[test]
fn the_smallest_tolerance_named_by_the_error_works() {
    fn smallest<E: Real>(rtol: f64, atol: f64) -> f64 {
        let one = vec![E::of(1.0)];
        match dopri5(&Adaptive::new(rtol, atol), 0.0, 1.0, one, each(|_, y: E| -y)) {
            Err(SolveError::Tolerance { smallest, .. }) => smallest,
            other => panic!("{other:?}"),
        }
    }
    let single = Adaptive::new(smallest::<f32>(1e-9, 1.0), smallest::<f32>(1e-3, 1e-9));
    let double = Adaptive::new(smallest::<f64>(1e-20, 1.0), smallest::<f64>(1e-3, 1e-20));
    let y = run(&single, (0.0, 1.0), &[1.0_f32, 0.0], each(|_, y: f32| -y));
    assert!(y.is_finished() && (f64::from(y.state[0]) - (-1.0_f64).exp()).abs() < 1e-5);
    let y = run(&double, (0.0, 1.0), &[1.0, 0.0], each(|_, y: f64| -y));
    assert!(y.is_finished() && (y.state[0] - (-1.0_f64).exp()).abs() < 1e-13);
}

#[test]
fn a_velocity_that_is_not_a_number_stops_at_the_first_call() {
    for first_step in [None, Some(0.1)] {
        let settings = Adaptive { first_step, ..Adaptive::new(1e-6, 1e-6) };
        let solution = run(&settings, (0.5, 0.0), &[1.0_f32, 2.0], each(|_, _| f32::NAN));
        assert_eq!((solution.status, solution.evaluations), (Status::NonFinite, 1));
        assert_eq!((solution.time, solution.state), (0.5, vec![1.0, 2.0]));
        let failure = solution.failure.unwrap();
        assert_eq!(failure.to_string(), "velocity is not finite at time 0.5, component 0");
    }
}

#[test]
fn a_velocity_that_becomes_infinite_stops_at_that_call() {
    let field = each(|t, y: f64| if t > 0.5 { f64::INFINITY } else { -y });
    let solution = run(&Adaptive::new(1e-6, 1e-6), (0.0, 1.0), &[1.0], field);
    assert_eq!(solution.status, Status::NonFinite);
    assert!(solution.time > 0.0 && solution.time <= 0.5);
    assert!((solution.state[0] - (-solution.time).exp()).abs() < 1e-5);
    let Some(Failure::NonFinite { time, .. }) = solution.failure else { panic!("no failure") };
    assert!(time > 0.5);
}

#[test]
fn a_starting_state_that_is_not_finite_is_reported_without_a_call() {
    let field = |_: f64, _: &[f64], _: &mut [f64]| -> Result<(), FieldError> { panic!("called") };
    let solution =
        dopri5(&Adaptive::new(1e-6, 1e-6), 0.0, 1.0, vec![1.0, f64::NAN], field).unwrap();
    assert_eq!((solution.status, solution.evaluations), (Status::NonFinite, 0));
    assert!(solution.failure.unwrap().to_string().starts_with("state is not finite"));
}

#[test]
fn a_state_that_overflows_is_not_accepted() {
    // The velocity is finite everywhere, the step beyond the largest number is not.
    let settings = Adaptive { first_step: Some(4.0), ..Adaptive::new(1e-3, 1e-3) };
    let solution = run(&settings, (0.0, 4.0), &[1e38_f32], each(|_, _| 2e38));
    assert_eq!((solution.status, solution.state), (Status::NonFinite, vec![1e38]));
}

#[test]
fn an_error_of_the_field_stops_at_once_and_is_kept() {
    for failing in 1..=20 {
        let mut calls = 0;
        let field = |_: f64, y: &[f64], dy: &mut [f64]| {
            calls += 1;
            dy.copy_from_slice(y);
            if calls == failing { Err(FieldError::new("no weights")) } else { Ok(()) }
        };
        let solution = run(&Adaptive::new(1e-6, 1e-6), (0.0, 3.0), &[1.0], field);
        assert_eq!((solution.status, solution.evaluations), (Status::FieldFailed, failing));
        assert!((solution.state[0] - solution.time.exp()).abs() < 1e-4);
        let Some(Failure::Field { source, .. }) = solution.failure else { panic!("no failure") };
        assert_eq!(source.to_string(), "no weights");
    }
}

#[test]
fn the_bound_on_evaluations_is_kept_exactly() {
    for max_evaluations in 1..=60 {
        let settings = Adaptive { max_evaluations, ..Adaptive::new(1e-10, 1e-10) };
        let solution = run(&settings, (3.0, 0.0), &[1.0], each(|t, y: f64| y * t.cos()));
        assert_eq!(solution.status, Status::EvaluationBound);
        assert_eq!(solution.evaluations, max_evaluations);
        let exact = (solution.time.sin() - 3_f64.sin()).exp();
        assert!((solution.state[0] - exact).abs() < 1e-8);
    }
}

#[test]
fn a_solution_that_blows_up_ends_before_it_does() {
    let solution = run(&Adaptive::new(1e-6, 1e-6), (0.0, 2.0), &[1.0], each(|_, y: f64| y * y));
    assert_eq!(solution.status, Status::StepUnderflow);
    assert!((solution.time - 1.0).abs() < 1e-4 && solution.evaluations < 10_000);
    let solution = run(&Adaptive::new(1e-5, 1e-5), (0.0, 2.0), &[1.0], each(|_, y: f32| y * y));
    assert_eq!(solution.status, Status::StepUnderflow);
    assert!((solution.time - 1.0).abs() < 1e-3 && solution.evaluations < 10_000);
    let solution = run(&Adaptive::new(1e-6, 1e-6), (2.0, 0.0), &[1.0], each(|_, y: f64| -y * y));
    assert_eq!(solution.status, Status::StepUnderflow);
}

#[test]
fn a_stiff_field_is_detected_in_both_directions() {
    let settings = Adaptive::new(1e-4, 1e-6);
    let forward = each(|t: f64, y: f64| -1e6 * (y - t.cos()));
    let solution = run(&settings, (0.0, 1.0), &[0.0, 2.0], forward);
    assert_eq!(solution.status, Status::Stiff);
    assert!(solution.evaluations < 10_000 && solution.time > 0.0);
    let backward = each(|t: f64, y: f64| 1e6 * (y - t.cos()));
    let solution = run(&settings, (1.0, 0.0), &[0.0, 2.0], backward);
    assert_eq!(solution.status, Status::Stiff);
    let single = each(|t: f64, y: f32| -1e6 * (y - t.cos() as f32));
    let solution = run(&settings, (0.0, 1.0), &[0.0, 2.0], single);
    assert_eq!(solution.status, Status::Stiff);
}

#[test]
fn a_rough_field_ends() {
    // Noise of the size of the state: no tolerance is reachable by smaller steps alone.
    let mut seed = 1_u64;
    let noise = move |_: f64, _: &[f64], dy: &mut [f64]| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        dy.fill((seed >> 33) as f64 / 2e9 - 0.5);
        Ok(())
    };
    let settings = Adaptive { max_evaluations: 5_000, ..Adaptive::new(1e-12, 1e-12) };
    assert_eq!(run(&settings, (1.0, 2.0), &[1.0], noise).status, Status::EvaluationBound);
}

#[test]
fn settings_need_tolerances_and_refuse_unknown_fields() {
    let parse = serde_json::from_str::<Adaptive>;
    let settings = parse(r#"{ "rtol": 1e-5, "atol": 1e-6 }"#).unwrap();
    assert_eq!(settings, Adaptive::new(1e-5, 1e-6));
    assert!(parse(r#"{ "rtol": 1e-5 }"#).is_err());
    assert!(parse(r#"{ "rtol": 1e-5, "atol": 1e-6, "steps": 3 }"#).is_err());
}
