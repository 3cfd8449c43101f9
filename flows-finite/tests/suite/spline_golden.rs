//! Reference values of linear_spline.json, quadratic_spline.json and cubic_spline.json, made by
//! another system on [0, 1]; here on [-1/2, 1/2].
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::testing::{close, flat, golden};
use flows_finite::Tails;
use flows_finite::architecture::{
    CubicSplineConfig, LinearSplineConfig, QuadraticSplineConfig, SplineConfig, TransformerConfig,
};
use serde_json::Value;

use crate::elements::{Config, at};

/// Smallest width and height of a bin, as a part of the interval, and smallest density.
const SMALLEST: f64 = 1e-3;

fn gaps(knots: &Value) -> Vec<f64> {
    flat(knots).windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn logs_above(values: &[f64], smallest: f64) -> Vec<f64> {
    values.iter().map(|value| (value - smallest).ln()).collect()
}

/// A kind of spline and its number of bins.
type Spline = (fn(SplineConfig) -> Config, usize);

/// Checks a spline of as many bins, its outermost slopes learned, on [-1/2, 1/2].
fn check((kind, bins): Spline, raw: &[f64], case: &Value, tolerance: f64) {
    let map = kind(SplineConfig { bins, bound: 0.5, tails: Tails::Linear });
    assert_eq!(raw.len(), map.arity().unwrap());
    let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|key| flat(&case[key]));
    assert!(inputs.len() > 10 && inputs.len() == outputs.len() && inputs.len() == log_det.len());
    let moved = |values: &[f64]| values.iter().map(|v| v - 0.5).collect::<Vec<f64>>();
    let (inputs, outputs) = (moved(&inputs), moved(&outputs));
    let (y, slope) = at::<f64>(&map, raw, &inputs, false).unwrap();
    close("outputs", &y, &outputs, tolerance);
    close("log-det", &slope, &log_det, tolerance);
    let (x, slope) = at::<f64>(&map, raw, &outputs, true).unwrap();
    close("inverse", &x, &inputs, tolerance);
    let negated: Vec<f64> = slope.iter().map(|s| -s).collect();
    close("inverse log-det", &negated, &log_det, tolerance);
}

#[test]
fn golden_linear_spline() {
    for case in golden("linear_spline") {
        let heights = gaps(&case["parameters"]["knots_y"]);
        let spline: Spline = (|config| LinearSplineConfig(config).shared(), heights.len());
        check(spline, &logs_above(&heights, SMALLEST), &case, 1e-10);
    }
}

#[test]
fn golden_quadratic_spline() {
    for case in golden("quadratic_spline") {
        let widths = gaps(&case["parameters"]["knots_x"]);
        let densities = flat(&case["parameters"]["derivatives"]);
        let spline: Spline = (|config| QuadraticSplineConfig(config).shared(), widths.len());
        let raw = [logs_above(&widths, SMALLEST), logs_above(&densities, SMALLEST)].concat();
        check(spline, &raw, &case, 1e-10);
    }
}

#[test]
fn golden_cubic_spline() {
    for case in golden("cubic_spline") {
        let (widths, heights) =
            (gaps(&case["parameters"]["knots_x"]), gaps(&case["parameters"]["knots_y"]));
        let slopes = flat(&case["parameters"]["derivatives"]);
        let last = widths.len() - 1;
        // Steffen's slopes follow from the knots; those at the ends are parts of 0.001 to 2.999
        // of the secant.
        let end = |bin: usize, slope: f64| {
            let part = (slope * widths[bin] / heights[bin] - 1e-3) / 2.998;
            (part / (1.0 - part)).ln()
        };
        let ends = vec![end(0, slopes[0]), end(last, slopes[last + 1])];
        let sizes = [logs_above(&widths, SMALLEST), logs_above(&heights, SMALLEST)].concat();
        let spline: Spline = (|config| CubicSplineConfig(config).shared(), widths.len());
        check(spline, &[sizes, ends].concat(), &case, 1e-8);
    }
}
