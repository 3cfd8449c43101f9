//! Bernstein polynomials: against the definition with binomials, C1 at the bounds, edges.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Error;
use flows_core::testing::{assert_error, close_number, distance};
use flows_finite::architecture::{BernsteinConfig, TransformerConfig};
use flows_finite::transformer::Bernstein;

use crate::elements::{
    Rounding, at, check_against, check_couplings, check_single, draws, edges, left_by_search,
    numbers_at,
};

const BOUND: f64 = 2.5;

fn map(degree: usize) -> Arc<dyn TransformerConfig> {
    BernsteinConfig { degree, bound: BOUND }.shared()
}

fn raw(degree: usize, seed: u64, scale: f64) -> Vec<f64> {
    draws(degree + 1, seed).iter().map(|v| scale * v).collect()
}

/// b_k,n(t) with its binomial.
fn basis(k: usize, n: usize, t: f64) -> f64 {
    let binomial: f64 = (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product();
    binomial * t.powi(k as i32) * (1.0 - t).powi((n - k) as i32)
}

fn plain(raw: &[f64], x: f64) -> (f64, f64) {
    let degree = raw.len() - 1;
    let slopes: Vec<f64> = raw[1..].iter().map(|r| r.exp().ln_1p() + 1e-3).collect();
    let mut coefficients = vec![raw[0] - BOUND];
    for slope in &slopes {
        let last = coefficients[coefficients.len() - 1];
        coefficients.push(last + 2.0 * BOUND / degree as f64 * slope);
    }
    if x < -BOUND {
        return (coefficients[0] + slopes[0] * (x + BOUND), slopes[0].ln());
    }
    if x > BOUND {
        let slope = slopes[degree - 1];
        return (coefficients[degree] + slope * (x - BOUND), slope.ln());
    }
    let t = (x + BOUND) / (2.0 * BOUND);
    let value = coefficients.iter().enumerate().map(|(k, c)| c * basis(k, degree, t)).sum();
    let slope: f64 = slopes.iter().enumerate().map(|(k, s)| s * basis(k, degree - 1, t)).sum();
    (value, slope.ln())
}

#[test]
fn values_and_gradients_are_those_of_the_definition() {
    let points = [-7.0, -2.6, -2.4, -1.0, 0.0, 0.3, 2.0, 2.49, 2.6, 30.0];
    for degree in [2, 3, 8, 20] {
        for (seed, scale) in [(0, 0.5), (1, 1.0), (2, 3.0)] {
            check_against(&map(degree), &plain, &raw(degree, seed, scale), &points, 1e-12);
        }
    }
}

#[test]
fn couplings_pass_the_check() {
    // Wide enough that some points fall outside of the interval.
    for degree in [2, 7] {
        check_couplings(&map(degree), &[], (0.4, 1.5), &[1, 2, 3]);
    }
}

#[test]
fn the_start_is_the_identity() {
    for degree in [2, 16, 100] {
        let raw = map(degree).build::<f64>().unwrap().initial();
        let points: Vec<f64> = (-60..=60).map(|i| f64::from(i) * 0.1).collect();
        for inverse in [false, true] {
            let (values, logs) = at::<f64>(&map(degree), &raw, &points, inverse).unwrap();
            let (narrow, narrow_logs) = at::<f32>(&map(degree), &raw, &points, inverse).unwrap();
            // The documented units of rounding; the search adds 4 of its own.
            let (unit, size) = (degree as f64 + 4.0, 3.0 * BOUND);
            let single = f64::from(f32::EPSILON);
            for (error, bound) in [
                (distance(&values, &points), size * f64::EPSILON),
                (distance(&logs, &[0.0; 121]), f64::EPSILON),
                (distance(&narrow, &points), size * single),
                (distance(&narrow_logs, &[0.0; 121]), single),
            ] {
                assert!(error <= unit * bound, "{degree} {inverse}: {error:e}");
            }
        }
    }
}

#[test]
fn value_and_slope_are_continuous_at_the_bounds() {
    for seed in 0..6 {
        let raw = raw(7, seed, 1.0);
        for end in [-BOUND, BOUND] {
            let h = 1e-9;
            let points = [end - h, end, end + h];
            let (values, logs) = at::<f64>(&map(7), &raw, &points, false).unwrap();
            let slope = logs[1].exp();
            for side in [0, 1] {
                // Rounding of values of order 5 over h: 1e-6.
                let quotient = (values[side + 1] - values[side]) / h;
                close_number("one-sided slope", quotient, slope, 1e-5);
            }
            close_number("log-slope", logs[0], logs[1], 1e-7);
            close_number("log-slope", logs[2], logs[1], 1e-7);
        }
    }
}

#[test]
fn the_inverse_comes_back_inside_and_outside() {
    let points: Vec<f64> = (0..=400).map(|i| 2.0 * BOUND * (f64::from(i) / 200.0 - 1.0)).collect();
    for degree in [2, 7, 30] {
        for (seed, scale) in [(0, 0.3), (1, 1.0), (2, 3.0)] {
            let raw = raw(degree, seed, scale);
            let (values, logs) = at::<f64>(&map(degree), &raw, &points, false).unwrap();
            assert!(values.windows(2).all(|w| w[0] < w[1]), "not increasing");
            let (back, negated) = at::<f64>(&map(degree), &raw, &values, true).unwrap();
            let negated: Vec<f64> = negated.iter().map(|l| -l).collect();
            let (error, log_error) = (distance(&back, &points), distance(&negated, &logs));
            // Slopes of 1e-3 turn M = 30 roundings of values of 10 into 7e-11 of x, and log-slopes
            // change by less than 10 a unit of x there.
            assert!(error < 1e-10 && log_error < 1e-9, "{error:e} {log_error:e}");
        }
    }
}

#[test]
fn edges_are_finite() {
    let ends = [0.0, BOUND, -BOUND, 1e6, -1e6];
    for degree in [2, 9, 60] {
        assert_eq!((edges::<f32>(&map(degree)), edges::<f64>(&map(degree))), (0, 0));
        for (seed, scale) in [(0, 1.0), (1, 5.0)] {
            let raw = raw(degree, seed, scale);
            numbers_at::<f32>(&map(degree), &raw, &[&ends[..], &[1e30, 1e-40]].concat());
            numbers_at::<f64>(&map(degree), &raw, &[&ends[..], &[1e30, 1e-310]].concat());
        }
        // Slopes as flat and as steep as raw values of a million make them.
        for raw in [vec![-1e6; degree + 1], vec![1e6; degree + 1]] {
            numbers_at::<f32>(&map(degree), &raw, &ends);
            numbers_at::<f64>(&map(degree), &raw, &ends);
        }
    }
    let steep = vec![1e30; 6];
    assert!(matches!(
        at::<f32>(&map(5), &steep, &[1.0, 1e30], false),
        Err(Error::NonFinite { row: 1, .. })
    ));
}

#[test]
fn sizes_outside_the_documented_range_are_refused() {
    for (degree, bound) in [(1, 1.0), (101, 1.0), (5, 0.0), (5, -1.0), (5, f64::NAN)] {
        assert!(matches!(Bernstein::new(degree, bound), Err(Error::Parameter { .. })));
    }
    assert_error!(
        Bernstein::new(5, f64::INFINITY),
        Error::Parameter { .. },
        ["bound of a Bernstein polynomial", "positive and finite", "got inf"]
    );
}

#[test]
fn single_precision_is_as_accurate_as_documented() {
    let points: Vec<f64> = (0..101).map(|i| f64::from(i) * 0.08 - 4.0).collect();
    for degree in [4, 16, 60] {
        for scale in [0.5, 1.0] {
            // Documented: M units of the last place of the size of value and slope.
            let unit = degree as f64 * f64::from(f32::EPSILON);
            let rounding = |raw: &[f64], x: f64| {
                let (value, log) = plain(raw, x);
                Rounding {
                    value: 3.0 * BOUND * unit * (1.0 + value.abs()),
                    log_slope: unit * (1.0 + log.abs()),
                    x: left_by_search(x),
                }
            };
            check_single(&map(degree), &raw(degree, 3, scale), &points, &rounding);
        }
    }
}
