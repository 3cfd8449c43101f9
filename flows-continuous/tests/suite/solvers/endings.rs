//! Bad input of the adaptive solver, and every way to stop early, within the bound on evaluations.

use std::error::Error;

use flows_continuous::{Adaptive, Failure, FieldError, Keep, Method, SolveError, Status};
use flows_core::Real;
use flows_core::testing::names;

use super::{METHODS, each, run};

#[test]
fn wrong_arguments_are_refused() {
    for method in METHODS {
        let refuse = |settings: Adaptive, t1: f64| {
            let start = vec![1.0_f64];
            let solved = settings.solve(method, Keep::Last, [0.0, t1], start, each(|_, y| y));
            solved.unwrap_err().to_string()
        };
        for value in [0.0, -1e-6, 1e-20, f64::NAN, f64::INFINITY] {
            assert!(refuse(Adaptive::new(value, 1e-6), 1.0).starts_with("rtol must be finite"));
            assert!(refuse(Adaptive::new(1e-6, value), 1.0).starts_with("atol must be finite"));
        }
        let settings = Adaptive::new(1e-6, 1e-6);
        for step in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            let settings = Adaptive { first_step: Some(step), ..settings };
            assert!(refuse(settings, 1.0).starts_with("first_step"));
        }
        let unable = Adaptive { max_evaluations: 0, ..settings };
        assert!(refuse(unable, 1.0).starts_with("max_evaluations"));
        for t1 in [f64::NAN, f64::INFINITY] {
            assert!(refuse(settings, t1).starts_with("interval"));
        }
        let span = [0.0, 1e-60];
        let short = settings.solve(method, Keep::Last, span, vec![1_f32], each(|_, y| y));
        assert!(matches!(short, Err(SolveError::Interval { .. })));
    }
}

#[test]
fn the_smallest_tolerance_named_by_the_error_works() {
    fn smallest<E: Real>(method: Method, rtol: f64, atol: f64) -> f64 {
        let (settings, start) = (Adaptive::new(rtol, atol), vec![E::of(1.0)]);
        match settings.solve(method, Keep::Last, [0.0, 1.0], start, each(|_, y: E| -y)) {
            Err(SolveError::Tolerance { smallest, .. }) => smallest,
            other => panic!("{other:?}"),
        }
    }
    for method in METHODS {
        let least = |rtol, atol| smallest::<f32>(method, rtol, atol);
        let single = Adaptive::new(least(1e-9, 1.0), least(1e-3, 1e-9));
        let least = |rtol, atol| smallest::<f64>(method, rtol, atol);
        let double = Adaptive::new(least(1e-20, 1.0), least(1e-3, 1e-20));
        let y = run(method, &single, (0.0, 1.0), &[1.0_f32, 0.0], each(|_, y: f32| -y));
        assert!(y.is_finished() && (f64::from(y.state[0]) - (-1.0_f64).exp()).abs() < 1e-5);
        let y = run(method, &double, (0.0, 1.0), &[1.0, 0.0], each(|_, y: f64| -y));
        assert!(y.is_finished() && (y.state[0] - (-1.0_f64).exp()).abs() < 1e-13);
    }
}

#[test]
fn a_velocity_that_is_not_a_number_stops_at_the_first_call() {
    for method in METHODS {
        for first_step in [None, Some(0.1)] {
            let settings = Adaptive { first_step, ..Adaptive::new(1e-6, 1e-6) };
            let solution =
                run(method, &settings, (0.5, 0.0), &[1.0_f32, 2.0], each(|_, _| f32::NAN));
            assert_eq!((solution.status, solution.evaluations), (Status::NonFinite, 1));
            assert_eq!((solution.time, solution.state), (0.5, vec![1.0, 2.0]));
            let failure = solution.failure.unwrap();
            assert_eq!(failure.to_string(), "velocity is not finite at time 0.5, component 0");
        }
    }
}

#[test]
fn a_velocity_that_becomes_infinite_stops_at_that_call() {
    for method in METHODS {
        let field = each(|t, y: f64| if t > 0.5 { f64::INFINITY } else { -y });
        let solution = run(method, &Adaptive::new(1e-6, 1e-6), (0.0, 1.0), &[1.0], field);
        assert_eq!(solution.status, Status::NonFinite);
        assert!(solution.time > 0.0 && solution.time <= 0.5);
        assert!((solution.state[0] - (-solution.time).exp()).abs() < 1e-5);
        let Some(Failure::NonFinite { time, .. }) = solution.failure else { panic!("no failure") };
        assert!(time > 0.5);
    }
}

#[test]
fn a_starting_state_that_is_not_finite_is_reported_without_a_call() {
    for method in METHODS {
        let field = |_: f64, _: &[f64], _: &mut [f64]| panic!("called");
        let (settings, start) = (Adaptive::new(1e-6, 1e-6), vec![1.0, f64::NAN]);
        let solution = settings.solve(method, Keep::Last, [0.0, 1.0], start, field).unwrap();
        assert_eq!((solution.status, solution.evaluations), (Status::NonFinite, 0));
        assert!(solution.failure.unwrap().to_string().starts_with("state is not finite"));
    }
}

#[test]
fn a_state_that_overflows_is_not_accepted() {
    for method in METHODS {
        // The velocity is finite everywhere, the step beyond the largest number is not.
        let settings = Adaptive { first_step: Some(4.0), ..Adaptive::new(1e-3, 1e-3) };
        let solution = run(method, &settings, (0.0, 4.0), &[1e38_f32], each(|_, _| 2e38));
        assert_eq!((solution.status, solution.state), (Status::NonFinite, vec![1e38]));
    }
}

#[test]
fn an_error_of_the_field_stops_at_once_and_is_kept() {
    for method in METHODS {
        for failing in 1..=20 {
            let mut calls = 0;
            let field = |_: f64, y: &[f64], dy: &mut [f64]| {
                calls += 1;
                dy.copy_from_slice(y);
                if calls == failing { Err(FieldError::new("no weights")) } else { Ok(()) }
            };
            let solution = run(method, &Adaptive::new(1e-6, 1e-6), (0.0, 3.0), &[1.0], field);
            assert_eq!((solution.status, solution.evaluations), (Status::FieldFailed, failing));
            assert!((solution.state[0] - solution.time.exp()).abs() < 1e-4);
            let Some(Failure::Field { source, .. }) = solution.failure else {
                panic!("no failure")
            };
            assert_eq!(source.to_string(), "no weights");
        }
    }
}

#[test]
fn the_bound_on_evaluations_is_kept_exactly() {
    for method in METHODS {
        for max_evaluations in 1..=60 {
            let settings = Adaptive { max_evaluations, ..Adaptive::new(1e-10, 1e-10) };
            let solution =
                run(method, &settings, (3.0, 0.0), &[1.0], each(|t, y: f64| y * t.cos()));
            assert_eq!(solution.status, Status::EvaluationBound);
            assert_eq!(solution.evaluations, max_evaluations);
            let exact = (solution.time.sin() - 3_f64.sin()).exp();
            assert!((solution.state[0] - exact).abs() < 1e-8);
        }
    }
}

#[test]
fn a_solution_that_blows_up_ends_before_it_does() {
    for method in METHODS {
        let solution =
            run(method, &Adaptive::new(1e-6, 1e-6), (0.0, 2.0), &[1.0], each(|_, y: f64| y * y));
        assert_eq!(solution.status, Status::StepUnderflow);
        assert!((solution.time - 1.0).abs() < 1e-4 && solution.evaluations < 10_000);
        let solution =
            run(method, &Adaptive::new(1e-5, 1e-5), (0.0, 2.0), &[1.0], each(|_, y: f32| y * y));
        assert_eq!(solution.status, Status::StepUnderflow);
        assert!((solution.time - 1.0).abs() < 1e-3 && solution.evaluations < 10_000);
        let solution =
            run(method, &Adaptive::new(1e-6, 1e-6), (2.0, 0.0), &[1.0], each(|_, y: f64| -y * y));
        assert_eq!(solution.status, Status::StepUnderflow);
    }
}

#[test]
fn a_stiff_field_is_detected_in_both_directions() {
    for method in METHODS {
        let settings = Adaptive::new(1e-4, 1e-6);
        let forward = each(|t: f64, y: f64| -1e6 * (y - t.cos()));
        let solution = run(method, &settings, (0.0, 1.0), &[0.0, 2.0], forward);
        assert_eq!(solution.status, Status::Stiff);
        // Some 1015 steps of 6 and of 12 evaluations.
        assert!(solution.evaluations < 15_000 && solution.time > 0.0);
        let backward = each(|t: f64, y: f64| 1e6 * (y - t.cos()));
        let solution = run(method, &settings, (1.0, 0.0), &[0.0, 2.0], backward);
        assert_eq!(solution.status, Status::Stiff);
        let single = each(|t: f64, y: f32| -1e6 * (y - t.cos() as f32));
        let solution = run(method, &settings, (0.0, 1.0), &[0.0, 2.0], single);
        assert_eq!(solution.status, Status::Stiff);
    }
}

#[test]
fn a_rough_field_ends() {
    for method in METHODS {
        // Noise of the size of the state: no tolerance is reachable by smaller steps alone.
        let mut seed = 1_u64;
        let noise = move |_: f64, _: &[f64], dy: &mut [f64]| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            dy.fill((seed >> 33) as f64 / 2e9 - 0.5);
            Ok(())
        };
        let settings = Adaptive { max_evaluations: 5_000, ..Adaptive::new(1e-12, 1e-12) };
        assert_eq!(
            run(method, &settings, (1.0, 2.0), &[1.0], noise).status,
            Status::EvaluationBound
        );
    }
}

#[test]
fn settings_need_tolerances_and_refuse_unknown_fields() {
    let parse = serde_json::from_str::<Adaptive>;
    let settings = parse(r#"{ "rtol": 1e-5, "atol": 1e-6 }"#).unwrap();
    assert_eq!(settings, Adaptive::new(1e-5, 1e-6));
    names(&parse(r#"{ "rtol": 1e-5 }"#).unwrap_err(), &["missing field `atol`"]);
    names(
        &parse(r#"{ "rtol": 1e-5, "atol": 1e-6, "steps": 3 }"#).unwrap_err(),
        &["unknown field `steps`", "rtol"],
    );
}

#[test]
fn every_status_has_its_own_advice() {
    let all = [
        Status::Finished,
        Status::EvaluationBound,
        Status::StepUnderflow,
        Status::NonFinite,
        Status::Stiff,
        Status::FieldFailed,
    ];
    let texts: std::collections::HashSet<_> = all.iter().map(Status::advice).collect();
    assert_eq!(texts.len(), all.len());
}

#[test]
fn the_error_of_a_field_keeps_its_text() {
    let failure = Failure::Field { time: 0.5, source: FieldError::new("no weights") };
    let source = failure.source().map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("no weights"));
}
