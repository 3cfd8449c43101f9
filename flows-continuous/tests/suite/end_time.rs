//! The end of the interval: learned, and drawn at random in training.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, Continuous, Direction, GradientMethod, MlpField, Penalties, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{assert_error, is_complete};
use flows_core::{
    Bijector, Context, Error, LastLayer, Network, Parameters, Purpose, Tape, Values, normals,
    stream,
};

use super::objective::{
    Asked, adaptive, assert_near, exact, fixed, perceptron, replace, replay, run, tape, tolerance,
    truth, worst,
};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];
const END: f64 = 0.8;

const NO_PENALTY: Penalties = Penalties { kinetic: 0.0, frobenius: 0.0, hamilton_jacobi: 0.0 };
const PENALTIES: [Penalties; 2] =
    [NO_PENALTY, Penalties { kinetic: 0.4, frobenius: 0.3, hamilton_jacobi: 0.0 }];

/// A flow in training over [0, T] with ln T a parameter.
fn learned(accuracy: Accuracy, penalties: Penalties, gradient: GradientMethod) -> Continuous<f64> {
    let mut flow = perceptron((2, 1), TimeInput::ConcatSquash, [0.0, END], accuracy)
        .with_gradient(gradient)
        .with_penalties(penalties)
        .unwrap()
        .with_learned_end_time()
        .unwrap();
    flow.set_purpose(Purpose::Training).unwrap();
    flow
}

/// Both directions, with penalties and without.
fn each_case(test: impl Fn(&str, &Asked, &dyn Fn(Accuracy, GradientMethod) -> Continuous<f64>)) {
    for penalties in PENALTIES {
        for direction in DIRECTIONS {
            let asked = Asked::new(direction, 3, 2, 1);
            let what = format!("{penalties:?} {direction:?}");
            test(&what, &asked, &|accuracy, gradient| learned(accuracy, penalties, gradient));
        }
    }
}

#[test]
fn the_parameter_is_the_logarithm_of_the_end() {
    let accuracy = exact(Solver::RowWise(tolerance(1e-8)));
    let mut flow = learned(accuracy, NO_PENALTY, GradientMethod::default());
    let mut seen = Vec::new();
    flow.visit(&mut |name, _, tensor| {
        if name == "log_end_time" {
            seen = tensor.values();
        }
    });
    assert!((seen[0] - END.ln()).abs() < 1e-15 && seen.len() == 1, "{seen:?}");
    // Another end is the flow over another interval, in either purpose.
    replace(&mut flow, "log_end_time", &[1.3_f64.ln()]);
    let mut other = perceptron((2, 1), TimeInput::ConcatSquash, [0.0, 1.3], accuracy);
    for purpose in [Purpose::Training, Purpose::Reporting] {
        flow.set_purpose(purpose).unwrap();
        other.set_purpose(purpose).unwrap();
        for direction in DIRECTIONS {
            let asked = Asked::new(direction, 5, 2, 1);
            let none = &mut Tape::none();
            let (got, expected) = (asked.map(&flow, none), asked.map(&other, none));
            let pairs = got.value.values().into_iter().zip(expected.value.values());
            // exp(ln 1.3) is 1.3 but for rounding.
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
}

#[test]
fn gradients_of_equal_steps_are_exact() {
    each_case(|what, asked, build| {
        for (solver, _) in fixed(7) {
            let mut flow = build(exact(solver), replay(2));
            let expected = asked.differences(&mut flow);
            assert!(expected["log_end_time"][0].abs() > 1e-2, "the case does not test anything");
            // As for any other parameter: rounding and h^4 of the differences.
            assert_near(&format!("{what} {solver:?}"), &asked.gradients(&flow), &expected, 1e-8);
        }
    });
}

#[test]
fn gradients_of_chosen_steps_are_accurate_to_the_tolerance() {
    each_case(|what, asked, build| {
        let expected = asked.differences(&mut build(truth(), replay(32)));
        for size in [1e-6, 1e-9] {
            for solver in adaptive(tolerance(size)) {
                for gradient in [replay(1), replay(32), GradientMethod::Adjoint] {
                    let got = asked.gradients(&build(exact(solver), gradient));
                    let what = format!("{what} {solver:?} {gradient:?}");
                    // A hundred tolerances, and 1e-9 of the differences.
                    assert_near(&what, &got, &expected, 100.0 * size + 1e-9);
                }
            }
        }
    });
}

#[test]
fn adjoints_of_equal_steps_converge_with_the_order_of_the_method() {
    each_case(|what, asked, build| {
        let expected = asked.differences(&mut build(truth(), replay(32)));
        let error = |solver| {
            let got = asked.gradients(&build(exact(solver), GradientMethod::Adjoint));
            worst(&got, &expected).0
        };
        for ((coarse, order), (fine, _)) in fixed(20).into_iter().zip(fixed(40)) {
            let seen = (error(coarse) / error(fine)).log2();
            assert!((seen - f64::from(order)).abs() < 0.4, "{what}: {seen} {order}");
        }
    });
}

#[test]
fn an_interval_that_does_not_start_at_zero_has_no_learned_end() {
    for times in [[0.1, 1.0], [0.0, -1.0], [1.0, 0.0]] {
        let flow = perceptron((2, 0), TimeInput::Concat, times, truth());
        assert_error!(
            flow.with_learned_end_time(),
            Error::Parameter { .. },
            ["starting time", "must be 0, and below the end time", &format!("got {}", times[0])],
            "{times:?}"
        );
    }
    for fraction in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
        let flow = perceptron((2, 0), TimeInput::Concat, [0.0, 1.0], truth());
        assert_error!(
            flow.with_jitter(fraction),
            Error::Parameter { .. },
            ["jitter of the end time", "at least 0 and below 1", &format!("got {fraction}")],
            "{fraction}"
        );
    }
}

/// dz/dt = 0.5 z in one dimension over an interval: the log-det is half its length.
fn growing(times: [f64; 2], jitter: f64) -> Continuous<f64> {
    let accuracy = exact(Solver::RowWise(tolerance(1e-10)));
    let kernel = MlpField::new(1, 0, &[], Activation::Tanh, TimeInput::None).unwrap();
    let field = Network::new(kernel, LastLayer::Zero, &mut stream(1, "init")).unwrap();
    let flow = Continuous::new(field, times, accuracy, accuracy).unwrap();
    let mut flow = flow.with_jitter(jitter).unwrap();
    replace(&mut flow, "field.weight0", &[0.5]);
    flow
}

/// The length of the interval that a flow follows at present, from its log-dets.
fn length(flow: &Continuous<f64>, traced: bool) -> f64 {
    let z = batch(normals(3, &mut stream(4, "z")), 3, 1).unwrap();
    let none = Context::none();
    let out = flow.forward(&z, &none, &mut tape(traced)).unwrap();
    let (value, log_det) = (out.value, out.log_det);
    let length = 2.0 * log_det.values()[0];
    assert!(log_det.values().iter().all(|l| (2.0 * l - length).abs() < 1e-9));
    for (x, z) in value.values().iter().zip(z.values()) {
        assert!((x - z * (0.5 * length).exp()).abs() < 1e-8, "{x} {z}");
    }
    // The inverse follows the same interval.
    let back = flow.inverse(&value, &none, &mut Tape::none()).unwrap();
    assert!(back.value.values().iter().zip(z.values()).all(|(b, z)| (b - z).abs() < 1e-8));
    assert!(back.log_det.values().iter().all(|l| (2.0 * l + length).abs() < 1e-9));
    length
}

#[test]
fn jitter_changes_the_length_of_a_training_step_within_its_fraction() {
    for times in [[0.0, 2.0], [0.5, 2.5], [-1.0, 1.0]] {
        let (fraction, draws) = (0.3, 300);
        let mut flow = growing(times, fraction);
        let mut rng = stream(9, "probes");
        let mut seen = Vec::new();
        for _ in 0..draws {
            flow.begin_step(&mut rng).unwrap();
            flow.set_purpose(Purpose::Training).unwrap();
            let now = length(&flow, true);
            assert!((now - length(&flow, false)).abs() < 1e-9);
            assert_eq!(now, length(&flow, true), "fixed within the step");
            flow.set_purpose(Purpose::Reporting).unwrap();
            assert!((length(&flow, false) - 2.0).abs() < 1e-9, "reporting has no jitter");
            flow.set_purpose(Purpose::Training).unwrap();
            assert!((length(&flow, true) - 2.0).abs() < 1e-9, "a change belongs to its step");
            seen.push(now / 2.0 - 1.0);
        }
        // Uniform on [-0.3, 0.3]: mean 0 and variance 0.03, that of x^2 (1/5 - 1/9) 0.3^4.
        assert!(seen.iter().all(|d| d.abs() <= fraction + 1e-9));
        let (n, mean) = (draws as f64, seen.iter().sum::<f64>() / draws as f64);
        assert!(mean.abs() < 4.0 * (0.03 / n).sqrt(), "{mean}");
        let square = seen.iter().map(|d| d * d).sum::<f64>() / n;
        let allowed = 4.0 * (4.0 / 45.0 * 0.3_f64.powi(4) / n).sqrt();
        assert!((square - 0.03).abs() < allowed, "{square} +- {allowed}");
        // Both ends of the range are reached: the chance to miss a tenth is 0.95^300.
        assert!(seen.iter().any(|d| *d > 0.27) && seen.iter().any(|d| *d < -0.27));
    }
}

#[test]
fn without_jitter_and_before_the_first_draw_training_keeps_the_interval() {
    let mut still = growing([0.0, 2.0], 0.0);
    still.set_purpose(Purpose::Training).unwrap();
    for seed in 0..3 {
        still.begin_step(&mut stream(seed, "probes")).unwrap();
        assert!((length(&still, true) - 2.0).abs() < 1e-9);
    }
    let mut flow = growing([0.0, 2.0], 0.3);
    flow.set_purpose(Purpose::Training).unwrap();
    assert!((length(&flow, true) - 2.0).abs() <= 0.6 + 1e-9);
}

#[test]
fn a_learned_end_that_is_jittered_has_the_gradient_of_what_was_followed() {
    let build = |solver, gradient| {
        let penalties = PENALTIES[1];
        let mut flow = perceptron((2, 1), TimeInput::Concat, [0.0, END], exact(solver))
            .with_gradient(gradient)
            .with_penalties(penalties)
            .unwrap()
            .with_learned_end_time()
            .unwrap()
            .with_jitter(0.4)
            .unwrap();
        flow.set_purpose(Purpose::Training).unwrap();
        flow.begin_step(&mut stream(12, "probes")).unwrap();
        flow
    };
    for direction in DIRECTIONS {
        let asked = Asked::new(direction, 3, 2, 1);
        let expected = asked.differences(&mut build(truth().solver, replay(32)));
        for solver in adaptive(tolerance(1e-9)) {
            for gradient in [replay(2), GradientMethod::Adjoint] {
                let got = asked.gradients(&build(solver, gradient));
                let what = format!("{direction:?} {solver:?} {gradient:?}");
                assert_near(&what, &got, &expected, 1e-7);
            }
        }
        for (solver, _) in fixed(7) {
            let mut flow = build(solver, replay(2));
            let expected = asked.differences(&mut flow);
            assert_near(
                &format!("{direction:?} {solver:?}"),
                &asked.gradients(&flow),
                &expected,
                1e-8,
            );
        }
    }
}

#[test]
fn an_end_that_was_trained_away_is_the_identity_or_an_error() {
    let solvers = adaptive(tolerance(1e-6)).into_iter().chain(fixed(5).map(|(solver, _)| solver));
    for solver in solvers {
        for gradient in [replay(32), GradientMethod::Adjoint] {
            for log_end in [-1000.0, -745.0, -50.0, 710.0, 1000.0, f64::NAN] {
                let mut flow = learned(exact(solver), PENALTIES[1], gradient);
                replace(&mut flow, "log_end_time", &[log_end]);
                for direction in DIRECTIONS {
                    let asked = Asked::new(direction, 3, 2, 1);
                    let what = format!("{solver:?} {gradient:?} {log_end} {direction:?}");
                    for traced in [false, true] {
                        let Asked { input, context, .. } = &asked;
                        match run(&flow, direction, input, context, &mut tape(traced)) {
                            Ok(out) => {
                                assert!(log_end < 0.0, "{what} answered");
                                assert_eq!(out.value.values(), input.values(), "{what}");
                            }
                            Err(error) => {
                                is_complete(&error);
                            }
                        }
                    }
                }
            }
        }
    }
}
