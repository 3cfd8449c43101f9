//! Continuous flows that cannot be solved end with a sentence, in every direction and soon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::num::NonZeroUsize;

use flows_continuous::{
    Accuracy, Adaptive, Continuous, ContinuousFlow, Divergence, EqualSteps, Hutchinson, MlpField,
    Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::parameters::Parameters;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{assert_error, is_complete};
use flows_core::{
    Architecture, Batch, Bijector, Context, Error, LastLayer, Mapped, Network, Real, Result, Tape,
    Values, normals, stream,
};

use super::objective::tape;

fn exact(solver: Solver) -> Accuracy {
    Accuracy { solver, divergence: Divergence::Exact }
}

fn dopri5(tolerance: f64) -> Solver {
    Solver::Dopri5(Adaptive::new(tolerance, tolerance))
}

fn network<E: Real>(hidden: &[usize]) -> Network<E, MlpField> {
    let kernel = MlpField::new(2, 0, hidden, Activation::Tanh, TimeInput::Concat).unwrap();
    Network::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap()
}

/// dz/dt = rate z on [0, 1].
fn linear<E: Real>(rate: f64, solver: Solver) -> Continuous<E> {
    let mut flow = Continuous::new(network(&[]), [0.0, 1.0], exact(solver), exact(solver)).unwrap();
    let result = flow.visit_mut(&mut |name, _, tensor| {
        let (rate, zero) = (E::of(rate), E::zero());
        // The last column is that of the time.
        let matrix = [rate, zero, zero, zero, rate, zero];
        let values = if name == "field.weight0" { &matrix[..] } else { &[zero; 2] };
        set_values(tensor, values)
    });
    result.unwrap();
    flow
}

fn points<E: Real>(rows: usize) -> Batch<E> {
    batch(normals(rows * 2, &mut stream(2, "points")), rows, 2).unwrap()
}

/// The result of each way of asking a flow for something.
fn all_ways<E: Real>(flow: &dyn Bijector<E>, z: &Batch<E>) -> Vec<(&'static str, Result<Vec<E>>)> {
    let none = Context::none();
    let values = |mapped: Result<Mapped<E>>| mapped.map(|m| m.value.values());
    vec![
        ("forward", values(flow.forward(z, &none, &mut tape(false)))),
        ("inverse", values(flow.inverse(z, &none, &mut tape(false)))),
        ("value", flow.image(z, &none).map(|m| m.0.values())),
        ("taped forward", values(flow.forward(z, &none, &mut tape(true)))),
        ("taped inverse", values(flow.inverse(z, &none, &mut tape(true)))),
    ]
}

/// Every way ends with an error that passes `check` and says all that its kind has to.
fn all_fail<E: Real>(
    flow: &dyn Bijector<E>,
    z: &Batch<E>,
    ways: &[&str],
    check: impl Fn(&Error) -> bool,
) {
    let mut asked = 0;
    for (way, result) in all_ways(flow, z) {
        if !ways.is_empty() && !ways.contains(&way) {
            continue;
        }
        asked += 1;
        let Err(error) = result else { panic!("{way} answered") };
        let sentence = error.to_string();
        assert!(check(&error), "{way}: {sentence}");
        is_complete(&error);
        assert!(!sentence.contains("NaN evaluations"), "{way}: {sentence}");
    }
    assert!(asked > 0);
}

fn is_stopped(error: &Error) -> bool {
    matches!(error, Error::Stopped { .. })
}

#[test]
fn a_stiff_field_is_reported_where_it_decays() {
    // Explicit steps are stable up to |rate| h = 3.3; within the bound on evaluations there are
    // sixteen thousand steps, a million would be needed.
    fn check<E: Real>(tolerance: f64) {
        let decays_forward = linear::<E>(-3e6, dopri5(tolerance));
        all_fail(&decays_forward, &points(3), &["forward", "value", "taped forward"], is_stopped);
        let decays_backward = linear::<E>(3e6, dopri5(tolerance));
        all_fail(&decays_backward, &points(3), &["inverse", "taped inverse"], is_stopped);
    }
    check::<f64>(1e-6);
    check::<f32>(1e-4);
}

#[test]
fn a_field_that_explodes_is_reported() {
    // exp(3e6) is no number of either precision.
    all_fail(
        &linear::<f64>(3e6, dopri5(1e-6)),
        &points(3),
        &["forward", "value", "taped forward"],
        is_stopped,
    );
    all_fail(
        &linear::<f32>(3e6, dopri5(1e-4)),
        &points(3),
        &["forward", "value", "taped forward"],
        is_stopped,
    );
    let steps = EqualSteps { steps: NonZeroUsize::new(200).unwrap() };
    // Each of 200 steps multiplies by 1e4: that is 1e800.
    for solver in [Solver::Euler(steps), Solver::Midpoint(steps), Solver::Rk4(steps)] {
        let ways = ["forward", "value", "taped forward"];
        all_fail(&linear::<f64>(2e6, solver), &points(3), &ways, is_stopped);
        all_fail(&linear::<f32>(2e6, solver), &points(3), &ways, is_stopped);
    }
}

#[test]
fn tolerances_of_zero_or_below_rounding_are_refused() {
    fn check<E: Real>(settings: Adaptive, named: &[&str]) {
        let (wrong, right) = (exact(Solver::Dopri5(settings)), exact(dopri5(1e-5)));
        for [training, reporting] in [[wrong, right], [right, wrong]] {
            let made = Continuous::new(network::<E>(&[]), [0.0, 1.0], training, reporting);
            let Err(Error::Parameter { name, .. }) = made else { panic!("{settings:?} was taken") };
            assert!(named.contains(&name), "{name}");
        }
    }
    for tolerance in [0.0, -1e-5, 1e-17, f64::NAN, f64::INFINITY] {
        check::<f64>(Adaptive::new(tolerance, tolerance), &["rtol", "atol"]);
    }
    check::<f32>(Adaptive::new(1e-9, 1e-9), &["rtol", "atol"]);
    let valid = Adaptive::new(1e-5, 1e-5);
    for step in [0.0, f64::NAN] {
        check::<f64>(Adaptive { first_step: Some(step), ..valid }, &["first_step"]);
    }
    check::<f64>(Adaptive { max_evaluations: 0, ..valid }, &["max_evaluations"]);
}

#[test]
fn an_interval_without_a_length_is_refused() {
    let accuracy = exact(dopri5(1e-6));
    for times in [[0.0, 0.0], [1.0, 1.0], [0.0, f64::NAN], [0.0, f64::INFINITY], [f64::NAN, 1.0]] {
        let result = Continuous::new(network::<f64>(&[4]), times, accuracy, accuracy);
        let named = ["length of the time interval", "finite and not 0"];
        assert_error!(result, Error::Parameter { .. }, [named[0], named[1]], "{times:?}");
    }
    let none = Divergence::Hutchinson(Hutchinson { probes: 0, ..Hutchinson::default() });
    let without = Accuracy { divergence: none, ..accuracy };
    assert_error!(
        Continuous::new(network::<f64>(&[4]), [0.0, 1.0], without, accuracy),
        Error::Parameter { .. },
        ["probes", "between 1 and 1000", "got 0"]
    );
    assert_error!(
        Continuous::new(network::<f64>(&[4]), [0.0, 1.0], accuracy, without),
        Error::Parameter { .. },
        ["probes", "between 1 and 1000", "got 0"]
    );
}

#[test]
fn rows_that_are_not_numbers_are_reported_and_not_waited_for() {
    let steps = EqualSteps { steps: NonZeroUsize::new(10).unwrap() };
    for odd in [f64::NAN, f64::INFINITY] {
        let mut values = points::<f64>(200).values();
        values[150 * 2] = odd;
        let z = batch(values, 200, 2).unwrap();
        for solver in [dopri5(1e-6), Solver::Rk4(steps), Solver::Euler(steps)] {
            let flow =
                Continuous::new(network(&[4]), [0.0, 1.0], exact(solver), exact(solver)).unwrap();
            all_fail(&flow, &z, &[], |error| match error {
                Error::Stopped { status, .. } => status.contains("not finite"),
                Error::NonFinite { .. } => true,
                _ => false,
            });
        }
    }
}

#[test]
fn the_bound_on_evaluations_ends_a_solve() {
    for max_evaluations in [1, 2, 7, 30] {
        let settings = Adaptive { max_evaluations, ..Adaptive::new(1e-10, 1e-10) };
        let flow = linear::<f64>(-4.0, Solver::Dopri5(settings));
        all_fail(&flow, &points(3), &[], |error| match error {
            Error::Stopped { status, advice, .. } => {
                status.contains("evaluations") && advice.contains("max_evaluations")
            }
            _ => false,
        });
    }
    // What is enough is not refused, and the work says how much that was.
    let settings = Adaptive { max_evaluations: 5000, ..Adaptive::new(1e-10, 1e-10) };
    let flow = linear::<f64>(-4.0, Solver::Dopri5(settings));
    let out = flow.forward(&points(3), &Context::none(), &mut Tape::none()).unwrap();
    assert!(out.work.field_evaluations <= 5000);
    let z = points::<f64>(3).values();
    for (got, start) in out.value.values().iter().zip(z) {
        assert!((got - start * (-4_f64).exp()).abs() < 1e-8);
    }
    assert!(out.log_det.values().iter().all(|l| (l + 8.0).abs() < 1e-8));
}

#[test]
fn an_empty_batch_is_mapped_to_an_empty_batch() {
    let flow = linear::<f64>(-1.0, dopri5(1e-6));
    for (way, result) in all_ways(&flow, &batch(Vec::new(), 0, 2).unwrap()) {
        assert_eq!(result.unwrap(), Vec::<f64>::new(), "{way}");
    }
}

#[test]
fn a_batch_of_another_width_is_an_error() {
    let flow = linear::<f64>(-1.0, dopri5(1e-6));
    for width in [1, 3] {
        let z = batch(vec![0.0; 2 * width], 2, width).unwrap();
        all_fail(&flow, &z, &[], |error| matches!(error, Error::Dimension { .. }));
    }
}

#[test]
fn an_end_time_that_is_not_positive_is_refused() {
    // Documented as > 0; a negative end would exchange the directions without a word.
    for end_time in [0.0, -1.0, f64::NAN] {
        let config = ContinuousFlow { end_time, ..ContinuousFlow::default() };
        assert_error!(
            config.build::<f64>(2, 0, &mut stream(1, "init")),
            Error::Parameter { .. },
            ["end_time", "positive and finite", &format!("got {end_time}")],
            "{end_time} was taken"
        );
    }
}
