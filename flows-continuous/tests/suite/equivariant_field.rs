//! The equivariant field against its formula, and its symmetries.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::EquivariantField;
use flows_core::Error;
use flows_core::operation::LANES;
use flows_core::testing::assert_error;

use crate::field_case::{Case, assert_near};

/// sum over j of phi(|x_i - x_j|^2, t) (x_i - x_j)
fn plain(space: usize, parameters: &[Vec<f64>], state: &[f64], t: f64) -> Vec<f64> {
    let [weight, slope, centre, sharpness] = parameters else { unreachable!("four tensors") };
    let phi = |q: f64| -> f64 {
        let rho = (1.0 + q).sqrt() - 1.0;
        let bell = |k: usize| (-0.5 * (sharpness[k] * (rho - centre[k])).powi(2)).exp();
        (0..weight.len()).map(|k| (weight[k] + slope[k] * t) * bell(k)).sum()
    };
    // A particle exerts no force on itself: x_i - x_i = 0.
    let pull = |x: &[f64], y: &[f64], axis: usize| {
        phi(x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum()) * (x[axis] - y[axis])
    };
    let particles = || state.chunks(space);
    let axes = |x| (0..space).map(move |axis| (x, axis));
    let each = particles().flat_map(axes);
    each.map(|(x, axis)| particles().map(|y| pull(x, y, axis)).sum()).collect()
}

const SIZES: [(usize, usize, usize); 4] = [(3, 2, 4), (1, 1, 2), (2, 1, 1), (4, 3, 2)];

fn cases(tangents: usize) -> [Case; 4] {
    SIZES.map(|(particles, space, functions)| {
        let field = EquivariantField::new(particles, space, functions).unwrap();
        Case::new(field, tangents, 20 + particles as u64)
    })
}

/// Cases in which particles act on each other, so that every parameter has a gradient.
fn acting(tangents: usize) -> impl Iterator<Item = Case> {
    cases(tangents).into_iter().filter(|case| case.dim() > 1)
}

#[test]
fn the_velocity_is_that_of_the_formula() {
    for (case, (_, space, _)) in cases(0).iter().zip(SIZES) {
        case.check_velocity(1e-14, |parameters, z, t, _| plain(space, parameters, z, t));
    }
}

#[test]
fn a_particle_alone_stays() {
    let [_, case, ..] = cases(1);
    assert!(case.evaluate().iter().all(|&v| v == 0.0));
    assert!(case.plain_case().asking(Vec::new()).evaluate().iter().all(|&v| v == 0.0));
    case.check_gradients();
}

#[test]
fn tangents_are_those_of_differences() {
    cases(2).iter().for_each(Case::check_tangents);
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
    acting(0).for_each(|case| case.asking(Vec::new()).check_gradients());
}

#[test]
fn particles_that_meet_are_no_edge() {
    for (mut case, (particles, space, _)) in cases(1).into_iter().zip(SIZES) {
        if particles < 2 {
            continue;
        }
        // The values of the first particle, but not its tangents, are given to the last.
        let block = space * 2 * LANES;
        let (first, rest) = case.state.split_at_mut(block);
        let last = rest.chunks_mut(2 * LANES).skip((particles - 2) * space);
        for (first, last) in first.chunks(2 * LANES).zip(last) {
            last[..LANES].copy_from_slice(&first[..LANES]);
        }
        case.check_tangents();
        case.check_gradients();
        let case = case.plain_case().asking(Vec::new());
        assert_near("trace", &case.evaluate()[case.dim() * LANES..], &case.trace(), 1e-10);
        case.check_gradients();
    }
}

#[test]
fn single_precision_follows_double() {
    for case in cases(2) {
        // A few dozen roundings in a row, over up to six pairs.
        case.check_single(200.0);
        case.plain_case().asking(Vec::new()).check_single(200.0);
    }
}

/// Replaces the position of each particle of each lane.
fn mapped(case: &Case, map: impl Fn(&[f64]) -> Vec<f64>) -> Case {
    let mut moved = case.clone();
    for lane in 0..LANES {
        let (state, ..) = case.row(lane);
        for (feature, value) in map(&state).into_iter().enumerate() {
            moved.state[feature * LANES + lane] = value;
        }
    }
    moved
}

/// The rotation of the first two axes by 0.7 behind the exchange of the first and the last.
fn turned(x: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    let last = y.len() - 1;
    y.swap(0, last);
    if last > 0 {
        let (sin, cos) = 0.7_f64.sin_cos();
        (y[0], y[1]) = (cos * y[0] - sin * y[1], sin * y[0] + cos * y[1]);
    }
    y
}

/// A velocity, feature by feature, as a case's state and back.
fn mapped_rows(case: &Case, rows: Vec<f64>, map: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    mapped(&Case { state: rows, ..case.clone() }, map).state
}

#[test]
fn the_field_is_equivariant_and_its_trace_invariant() {
    for (case, (_, space, _)) in cases(0).into_iter().zip(SIZES) {
        let case = case.asking(Vec::new());
        let out = case.evaluate();
        let (velocity, trace) = out.split_at(case.dim() * LANES);
        let shift =
            |x: &[f64]| x.iter().enumerate().map(|(i, x)| x + (i % space) as f64 - 0.3).collect();
        let turn = |x: &[f64]| x.chunks(space).flat_map(turned).collect::<Vec<f64>>();
        let permute = |x: &[f64]| [&x[space..], &x[..space]].concat();
        let expected = [
            velocity.to_vec(),
            mapped_rows(&case, velocity.to_vec(), turn),
            mapped_rows(&case, velocity.to_vec(), permute),
        ];
        let moved = [mapped(&case, shift), mapped(&case, turn), mapped(&case, permute)];
        for ((moved, expected), what) in
            moved.iter().zip(expected).zip(["shift", "turn", "permute"])
        {
            let got = moved.evaluate();
            assert_near(what, &got[..velocity.len()], &expected, 1e-14);
            assert_near(what, &got[velocity.len()..], trace, 1e-13);
        }
        // The centre of mass rests.
        for lane in 0..LANES {
            let (rows, ..) = Case { state: velocity.to_vec(), ..case.clone() }.row(lane);
            for axis in 0..space {
                let sum: f64 = rows.iter().skip(axis).step_by(space).sum();
                assert!(sum.abs() < 1e-14 * case.dim() as f64, "{sum:e}");
            }
        }
    }
}

#[test]
fn counts_of_nothing_are_refused() {
    for ([particles, space, functions], name) in
        [([0, 1, 1], "particles"), ([1, 0, 1], "space"), ([1, 1, 0], "radial functions")]
    {
        assert_error!(
            EquivariantField::new(particles, space, functions),
            Error::Parameter { .. },
            [name, "at least 1"]
        );
    }
}
