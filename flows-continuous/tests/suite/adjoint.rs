//! Gradients of a solve, by replay and by the continuous adjoint, against differences.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, Continuous, Direction, Divergence, Fourier, GradientMethod, Hutchinson, Probe,
    Solver, TimeInput,
};
use flows_core::testing::{golden, is_complete};
use flows_core::{Bijector, Error, stream};

use super::golden;
use super::objective::{
    Asked, Gradients, adaptive, assert_near, exact, fixed, perceptron, replay, tolerance, truth,
    worst,
};

const TIMES: [f64; 2] = [0.1, 0.9];
const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

/// Ways for the time to enter, with a number of features and of conditioning ones.
const FIELDS: [(TimeInput, (usize, usize)); 5] = [
    (TimeInput::None, (2, 1)),
    (TimeInput::Concat, (2, 0)),
    (TimeInput::ConcatSquash, (2, 2)),
    (TimeInput::Fourier(Fourier { frequencies: 2 }), (2, 1)),
    (TimeInput::ConcatSquash, (1, 0)),
];

/// Every field in both directions, with three rows.
fn each_case(test: impl Fn(&str, &Asked, &dyn Fn(Accuracy) -> Continuous<f64>)) {
    for (time, dims) in FIELDS {
        for direction in DIRECTIONS {
            let asked = Asked::new(direction, 3, dims.0, dims.1);
            let what = format!("{time:?} {dims:?} {direction:?}");
            test(&what, &asked, &|accuracy| perceptron(dims, time, TIMES, accuracy));
        }
    }
}

/// The gradients of a replay, the same with any number of checkpoints: to the last bit where the
/// replay takes the very steps of the solve, and to rounding where the solve was that of the package,
/// whose sums are in another order.
fn replayed(
    asked: &Asked,
    build: &dyn Fn(Accuracy) -> Continuous<f64>,
    accuracy: Accuracy,
) -> Gradients {
    let all = [1, 2, 32, 1000]
        .map(|count| asked.gradients(&build(accuracy).with_gradient(replay(count))));
    let rounding = match accuracy.solver {
        Solver::Dopri5(_) => 1e-13,
        // Coefficients of up to 43 that cancel.
        Solver::Dop853(_) => 1e-11,
        _ => 0.0,
    };
    for (count, other) in [2, 32, 1000].iter().zip(&all[1..]) {
        assert_near(&format!("{accuracy:?}: 1 and {count} checkpoints"), other, &all[0], rounding);
    }
    let [first, ..] = all;
    first
}

#[test]
fn replays_of_equal_steps_are_the_gradients_of_the_discrete_map() {
    each_case(|what, asked, build| {
        for (solver, _) in fixed(7) {
            let got = replayed(asked, build, exact(solver));
            let expected = asked.differences(&mut build(exact(solver)));
            // Differences of a smooth function: rounding of 1e-15 / h = 1e-12 and h^4 / 30 times
            // fifth derivatives, which the fourier features (2 pi 2)^5 = 3e5 could raise to 1e-8.
            assert_near(&format!("{what} {solver:?}"), &got, &expected, 1e-8);
        }
    });
}

#[test]
fn replays_of_chosen_steps_are_the_gradients_of_the_flow() {
    each_case(|what, asked, build| {
        let expected = asked.differences(&mut build(truth()));
        for solver in adaptive(tolerance(1e-9)) {
            let got = replayed(asked, build, exact(solver));
            // A hundred tolerances: the gradient is that of a solve that is off by the tolerance.
            assert_near(&format!("{what} {solver:?}"), &got, &expected, 1e-7);
        }
    });
}

#[test]
fn replays_of_many_rows_do_not_depend_on_the_checkpoints() {
    for direction in DIRECTIONS {
        let asked = Asked::new(direction, 300, 2, 1);
        let build = |accuracy| perceptron((2, 1), TimeInput::ConcatSquash, TIMES, accuracy);
        for solver in adaptive(tolerance(1e-7)) {
            replayed(&asked, &build, exact(solver));
        }
        replayed(&asked, &build, exact(fixed(9)[4].0));
    }
}

#[test]
fn adjoints_of_chosen_steps_are_accurate_to_the_tolerance() {
    each_case(|what, asked, build| {
        let expected = asked.differences(&mut build(truth()));
        for size in [1e-4, 1e-6, 1e-8, 1e-10] {
            for solver in adaptive(tolerance(size)) {
                let flow = build(exact(solver)).with_gradient(GradientMethod::Adjoint);
                // A hundred tolerances, and what the differences themselves may be off by: 1e-12
                // of the truth over h = 1e-3.
                let allowed = 100.0 * size + 1e-9;
                assert_near(
                    &format!("{what} {solver:?}"),
                    &asked.gradients(&flow),
                    &expected,
                    allowed,
                );
            }
        }
    });
}

#[test]
fn adjoints_of_equal_steps_converge_with_the_order_of_the_method() {
    for direction in DIRECTIONS {
        let asked = Asked::new(direction, 3, 2, 2);
        let build = |accuracy| perceptron((2, 2), TimeInput::ConcatSquash, TIMES, accuracy);
        let expected = asked.differences(&mut build(truth()));
        let error = |solver| {
            let flow = build(exact(solver)).with_gradient(GradientMethod::Adjoint);
            worst(&asked.gradients(&flow), &expected).0
        };
        for ((coarse, order), (fine, _)) in fixed(20).into_iter().zip(fixed(40)) {
            let (coarse, fine) = (error(coarse), error(fine));
            // With half the step the error falls by 2^order, up to terms of the next order in
            // h = 0.04 with factors of order ten.
            let seen = (coarse / fine).log2();
            assert!((seen - f64::from(order)).abs() < 0.4, "{seen} {order}: {coarse:e} {fine:e}");
        }
    }
}

#[test]
fn the_adjoint_of_an_estimated_log_det_is_that_of_the_estimate() {
    for distribution in [Probe::Rademacher, Probe::Gaussian, Probe::Orthogonal] {
        for direction in DIRECTIONS {
            let asked = Asked::new(direction, 3, 3, 1);
            let build = |solver| {
                let estimate = Hutchinson { probes: 2, distribution };
                let accuracy = Accuracy { solver, divergence: Divergence::Hutchinson(estimate) };
                let mut flow = perceptron((3, 1), TimeInput::Concat, TIMES, accuracy);
                flow.begin_step(&mut stream(3, "probes")).unwrap();
                flow
            };
            let expected = asked.differences(&mut build(truth().solver));
            for solver in adaptive(tolerance(1e-8)) {
                for method in [replay(2), GradientMethod::Adjoint] {
                    let got = asked.gradients(&build(solver).with_gradient(method));
                    let what = format!("{distribution:?} {direction:?} {solver:?} {method:?}");
                    assert_near(&what, &got, &expected, 100.0 * 1e-8);
                }
            }
        }
    }
}

#[test]
fn golden_mlp_ode_by_adjoint() {
    for case in golden("mlp_ode") {
        for solver in adaptive(tolerance(1e-9)) {
            let flow = golden::mlp_flow(&case, exact(solver), exact(solver));
            golden::check_gradients(&flow.with_gradient(GradientMethod::Adjoint), &case);
        }
        // Equal steps of h = 1/200 with the method of order 4: h^4 = 6e-10 and factors of order one.
        let flow = golden::mlp_flow(&case, exact(fixed(200)[4].0), exact(fixed(200)[4].0));
        golden::check_gradients(&flow.with_gradient(GradientMethod::Adjoint), &case);
    }
}

#[test]
fn an_adjoint_that_cannot_be_integrated_is_an_error() {
    // Forwards dz/dt = -rate (z - 1) forgets where it started; backwards it multiplies the error of
    // the end by exp(2000), which is no number.
    for solver in adaptive(tolerance(1e-6)) {
        let law = super::elementwise_field::Law::Relax(2000.0);
        let (flow, calls) = super::elementwise_field::flow(2, law, [0.0, 1.0], exact(solver));
        let flow = flow.with_gradient(GradientMethod::Adjoint);
        let asked = Asked::new(Direction::Forward, 3, 2, 0);
        let before = calls.count();
        let error = asked.try_gradients(&flow).unwrap_err();
        assert!(matches!(error, Error::Stopped { .. }), "{solver:?}: {error}");
        is_complete(&error);
        // The forward solve and the backward one are bounded each.
        assert!(calls.count() - before <= 2 * 100_000, "{solver:?}: {}", calls.count());
        // A replay has nothing to undo: d value / d input = exp(-2000) = 0.
        let got = asked.gradients(&flow.with_gradient(replay(32)));
        assert!(got["input"].iter().all(|g| g.abs() < 1e-6), "{solver:?}: {:?}", got["input"]);
    }
}
