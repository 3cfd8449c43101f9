//! The potential field against its potential, written down.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::PotentialField;
use flows_core::Error;
use flows_core::operation::LANES;
use flows_core::testing::assert_error;

use crate::field_case::{Case, assert_near, slope};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn apply(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks(x.len()).map(|row| dot(row, x)).collect()
}

/// w . u1 + |A s|^2 / 2 + b . s
fn potential(parameters: &[Vec<f64>], z: &[f64], t: f64, context: &[f64]) -> f64 {
    let [k0, b0, k1, b1, w, a, b] = parameters else { unreachable!("seven tensors") };
    let sigma = |p: f64| (p.exp() + (-p).exp()).ln();
    let s = [z, &[t], context].concat();
    let u0: Vec<f64> = apply(k0, &s).iter().zip(b0).map(|(p, b)| sigma(p + b)).collect();
    let layer = apply(k1, &u0);
    let u1: Vec<f64> = (0..u0.len()).map(|i| u0[i] + sigma(layer[i] + b1[i])).collect();
    let form = apply(a, &s);
    dot(w, &u1) + 0.5 * dot(&form, &form) + dot(b, &s[..b.len()])
}

fn moved(z: &[f64], feature: usize, step: f64) -> Vec<f64> {
    let mut z = z.to_vec();
    z[feature] += step;
    z
}

fn case(dim: usize, context: usize, (width, rank): (usize, usize), seed: u64) -> Case {
    Case::new(PotentialField::new(dim, context, width, rank).unwrap(), 0, seed)
}

fn cases() -> [Case; 4] {
    [case(3, 2, (5, 3), 1), case(1, 0, (4, 1), 2), case(2, 0, (1, 2), 3), case(4, 1, (7, 2), 4)]
}

#[test]
fn the_velocity_is_minus_the_slope_of_the_potential() {
    for case in cases() {
        // Differences of a value of order ten: 1e-15 of rounding over a step of 1e-3.
        case.check_velocity(2e-11, |parameters, z, t, context| {
            (0..z.len())
                .map(|i| -slope(|h| potential(parameters, &moved(z, i, h), t, context)))
                .collect()
        });
    }
}

#[test]
fn the_structure_gives_the_trace_and_the_residual_of_the_equation() {
    for case in cases() {
        let case = case.asking(Vec::new());
        let out = case.evaluate();
        let (velocity, rows) = out.split_at(case.dim() * LANES);
        assert_eq!(velocity, case.velocity(), "the structure changes no velocity");
        assert_near("trace", &rows[..LANES], &case.trace(), 1e-10);
        let residual: Vec<f64> = (0..LANES)
            .map(|lane| {
                let (z, t, context) = case.row(lane);
                let phi = |z: &[f64], t: f64| potential(&case.parameters, z, t, &context);
                let square: f64 =
                    (0..z.len()).map(|i| slope(|h| phi(&moved(&z, i, h), t)).powi(2)).sum();
                slope(|h| phi(&z, t + h)) - 0.5 * square
            })
            .collect();
        assert_near("residual", &rows[LANES..], &residual, 1e-10);
    }
}

#[test]
fn a_linear_potential_moves_rows_uniformly_without_residual() {
    // Phi = b . z + |b|^2 t / 2 solves the equation d_t Phi = |grad Phi|^2 / 2.
    let mut case = case(2, 0, (3, 1), 5).asking(Vec::new());
    for part in &mut case.parameters {
        part.fill(0.0);
    }
    case.parameters[6] = vec![1.5, -0.5, 1.25];
    for (row, expected) in case.evaluate().chunks(LANES).zip([-1.5, 0.5, 0.0, 0.0]) {
        assert!(row.iter().all(|&v| v == expected), "{expected}");
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for case in cases() {
        case.check_gradients();
        case.asking(Vec::new()).check_gradients();
    }
}

#[test]
fn single_precision_follows_double() {
    for case in cases() {
        // A few dozen roundings in a row, and sums over the block's rows.
        case.check_single(100.0);
        case.asking(Vec::new()).check_single(100.0);
    }
}

#[test]
fn steep_potentials_stay_finite() {
    let mut case = case(3, 0, (4, 3), 6).asking(Vec::new());
    case.state.iter_mut().for_each(|z| *z *= 1e4);
    assert!(case.evaluate().iter().all(|v| v.is_finite()));
}

#[test]
fn widths_of_nothing_are_refused() {
    for ([dim, width, rank], name) in
        [([0, 1, 1], "dimension"), ([1, 0, 1], "width"), ([1, 1, 0], "rank")]
    {
        assert_error!(
            PotentialField::new(dim, 0, width, rank),
            Error::Parameter { .. },
            [name, "at least 1"]
        );
    }
}
