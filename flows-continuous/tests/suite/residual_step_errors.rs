//! Residual steps that cannot be built, run or inverted are errors that say why.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use flows_continuous::{PotentialField, ResidualSteps};
use flows_core::parameters::Parameters;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::assert_error;
use flows_core::{Batch, Bijector, Context, Direction, Error, Real, Tape, Values};

use crate::objective::{run, tape};

use super::residual_steps::{TIMES, count, inverse, layers, linear, network, perceptron, points};

#[test]
fn a_field_too_steep_to_invert_is_reported() {
    // z' = z + h rate z: the fixed point overflows for h rate = 3, and never ends for 1, where it
    // goes to and fro between two values.
    fn check<E: Real>(rate: f64, bound: u64) {
        let field = linear::<E>(&[rate, 0.0, 0.0, rate]);
        let steps = ResidualSteps::new(field.clone(), [0.0, 1.0], count(1)).unwrap();
        let mut values = vec![E::zero(); 2 * 200];
        values[2 * 150] = E::one();
        let x = batch(values, 200, 2).unwrap();
        let none = Context::none();
        for traced in [false, true] {
            match steps.inverse(&x, &none, &mut tape(traced)).unwrap_err() {
                Error::NotConverged { row, residual, iterations, advice, .. } => {
                    assert_eq!(row, 150);
                    assert!(residual.is_finite() && residual >= 0.9, "{residual}");
                    assert!(iterations <= bound, "{iterations}");
                    assert!(advice.contains("take more steps"), "{advice}");
                }
                other => panic!("{other}"),
            }
        }
        // What the advice says: with h rate = 0.1, the inverse of (1 + h rate)^n.
        let more = ResidualSteps::new(field, [0.0, 1.0], count((10.0 * rate) as usize));
        inverse(&more.unwrap(), &x, &none);
    }
    check::<f32>(1.0, 1000);
    check::<f64>(1.0, 1000);
    // 3^n exceeds the largest number of f32 at 81, of f64 at 647.
    check::<f32>(3.0, 82);
    check::<f64>(3.0, 648);
}

#[test]
fn what_is_not_a_number_is_reported() {
    let steps = layers::<f64>(2, 0, 3);
    for odd in [f64::NAN, f64::INFINITY] {
        let mut values = points::<f64>(200, 2, 1).values();
        values[2 * 150 + 1] = odd;
        let z = batch(values, 200, 2).unwrap();
        let (none, tape) = (Context::none(), &mut Tape::none());
        let results = [
            steps.forward(&z, &none, tape).err(),
            steps.inverse(&z, &none, tape).err(),
            steps.image(&z, &none).err(),
        ];
        for error in results {
            assert!(matches!(error, Some(Error::NonFinite { row: 150, .. })), "{error:?}");
        }
    }
    let mut field = network::<f64, _>(perceptron(2, 0));
    let poison = &mut |name: &str, _, tensor: &mut Batch<f64>| {
        let size = tensor.values().len();
        if name == "bias0" { set_values(tensor, &vec![f64::NAN; size]) } else { Ok(()) }
    };
    field.visit_mut(poison).unwrap();
    let broken = ResidualSteps::new(field, TIMES, count(3)).unwrap();
    for direction in [Direction::Forward, Direction::Inverse] {
        let (z, none) = (points(3, 2, 1), Context::none());
        assert_error!(
            run(&broken, direction, &z, &none, &mut Tape::none()),
            Error::NonFinite { row: 0, .. },
            ["residual step"],
            "{direction:?}"
        );
    }
}

#[test]
fn what_cannot_be_run_as_layers_is_refused() {
    let potential = network::<f64, _>(PotentialField::new(2, 0, 4, 1).unwrap());
    let error = ResidualSteps::new(potential, TIMES, count(3)).unwrap_err().to_string();
    assert!(error.contains("potential") && error.contains("`Continuous`"), "{error}");
    for times in [[0.0, 0.0], [0.0, f64::NAN], [f64::NEG_INFINITY, 0.0]] {
        assert_error!(
            ResidualSteps::new(network::<f64, _>(perceptron(2, 0)), times, count(3)),
            Error::Parameter { .. },
            ["length of the time interval"]
        );
    }
    let many = ResidualSteps::new(network::<f64, _>(perceptron(2, 0)), TIMES, count(1_000_001));
    assert_error!(
        many,
        Error::Parameter { .. },
        ["steps of the solver", "at most 1000000", "got 1000001"]
    );
    let steps = layers::<f64>(2, 1, 3);
    let none = &mut Tape::none();
    assert_error!(
        steps.forward(&points(3, 2, 1), &Context::none(), none),
        Error::Dimension { op: "context of residual steps", expected: 1, got: 0 }
    );
    assert_error!(
        steps.forward(&points(3, 3, 1), &Context::of(points(3, 1, 1)), none),
        Error::Dimension { op: "residual steps", expected: 2, got: 3 }
    );
    let empty = inverse(&steps, &points(0, 2, 1), &Context::of(points(0, 1, 1)));
    assert_eq!(empty.value.values(), Vec::<f64>::new());
}
