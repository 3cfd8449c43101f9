//! Reference values of linear_spline.json, quadratic_spline.json and cubic_spline.json, made by
//! another system on [0, 1]; here on [-1/2, 1/2].
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::operation::LANES;
use flows_finite::{CubicSpline, LinearSpline, QuadraticSpline, Tails, Transformer};
use serde_json::Value;

/// Smallest width and height of a bin, as a part of the interval, and smallest density.
const SMALLEST: f64 = 1e-3;

/// Reads from the folder that FLOWS_GOLDEN names, else from the project's copy.
fn golden(name: &str) -> Vec<Value> {
    let folder = std::env::var("FLOWS_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone()
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn gaps(knots: &Value) -> Vec<f64> {
    list(knots).windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn logs_above(values: &[f64], smallest: f64) -> Vec<f64> {
    values.iter().map(|value| (value - smallest).ln()).collect()
}

fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    for (got, expected) in got.iter().zip(expected) {
        let error = (got - expected).abs();
        assert!(error <= tolerance * (1.0 + expected.abs()), "{what}: {got} {expected}");
    }
}

fn check(map: &impl Transformer<f64>, raw: &[f64], case: &Value, tolerance: f64) {
    assert_eq!(raw.len(), map.arity());
    let theta: Vec<f64> = raw.iter().flat_map(|&p| vec![p; LANES]).collect();
    let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|key| list(&case[key]));
    assert!(inputs.len() > 10 && inputs.len() == outputs.len() && inputs.len() == log_det.len());
    let moved = |values: &[f64]| {
        let mut lanes: Vec<f64> = values.iter().map(|v| v - 0.5).collect();
        lanes.resize(LANES, 0.0);
        lanes
    };
    let (mut y, mut slope) = (vec![0.0; LANES], vec![0.0; LANES]);
    map.forward(&moved(&inputs), &theta, &mut y, &mut slope).unwrap();
    close("outputs", &y, &moved(&outputs)[..inputs.len()], tolerance);
    close("log-det", &slope, &log_det, tolerance);
    let (mut x, mut slope) = (vec![0.0; LANES], vec![0.0; LANES]);
    map.inverse(&moved(&outputs), &theta, &mut x, &mut slope).unwrap();
    close("inverse", &x, &moved(&inputs)[..inputs.len()], tolerance);
    let negated: Vec<f64> = slope.iter().map(|s| -s).collect();
    close("inverse log-det", &negated, &log_det, tolerance);
}

#[test]
fn golden_linear_spline() {
    for case in golden("linear_spline") {
        let heights = gaps(&case["parameters"]["knots_y"]);
        let map = LinearSpline::new(heights.len(), 0.5).unwrap();
        check(&map, &logs_above(&heights, SMALLEST), &case, 1e-10);
    }
}

#[test]
fn golden_quadratic_spline() {
    for case in golden("quadratic_spline") {
        let widths = gaps(&case["parameters"]["knots_x"]);
        let densities = list(&case["parameters"]["derivatives"]);
        let map = QuadraticSpline::new(widths.len(), 0.5, Tails::Linear).unwrap();
        let raw = [logs_above(&widths, SMALLEST), logs_above(&densities, SMALLEST)].concat();
        check(&map, &raw, &case, 1e-10);
    }
}

#[test]
fn golden_cubic_spline() {
    for case in golden("cubic_spline") {
        let (widths, heights) =
            (gaps(&case["parameters"]["knots_x"]), gaps(&case["parameters"]["knots_y"]));
        let slopes = list(&case["parameters"]["derivatives"]);
        let last = widths.len() - 1;
        // Steffen's slopes follow from the knots; those at the ends are parts of 0.001 to 2.999
        // of the secant.
        let end = |bin: usize, slope: f64| {
            let part = (slope * widths[bin] / heights[bin] - 1e-3) / 2.998;
            (part / (1.0 - part)).ln()
        };
        let ends = vec![end(0, slopes[0]), end(last, slopes[last + 1])];
        let sizes = [logs_above(&widths, SMALLEST), logs_above(&heights, SMALLEST)].concat();
        let map = CubicSpline::new(widths.len(), 0.5, Tails::Linear).unwrap();
        check(&map, &[sizes, ends].concat(), &case, 1e-8);
    }
}
