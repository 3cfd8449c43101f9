//! Reference values of rational_quadratic_spline.json and plu.json, made by other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::operation::LANES;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, Values};
use flows_finite::{LuLinear, RationalQuadratic, Tails, Transformer};
use serde_json::Value;

/// Reads from the folder that FLOWS_GOLDEN names, else from the project's copy.
fn golden(name: &str) -> Vec<Value> {
    let folder = std::env::var("FLOWS_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone()
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn close(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let error = (got - expected).abs();
        assert!(error <= 1e-10 * (1.0 + expected.abs()), "{what}: {got} {expected}");
    }
}

#[test]
fn golden_rational_quadratic_spline() {
    for case in golden("rational_quadratic_spline") {
        let raw = &case["parameters"]["unconstrained"];
        let widths = flat(&raw["widths"]);
        let bound = case["parameters"]["bound"].as_f64().unwrap();
        let spline = RationalQuadratic::new(widths.len(), bound, Tails::Linear).unwrap();
        let parameters = [widths, flat(&raw["heights"]), flat(&raw["derivatives"])].concat();
        let theta: Vec<f64> =
            parameters.iter().flat_map(|&p| std::iter::repeat_n(p, LANES)).collect();
        let inputs = flat(&case["inputs"]);
        let (outputs, log_det) = (flat(&case["outputs"]), flat(&case["log_det"]));
        let padded = |values: &[f64]| {
            let mut lanes = values.to_vec();
            lanes.resize(LANES, 0.0);
            lanes
        };
        let (mut y, mut slope) = (vec![0.0; LANES], vec![0.0; LANES]);
        spline.forward(&padded(&inputs), &theta, &mut y, &mut slope).unwrap();
        close("outputs", &y[..inputs.len()], &outputs);
        close("log-det", &slope[..inputs.len()], &log_det);
        let (mut x, mut slope) = (vec![0.0; LANES], vec![0.0; LANES]);
        spline.inverse(&padded(&outputs), &theta, &mut x, &mut slope).unwrap();
        close("inverse", &x[..inputs.len()], &inputs);
        let negated: Vec<f64> = slope[..inputs.len()].iter().map(|s| -s).collect();
        close("inverse log-det", &negated, &log_det);
    }
}

#[test]
fn golden_plu() {
    for case in golden("plu") {
        let [permutation, lower, upper] =
            ["permutation", "lower", "upper"].map(|key| flat(&case["parameters"][key]));
        let dim = case["inputs"][0].as_array().unwrap().len();
        let order: Vec<usize> = permutation
            .chunks(dim)
            .map(|row| row.iter().position(|&entry| entry == 1.0).unwrap())
            .collect();
        let diagonal: Vec<f64> = (0..dim).map(|i| upper[i * dim + i]).collect();
        let layer = LuLinear::<f64>::from_factors(&order, &lower, &upper, &diagonal).unwrap();
        let inputs = flat(&case["inputs"]);
        let z = batch(inputs.clone(), inputs.len() / dim, dim).unwrap();
        let out = layer.forward(z, &Context::none()).unwrap();
        close("outputs", &out.value.values(), &flat(&case["outputs"]));
        close("log-det", &out.log_det.values(), &flat(&case["log_det"]));
        let back = layer.inverse(out.value, &Context::none()).unwrap();
        close("inverse", &back.value.values(), &inputs);
    }
}
