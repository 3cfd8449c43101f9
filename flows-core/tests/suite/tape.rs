//! The tape: entries in reverse order, their errors, and gradients that add up.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::{Arc, Mutex};

use flows_core::rowwise::{gradient_of_mean, mean, negated, scaled, sum, weighted};
use flows_core::tensor::{batch, per_row};
use flows_core::{Error, Gradients, Tape, Values, custom_gradient};

fn failure(quantity: &'static str) -> Error {
    Error::NonFinite { quantity, row: 3, advice: "none" }
}

#[test]
fn entries_run_in_reverse_order_after_the_start() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut tape = Tape::<f64>::recording();
    assert!(tape.is_recording());
    for entry in 1..=3 {
        let seen = Arc::clone(&seen);
        tape.record(move |_| {
            seen.lock().unwrap().push(entry);
            Ok(())
        });
    }
    assert!(seen.lock().unwrap().is_empty(), "an entry ran before its time");
    let start = |_: &mut Gradients<f64>| {
        seen.lock().unwrap().push(4);
        Ok(())
    };
    tape.backward(start).unwrap();
    assert_eq!(*seen.lock().unwrap(), [4, 3, 2, 1]);
}

#[test]
fn the_first_error_is_returned_and_ends_the_pass() {
    let calls = Arc::new(Mutex::new(0));
    let tape = || {
        let mut tape = Tape::<f64>::recording();
        let calls = Arc::clone(&calls);
        tape.record(move |_| {
            *calls.lock().unwrap() += 1;
            Ok(())
        });
        tape.record(|_| Err(failure("the second entry")));
        tape.record(|_| Err(failure("the third entry")));
        tape
    };
    let error = tape().backward(|_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("the third entry"), "{error}");
    let error = tape().backward(|_| Err(failure("the start"))).unwrap_err();
    assert!(error.to_string().contains("the start"), "{error}");
    assert_eq!(*calls.lock().unwrap(), 0, "an entry before the one that failed");
}

#[test]
fn a_tape_that_does_not_record_calls_nothing() {
    let mut tape = Tape::<f64>::none();
    assert!(!tape.is_recording());
    tape.record(|_| Err(failure("an entry")));
    let x = batch(vec![1.0, 2.0], 2, 1).unwrap();
    let twice =
        custom_gradient(&[&x], (vec![2.0, 4.0], 2, 1), |g| vec![g.to_vec()], &mut tape).unwrap();
    let mut gradients = tape.backward(|gradients| gradients.add(&twice, &[1.0, 1.0])).unwrap();
    assert_eq!(gradients.take(&x).unwrap(), [0.0, 0.0]);
    assert_eq!(gradients.take(&twice).unwrap(), [1.0, 1.0], "what the start wrote");
}

#[test]
fn gradients_start_at_zero_and_belong_to_a_tensor_and_its_clones() {
    let (x, y) = (batch(vec![5.0; 6], 2, 3).unwrap(), per_row(vec![5.0; 6]).unwrap());
    let mut gradients = Gradients::<f64>::new();
    assert_eq!(gradients.of(&x).unwrap(), [0.0; 6]);
    gradients.add(&x, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    gradients.add(&x.clone(), &[10.0; 6]).unwrap();
    gradients.of(&x).unwrap()[0] += 100.0;
    assert_eq!(gradients.of(&y).unwrap(), [0.0; 6], "another tensor of the same values");
    assert_eq!(gradients.take(&x).unwrap(), [111.0, 12.0, 13.0, 14.0, 15.0, 16.0]);
}

#[test]
fn gradients_of_a_tensor_that_is_used_twice_add_up() {
    // y = 2 x and z = x^2 - 3 y + x: dz/dx = 2 x - 6 + 1.
    let x = per_row(vec![1.0, -2.0, 0.5]).unwrap();
    let values = x.values();
    let mut tape = Tape::recording();
    let y = scaled(x.clone(), 2.0, &mut tape).unwrap();
    // The gradient of x^2 by its two factors, each held in turn.
    let square = weighted(x.clone(), values.clone(), &mut tape).unwrap();
    let other = weighted(x.clone(), values.clone(), &mut tape).unwrap();
    let half = per_row(values.iter().map(|x| -x * x).collect()).unwrap();
    let y = negated(scaled(y, 3.0, &mut tape).unwrap(), &mut tape).unwrap();
    let z = sum(vec![square, other, half, y, x.clone()], &mut tape).unwrap();
    let plain: f64 = values.iter().map(|x| x * x - 6.0 * x + x).sum::<f64>() / 3.0;
    assert!((mean(&z) - plain).abs() < 1e-15);
    let mut gradients = gradient_of_mean(-1.0, &z, tape).unwrap();
    for (got, x) in gradients.take(&x).unwrap().iter().zip(values) {
        let expected = -(2.0 * x - 5.0) / 3.0;
        assert!((got - expected).abs() < 1e-15, "{got} {expected}");
    }
}

#[test]
fn values_that_differ_in_length_have_no_sum() {
    let terms = vec![per_row(vec![1.0; 2]).unwrap(), per_row(vec![1.0; 3]).unwrap()];
    let error = sum(terms, &mut Tape::<f64>::recording()).unwrap_err();
    assert!(matches!(error, Error::Rows { expected: 2, got: 3, .. }), "{error}");
}
