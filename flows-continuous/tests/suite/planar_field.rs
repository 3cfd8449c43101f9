//! The continuous planar flow against its formula.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::PlanarField;
use flows_core::Error;
use flows_core::operation::LANES;
use flows_core::testing::assert_error;

use crate::field_case::{Case, assert_near};

/// sum of sigmoid(g t + c) u tanh(w . z + v . context + b)
fn plain(parameters: &[Vec<f64>], z: &[f64], t: f64, context: &[f64]) -> Vec<f64> {
    let [weight, bias, slope, shift, direction] = parameters else { unreachable!("five tensors") };
    let inputs = [z, context].concat();
    let mut velocity = vec![0.0; z.len()];
    for m in 0..bias.len() {
        let row = &weight[m * inputs.len()..];
        let argument: f64 = bias[m] + inputs.iter().zip(row).map(|(x, w)| x * w).sum::<f64>();
        let gate = 1.0 / (1.0 + (-slope[m] * t - shift[m]).exp());
        for (i, v) in velocity.iter_mut().enumerate() {
            *v += gate * argument.tanh() * direction[i * bias.len() + m];
        }
    }
    velocity
}

fn cases(tangents: usize) -> [Case; 3] {
    [(3, 2, 5), (1, 0, 3), (4, 1, 1)].map(|(dim, context, width)| {
        Case::new(PlanarField::new(dim, context, width).unwrap(), tangents, 11 + width as u64)
    })
}

#[test]
fn the_velocity_is_that_of_the_formula() {
    for case in cases(0) {
        case.check_velocity(1e-14, plain);
    }
}

#[test]
fn tangents_are_those_of_differences() {
    for case in cases(2) {
        case.check_tangents();
    }
}

#[test]
fn the_closed_trace_is_that_of_the_jacobian() {
    for case in cases(0) {
        let case = case.asking(Vec::new());
        let (velocity, trace) = (case.velocity(), case.evaluate().split_off(case.dim() * LANES));
        assert_eq!(case.evaluate()[..velocity.len()], velocity);
        assert_near("trace", &trace, &case.trace(), 1e-10);
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for tangents in [0, 2] {
        cases(tangents).iter().for_each(Case::check_gradients);
    }
    for case in cases(0) {
        case.asking(Vec::new()).check_gradients();
    }
}

#[test]
fn single_precision_follows_double() {
    for case in cases(2) {
        // A few dozen roundings in a row.
        case.check_single(100.0);
        case.plain_case().asking(Vec::new()).check_single(100.0);
    }
}

#[test]
fn widths_of_nothing_are_refused() {
    assert_error!(PlanarField::new(0, 0, 1), Error::Parameter { .. }, ["dimension", "at least 1"]);
    assert_error!(PlanarField::new(1, 0, 0), Error::Parameter { .. }, ["width", "at least 1"]);
}
