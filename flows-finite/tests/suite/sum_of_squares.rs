//! Sum-of-squares polynomials: against the expanded square, the golden values, an affine map.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Error;
use flows_core::testing::{assert_error, close_number, flat, golden};
use flows_finite::architecture::{AffineConfig, SumOfSquaresConfig, TransformerConfig};
use flows_finite::transformer::{Scale, SumOfSquares};

use crate::elements::{
    Rounding, UNIT, at, check_against, check_couplings, check_single, draws, edges, gradient,
    numbers_at,
};

fn map(polynomials: usize, degree: usize) -> Arc<dyn TransformerConfig> {
    bounded(polynomials, degree, f64::INFINITY)
}

fn bounded(polynomials: usize, degree: usize, bound: f64) -> Arc<dyn TransformerConfig> {
    SumOfSquaresConfig { polynomials, degree, bound }.shared()
}

/// y = c + sum_m q_m x^(m+1) / (m+1), q_m = sum_k sum_(i+j=m) a_ki a_kj.
fn plain(degree: usize, raw: &[f64], x: f64) -> (f64, f64) {
    let (coefficients, constant) = raw.split_at(raw.len() - 1);
    let mut q = vec![0.0; 2 * degree + 1];
    for a in coefficients.chunks(degree + 1) {
        for i in 0..=degree {
            for j in 0..=degree {
                q[i + j] += a[i] * a[j];
            }
        }
    }
    let power = |m: usize| x.powi(m as i32);
    let integral: f64 = q.iter().enumerate().map(|(m, q)| q * power(m + 1) / (m + 1) as f64).sum();
    let slope: f64 = q.iter().enumerate().map(|(m, q)| q * power(m)).sum();
    (constant[0] + integral, slope.ln())
}

#[test]
fn values_and_gradients_are_those_of_the_expanded_square() {
    for (polynomials, degree) in [(1, 0), (3, 0), (2, 1), (2, 3), (5, 2), (3, 6)] {
        for seed in 0..4 {
            let raw = draws(polynomials * (degree + 1) + 1, seed);
            let points = [-1.7, -0.3, 0.0, 0.4, 1.5];
            let plain = |raw: &[f64], x: f64| plain(degree, raw, x);
            check_against(&map(polynomials, degree), &plain, &raw, &points, 1e-11);
        }
    }
}

/// Every power of u that a square can hold, alone or with its neighbours: what the weights and nodes
/// of the quadrature make of each is its integral.
#[test]
fn powers_are_integrated_exactly_for_every_degree() {
    // The integral of u^m over [0, 1].
    let integral = |m: usize| 1.0 / (m + 1) as f64;
    for degree in 0..=20 {
        for low in 0..=degree {
            // p(u) = u^low, or u^low + u^(low + 1), which has an odd power in its square.
            let mut raw = vec![0.0; degree + 2];
            raw[low] = 1.0;
            let mut expected = vec![(raw.clone(), integral(2 * low))];
            if low < degree {
                raw[low + 1] = 1.0;
                let square =
                    integral(2 * low) + 2.0 * integral(2 * low + 1) + integral(2 * low + 2);
                expected.push((raw, square));
            }
            for (raw, expected) in expected {
                let (values, _) = at::<f64>(&map(1, degree), &raw, &[1.0], false).unwrap();
                // Rounding of the nodes and weights, and of a sum of up to 21 positive terms.
                close_number(&format!("u^{low}, degree {degree}"), values[0], expected, 4e-15);
            }
        }
    }
}

#[test]
fn couplings_pass_the_check() {
    for (polynomials, degree, bound) in
        [(1, 0, 1.0), (2, 1, f64::INFINITY), (2, 2, f64::INFINITY), (2, 2, 1.0), (3, 3, 2.0)]
    {
        // Less far from the identity than elsewhere: near a root of all polynomials the slope is
        // e^-8 and less, beyond what differences can tell.
        check_couplings(&bounded(polynomials, degree, bound), &[], (0.2, 1.0), &[1, 2, 3]);
    }
}

#[test]
fn golden_sum_of_squares() {
    for case in golden("sum_of_squares_polynomial") {
        let rows = case["parameters"]["coefficients"].as_array().unwrap();
        // Its inputs lie within this bound.
        let degree = rows[0].as_array().unwrap().len() - 1;
        let bound = 4.0;
        let map = bounded(rows.len(), degree, bound);
        let raw =
            [flat(&case["parameters"]["coefficients"]), flat(&case["parameters"]["constant"])]
                .concat();
        let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|k| flat(&case[k]));
        assert!(inputs.iter().all(|x| x.abs() < bound));
        let (values, logs) = at::<f64>(&map, &raw, &inputs, false).unwrap();
        let (back, negated) = at::<f64>(&map, &raw, &outputs, true).unwrap();
        for i in 0..inputs.len() {
            close_number("output", values[i], outputs[i], 1e-10);
            close_number("log-det", logs[i], log_det[i], 1e-10);
            close_number("inverse", back[i], inputs[i], 1e-8);
            close_number("inverse log-det", -negated[i], log_det[i], 1e-8);
        }
    }
}

#[test]
fn degree_zero_is_an_affine_map() {
    let points: Vec<f64> = draws(40, 1).iter().map(|x| 10.0 * x).collect();
    for polynomials in [1, 2, 5] {
        let raw = draws(polynomials + 1, 5);
        let scale: f64 = raw[..polynomials].iter().map(|a| a * a).sum();
        let affine = AffineConfig { scale: Scale::Exp, inverted: false }.shared();
        let affine_raw = [scale.ln(), raw[polynomials]];
        let square = map(polynomials, 0);
        let (square_map, affine_map) =
            (square.build::<f64>().unwrap(), affine.build::<f64>().unwrap());
        assert!(square_map.closed_inverse());
        for inverse in [false, true] {
            let (values, logs) = at::<f64>(&square, &raw, &points, inverse).unwrap();
            let (expected, expected_logs) =
                at::<f64>(&affine, &affine_raw, &points, inverse).unwrap();
            for i in 0..points.len() {
                close_number("value", values[i], expected[i], 1e-14);
                close_number("log-slope", logs[i], expected_logs[i], 1e-14);
            }
        }
        // y = S x + c: the gradient of a_k is that of log S times 2 a_k / S, either way.
        for inverse in [false, true] {
            let got = gradient(&*square_map, &raw, 1.3, (0.7, -0.4), inverse);
            let expected = gradient(&*affine_map, &affine_raw, 1.3, (0.7, -0.4), inverse);
            close_number("gradient of x", got[0], expected[0], 1e-13);
            for k in 0..polynomials {
                close_number("gradient", got[1 + k], expected[1] * 2.0 * raw[k] / scale, 1e-13);
            }
            close_number("gradient of c", got[1 + polynomials], expected[2], 1e-13);
        }
    }
}

#[test]
fn the_start_is_near_the_identity_and_tells_polynomials_apart() {
    for (polynomials, degree) in [(1, 0), (1, 3), (2, 0), (2, 1), (3, 2), (5, 4)] {
        let map = map(polynomials, degree);
        let raw = map.build::<f64>().unwrap().initial();
        let points = [-3.0, -1.0, 0.0, 0.5, 3.0];
        let (values, logs) = at::<f64>(&map, &raw, &points, false).unwrap();
        for (i, x) in points.iter().enumerate() {
            let cubic =
                if polynomials > 1 && degree > 0 { 0.01 / 3.0 * x.abs().powi(3) } else { 0.0 };
            assert!((values[i] - x).abs() <= cubic + 1e-14, "{polynomials} {degree} {x}");
            let bend = if polynomials == 1 && degree > 0 { 0.3 } else { 0.1 };
            assert!(logs[i].abs() < bend, "{polynomials} {degree} {x}: {}", logs[i]);
        }
        let rows: Vec<&[f64]> = raw[..raw.len() - 1].chunks(degree + 1).collect();
        let distinct = degree == 0 || rows.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(distinct, "equal polynomials would stay equal");
    }
}

#[test]
fn a_million_is_within_the_precisions_documented_and_more_is_an_error() {
    for (polynomials, degree, single) in [(2, 1, true), (3, 2, true), (3, 3, false), (2, 20, false)]
    {
        let map = map(polynomials, degree);
        let raw = draws(polynomials * (degree + 1) + 1, 3);
        let points = [0.0, 1e6, -1e6];
        numbers_at::<f64>(&map, &raw, &[&points[..], &[1e-310, 1e-100]].concat());
        if single {
            numbers_at::<f32>(&map, &raw, &[&points[..], &[1e-40, 1e-30]].concat());
        } else {
            let out = at::<f32>(&map, &raw, &[1.0, 1e6], false);
            assert!(matches!(out, Err(Error::NonFinite { row: 1, .. })), "{out:?}");
        }
        // Back from as large a value as there is, which no power of x may pass on the way.
        for y in [1e30, -1e30] {
            numbers_back::<f32>(&map, &raw, y);
            numbers_back::<f64>(&map, &raw, y);
        }
        assert_error!(
            at::<f32>(&map, &raw, &[1e30], false),
            Error::NonFinite { row: 0, .. },
            ["value or log-slope of a sum of squares", "outliers"]
        );
    }
}

fn numbers_back<E: flows_core::Real>(map: &Arc<dyn TransformerConfig>, raw: &[f64], y: f64) {
    let (x, log) = at::<E>(map, raw, &[y], true).unwrap();
    let (again, forward_log) = at::<E>(map, raw, &x, false).unwrap();
    // y is as far off as x, times the order of 41 at most.
    let tolerance = 41.0 * 20.0 * E::epsilon().as_f64();
    close_number("round trip", again[0] / y, 1.0, tolerance);
    close_number("log-slope", -log[0], forward_log[0], tolerance);
}

/// The polynomial within the bound, its tangents beyond.
fn plain_within(degree: usize, bound: f64, raw: &[f64], x: f64) -> (f64, f64) {
    let nearest = x.clamp(-bound, bound);
    let (value, log) = plain(degree, raw, nearest);
    (value + log.exp() * (x - nearest), log)
}

#[test]
fn beyond_the_bound_the_map_is_its_tangent() {
    const BOUND: f64 = 1.5;
    for (polynomials, degree) in [(1, 0), (2, 1), (2, 2), (3, 4)] {
        for seed in 0..4 {
            let raw = draws(polynomials * (degree + 1) + 1, seed);
            let map = bounded(polynomials, degree, BOUND);
            let points = [-30.0, -1.51, -1.49, 0.0, 0.4, 1.45, 1.6, 20.0];
            let plain = |raw: &[f64], x: f64| plain_within(degree, BOUND, raw, x);
            check_against(&map, &plain, &raw, &points, 1e-11);
            // Far out, where the polynomial of degree 9 is beyond f32, and back.
            let far = [-1e9, -20.0, -BOUND, 0.3, BOUND, 1e9];
            let (values, logs) = at::<f32>(&map, &raw, &far, false).unwrap();
            let (back, negated) = at::<f32>(&map, &raw, &values, true).unwrap();
            for i in 0..far.len() {
                close_number("round trip", back[i], far[i], 1e-5);
                close_number("log-slopes", -negated[i], logs[i], 1e-5);
            }
        }
    }
}

#[test]
fn edges_are_finite_or_errors() {
    for (polynomials, degree) in [(2, 0), (2, 1), (3, 3)] {
        for map in [map(polynomials, degree), bounded(polynomials, degree, 4.0)] {
            assert_eq!((edges::<f32>(&map), edges::<f64>(&map)), (0, 0));
        }
    }
}

#[test]
fn a_slope_of_zero_is_an_error() {
    // p(u) = u
    let out = at::<f64>(&map(1, 1), &[0.0, 1.0, 0.0], &[0.5, 0.0], false);
    assert!(matches!(out, Err(Error::NonFinite { row: 1, .. })));
}

#[test]
fn sizes_outside_the_documented_range_are_refused() {
    for (polynomials, degree) in [(0, 2), (101, 2), (2, 21)] {
        assert!(matches!(SumOfSquares::new(polynomials, degree), Err(Error::Parameter { .. })));
    }
    for bound in [0.0, -1.0, f64::NAN] {
        let refused = SumOfSquares::new(2, 2).unwrap().within(bound);
        assert!(matches!(refused, Err(Error::Parameter { .. })));
    }
}

/// All coefficients and x positive: what the roundings are relative to.
///
/// With u the unit: L multiply-adds of Horner's rule after a node times x, both rounded, leave 4L u
/// of p, the square 8L + 1; weights, K (L + 1) sums, x and c leave the other ones. So at most N u of
/// this size, and of the slope's, whose share in the slope is what its logarithm is off by.
fn rounding(polynomials: usize, degree: usize, raw: &[f64], x: f64) -> Rounding {
    let units = (8 * degree + polynomials * (degree + 1) + 5) as f64 * UNIT;
    let positive: Vec<f64> = raw.iter().map(|a| a.abs()).collect();
    let (value, log) = plain(degree, raw, x);
    let (size, log_size) = plain(degree, &positive, x.abs());
    // The search is one for x over this radius.
    let order = (2 * degree + 1) as f64;
    let radius = (value - raw[raw.len() - 1]).abs().max(1.0).powf(1.0 / order);
    Rounding {
        value: units * size,
        log_slope: units * (log_size - log).exp() + 4.0 * UNIT * (1.0 + log.abs()),
        x: 8.0 * UNIT * (radius + x.abs()),
    }
}

#[test]
fn single_precision_is_as_accurate_as_its_rounding() {
    let points: Vec<f64> = (0..101).map(|i| f64::from(i) * 0.08 - 4.0).collect();
    for (polynomials, degree) in [(2, 1), (3, 2), (3, 3), (5, 5)] {
        for seed in 0..4 {
            let raw = draws(polynomials * (degree + 1) + 1, seed);
            let rounding = |raw: &[f64], x: f64| rounding(polynomials, degree, raw, x);
            check_single(&map(polynomials, degree), &raw, &points, &rounding);
        }
    }
}
