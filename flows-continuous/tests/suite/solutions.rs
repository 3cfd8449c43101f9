//! What every solver shares: solvable fields are solved in either direction, all others end with a
//! sentence within the bound on evaluations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use flows_continuous::{
    Adaptive, Continuous, Direction, GradientMethod, MlpField, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{assert_error, is_complete, perturb};
use flows_core::{
    Batch, Bijector, Context, Error, LastLayer, Network, Result, Tape, Values, normals, stream,
};

use super::elementwise_field::{self, Calls, Law};
use super::objective::{Asked, adaptive, equal, exact, fixed, replay, run, tape, tolerance};

fn every(settings: Adaptive, steps: usize) -> Vec<Solver> {
    let fixed = fixed(steps).into_iter().map(|(solver, _)| solver);
    fixed.chain(adaptive(settings)).collect()
}

fn points(values: &[f64]) -> Batch<f64> {
    batch(values.to_vec(), values.len(), 1).unwrap()
}

/// Every way of asking a flow, by replay and by adjoint, fails with a complete message after at most `bound`
/// evaluations.
#[track_caller]
fn all_fail(
    law: Law,
    times: [f64; 2],
    solver: Solver,
    z: &[f64],
    (direction, bound): (Direction, usize),
) -> Vec<Error> {
    let (flow, calls) = elementwise_field::flow(1, law, times, exact(solver));
    let (mut flow, mut errors) = (flow, Vec::new());
    for gradient in [replay(1), replay(32), GradientMethod::Adjoint] {
        flow = flow.with_gradient(gradient);
        for (way, result, taken) in ask(&flow, &calls, &points(z), direction) {
            let Err(error) = result else { panic!("{law:?} {solver:?} {way} answered") };
            is_complete(&error);
            assert!(taken <= bound, "{solver:?} {way}: {taken} evaluations ({error})");
            errors.push(error);
        }
    }
    errors
}

/// Results with the evaluations that they took.
fn ask(
    flow: &Continuous<f64>,
    calls: &Calls,
    z: &Batch<f64>,
    direction: Direction,
) -> Vec<(&'static str, Result<Vec<f64>>, usize)> {
    let none = Context::none();
    let mut all = Vec::new();
    let mut note = |way, ask: &dyn Fn() -> Result<Vec<f64>>| {
        let before = calls.count();
        let result = ask();
        all.push((way, result, calls.count() - before));
    };
    for (way, traced) in [("without a tape", false), ("with a tape", true)] {
        note(way, &|| run(flow, direction, z, &none, &mut tape(traced)).map(|m| m.value.values()));
    }
    if direction == Direction::Forward {
        note("value", &|| flow.image(z, &none).map(|m| m.0.values()));
    }
    all
}

/// The last evaluation may find the bound; equal steps take four each at most.
const BOUND: usize = 20_000;

fn bounded(size: f64) -> Adaptive {
    Adaptive { max_evaluations: BOUND, ..tolerance(size) }
}

#[test]
fn a_field_that_is_not_a_number_is_an_error() {
    for solver in every(bounded(1e-6), 200) {
        for direction in [Direction::Forward, Direction::Inverse] {
            // At once, and for one row on the way: dz/dt = 1 from 0.2 meets the wall at 0.5.
            let start = if let Direction::Forward = direction { 0.0 } else { 2.5 };
            for z in [vec![9.0; 3], vec![-5.0, 0.2 + start, -7.0]] {
                let errors = all_fail(Law::Wall(0.5), [0.0, 1.0], solver, &z, (direction, BOUND));
                for error in errors {
                    match error {
                        Error::Stopped { status, .. } => {
                            assert!(status.contains("finite"), "{solver:?}: {status}");
                        }
                        Error::NonFinite { .. } => {}
                        other => panic!("{solver:?}: {other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn an_explosion_in_finite_time_is_an_error() {
    for solver in every(bounded(1e-6), 200) {
        let z = [0.1, 2.0, -3.0];
        let forward = (Direction::Forward, BOUND);
        let errors = all_fail(Law::Square, [0.0, 1.0], solver, &z, forward);
        assert!(
            errors.iter().all(|e| matches!(e, Error::Stopped { .. } | Error::NonFinite { .. }))
        );
        let inverse = (Direction::Inverse, BOUND);
        all_fail(Law::Square, [0.0, 1.0], solver, &[0.1, -2.0, 3.0], inverse);
        all_fail(Law::Square, [1.0, 0.0], solver, &[-2.0], forward);
    }
}

#[test]
fn a_stiff_field_is_an_error() {
    // A million over stability limits of 3.3 to 6.1 at 6 to 12 evaluations: 2e6 are needed.
    for solver in adaptive(bounded(1e-6)) {
        let forward = (Direction::Forward, BOUND);
        all_fail(Law::Relax(1e6), [0.0, 1.0], solver, &[0.3, 2.0], forward);
        all_fail(Law::Relax(1e6), [1.0, 0.0], solver, &[0.3, 2.0], (Direction::Inverse, BOUND));
        // The other way it explodes.
        all_fail(Law::Relax(1e6), [0.0, 1.0], solver, &[0.3, 2.0], (Direction::Inverse, BOUND));
    }
    for (solver, _) in fixed(200) {
        // Each step multiplies by 5000 or more: 1e740 at the end.
        let forward = (Direction::Forward, BOUND);
        all_fail(Law::Relax(1e6), [0.0, 1.0], solver, &[0.3, 2.0], forward);
    }
}

#[test]
fn the_bound_on_evaluations_is_kept_by_every_adaptive_solver() {
    for bound in [1, 2, 7, 9, 15, 40] {
        let settings = Adaptive { max_evaluations: bound, ..tolerance(1e-10) };
        for solver in adaptive(settings) {
            if bound < 9 && matches!(solver, Solver::RowWise(_)) {
                continue; // Refused at once: its first step takes that many.
            }
            let errors =
                all_fail(Law::Relax(9.0), [0.0, 1.0], solver, &[3.0], (Direction::Forward, bound));
            for error in errors {
                let Error::Stopped { status, advice, .. } = error else { panic!("{error}") };
                assert!(status.contains("evaluations"), "{solver:?}: {status}");
                assert!(advice.contains("max_evaluations"), "{solver:?}: {advice}");
            }
        }
    }
}

#[test]
fn the_work_reported_is_the_number_of_calls_of_the_field() {
    for solver in every(tolerance(1e-8), 13) {
        let (flow, calls) = elementwise_field::flow(1, Law::Square, [0.0, 1.0], exact(solver));
        for direction in [Direction::Forward, Direction::Inverse] {
            // Rows alike take the same steps, so that the mean over rows is the number of calls.
            let z = points(&[0.4; 5]);
            let before = calls.count();
            let out = run(&flow, direction, &z, &Context::none(), &mut Tape::none()).unwrap();
            let taken = (calls.count() - before) as u64;
            assert_eq!(out.work.field_evaluations, taken, "{solver:?} {direction:?}");
            let stages: Option<u64> = match solver {
                Solver::Euler(_) => Some(1),
                Solver::Midpoint(_) | Solver::Heun(_) | Solver::Ralston(_) => Some(2),
                Solver::Rk4(_) => Some(4),
                _ => None,
            };
            if let Some(stages) = stages {
                assert_eq!((taken, out.work.steps_accepted), (13 * stages, 13), "{solver:?}");
            }
        }
    }
}

/// What [`Continuous::new`] says of a solver.
fn made(solver: Solver, times: [f64; 2]) -> Result<()> {
    let right = exact(Solver::Rk4(equal(3)));
    let made = |training, reporting| {
        let kernel = MlpField::new(2, 0, &[3], Activation::Tanh, TimeInput::Concat).unwrap();
        let field = Network::<f64, _>::new(kernel, LastLayer::Random, &mut stream(1, "init"));
        Continuous::new(field.unwrap(), times, training, reporting).map(drop)
    };
    let both = [made(exact(solver), right), made(right, exact(solver))];
    assert_eq!(both[0].is_ok(), both[1].is_ok(), "{solver:?}: training and reporting differ");
    let [training, _] = both;
    training
}

#[test]
fn settings_outside_their_range_are_refused_for_every_solver() {
    let refused = |settings: Adaptive, named: &[&str]| {
        for solver in adaptive(settings) {
            let result = made(solver, [0.0, 1.0]);
            let Err(Error::Parameter { name, .. }) = result else {
                panic!("{solver:?}: {result:?}")
            };
            assert!(named.contains(&name), "{solver:?}: {name}");
        }
    };
    let right = tolerance(1e-5);
    for wrong in [0.0, -1e-5, 1e-17, f64::NAN, f64::INFINITY] {
        refused(Adaptive { rtol: wrong, ..right }, &["rtol"]);
        refused(Adaptive { atol: wrong, ..right }, &["atol"]);
    }
    for step in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        refused(Adaptive { first_step: Some(step), ..right }, &["first_step"]);
    }
    refused(Adaptive { max_evaluations: 0, ..right }, &["max_evaluations"]);
    let few = Adaptive { max_evaluations: 8, ..right };
    assert_error!(
        made(Solver::RowWise(few), [0.0, 1.0]),
        Error::Parameter { .. },
        ["max_evaluations", "at least 9", "got 8"]
    );
    for (solver, _) in fixed(usize::MAX) {
        assert_error!(
            made(solver, [0.0, 1.0]),
            Error::Parameter { .. },
            ["steps of the solver", "at most 1000000"],
            "{solver:?}: a mesh beyond all memory"
        );
    }
    for solver in every(right, 5) {
        for times in [[0.0, 0.0], [1.0, 1.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
            let named = "length of the time interval";
            assert_error!(made(solver, times), Error::Parameter { .. }, [named], "{solver:?}");
        }
        assert!(made(solver, [0.0, 1.0]).is_ok() && made(solver, [1.0, 0.0]).is_ok());
    }
}

#[test]
fn a_first_step_longer_than_the_interval_or_tiny_is_corrected() {
    for step in [1e-12, 1e-3, 1.0, 1e6] {
        let settings = Adaptive { first_step: Some(step), ..tolerance(1e-9) };
        for solver in adaptive(settings) {
            let (flow, _) = elementwise_field::flow(1, Law::Relax(2.0), [0.0, 1.0], exact(solver));
            let (z, none) = (points(&[3.0, -1.0]), Context::none());
            let out = flow.forward(&z, &none, &mut Tape::none()).unwrap();
            for (got, z) in out.value.values().iter().zip([3.0, -1.0]) {
                let expected = 1.0 + (z - 1.0) * (-2.0_f64).exp();
                // Ten tolerances and two rows that share a norm.
                assert!((got - expected).abs() < 4e-8, "{solver:?} {step}: {got} {expected}");
            }
        }
    }
}

#[test]
fn an_interval_that_runs_backwards_is_the_inverse() {
    // Equal steps with an error of h^p over p = 1, 2, 2, 2, 4 at h = 1/400, and adaptive ones with
    // ten tolerances of 1e-9; rates of order one.
    let allowed = |solver: &Solver| match solver {
        Solver::Euler(_) => 2e-2,
        Solver::Midpoint(_) | Solver::Heun(_) | Solver::Ralston(_) => 1e-4,
        _ => 3e-8,
    };
    for solver in every(tolerance(1e-9), 400) {
        let z = normals::<f64>(20, &mut stream(4, "z"));
        let [up, down] = [[0.2, 1.2], [1.2, 0.2]]
            .map(|times| elementwise_field::flow(1, Law::Relax(1.5), times, exact(solver)).0);
        let (none, tape, allowed) = (Context::none(), &mut Tape::none(), allowed(&solver));
        let forward = up.forward(&points(&z), &none, tape).unwrap();
        let other = down.inverse(&points(&z), &none, tape).unwrap();
        // The same solve: times, steps and signs are the same.
        assert_eq!(forward.value.values(), other.value.values(), "{solver:?}");
        assert_eq!(forward.log_det.values(), other.log_det.values(), "{solver:?}");
        let back = down.forward(&forward.value, &none, tape).unwrap();
        for (index, z) in z.iter().enumerate() {
            let expected = 1.0 + (z - 1.0) * (-1.5_f64).exp();
            let (there, again) = (forward.value.values()[index], back.value.values()[index]);
            assert!((there - expected).abs() < allowed, "{solver:?}: {there} {expected}");
            // Backwards an error grows by exp(1.5) < 5.
            assert!((again - z).abs() < 5.0 * allowed, "{solver:?}: {again} {z}");
            assert!((forward.log_det.values()[index] + 1.5).abs() < 1e-9, "{solver:?}");
            assert!((back.log_det.values()[index] - 1.5).abs() < 1e-9, "{solver:?}");
        }
    }
}

#[test]
fn an_empty_batch_is_mapped_to_an_empty_batch_by_every_solver() {
    for solver in every(tolerance(1e-6), 5) {
        for gradient in [replay(1), GradientMethod::Adjoint] {
            let (flow, calls) = elementwise_field::flow(1, Law::Square, [0.0, 1.0], exact(solver));
            let flow = flow.with_gradient(gradient);
            for direction in [Direction::Forward, Direction::Inverse] {
                for (way, result, _) in ask(&flow, &calls, &points(&[]), direction) {
                    assert_eq!(result.unwrap(), Vec::<f64>::new(), "{solver:?} {way}");
                }
            }
        }
    }
}

#[test]
fn gradients_of_the_field_written_here_are_right() {
    // The tests above rest on it, by adjoint too.
    for law in [Law::Square, Law::Relax(1.5)] {
        for solver in [Solver::Rk4(equal(9)), Solver::RowWise(tolerance(1e-9))] {
            let (flow, _) = elementwise_field::flow(2, law, [0.0, 0.3], exact(solver));
            let asked = Asked::new(Direction::Forward, 3, 2, 0);
            let mut flow = flow.with_gradient(replay(32));
            let (got, expected) = (asked.gradients(&flow), asked.differences(&mut flow));
            // Differences of an adaptive solve: 1e-9 over h = 1e-3.
            super::objective::assert_near(&format!("{law:?}"), &got, &expected, 1e-5);
        }
    }
}

#[test]
fn trajectories_in_one_dimension_never_cross() {
    let kernel = MlpField::new(1, 0, &[8, 8], Activation::Tanh, TimeInput::ConcatSquash).unwrap();
    let mut samples: Vec<f64> = normals(1000, &mut stream(7, "samples"));
    samples.sort_by(f64::total_cmp);
    samples.dedup();
    for solver in every(tolerance(1e-11), 300) {
        let mut rng = stream(6, "init");
        let field = Network::new(kernel.clone(), LastLayer::Random, &mut rng).unwrap();
        let mut flow = Continuous::new(field, [0.0, 2.0], exact(solver), exact(solver)).unwrap();
        perturb(&mut flow, 1.0, &mut rng).unwrap();
        for direction in [Direction::Forward, Direction::Inverse] {
            let (z, none) = (points(&samples), Context::none());
            let out = run(&flow, direction, &z, &none, &mut Tape::none()).unwrap();
            let (images, log_dets) = (out.value.values(), out.log_det.values());
            for index in 1..samples.len() {
                let (a, b) = (images[index - 1], images[index]);
                // Neighbours keep their order unless the gap of their images is within the error.
                let gap = (samples[index] - samples[index - 1]) * log_dets[index].exp();
                assert!(b > a || gap < 1e-9, "{solver:?} {direction:?}: {a} {b}, gap {gap:e}");
                assert!(b - a > -1e-9, "{solver:?} {direction:?}: {a} {b} crossed");
            }
            // And the flow does bend the line.
            let spread = log_dets.iter().fold(f64::NEG_INFINITY, |m, l| m.max(*l))
                - log_dets.iter().fold(f64::INFINITY, |m, l| m.min(*l));
            assert!(spread > 0.2, "{spread}");
        }
    }
}
