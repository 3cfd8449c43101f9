//! Reference values of planar.json and radial.json, made by other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::set_values;
use flows_core::testing::{distance, flat, golden};
use flows_core::{Bijector, Layer, Parameters, stream};
use flows_finite::{Planar, Radial};
use serde_json::Value;

use crate::sums::mapped;

/// The x with softplus(x) = y.
fn raw(y: f64) -> f64 {
    y.exp_m1().ln()
}

fn check(name: &str, layer: &dyn Bijector<f64>, case: &Value) {
    let (inputs, outputs) = (flat(&case["inputs"]), flat(&case["outputs"]));
    let log_det = flat(&case["log_det"]);
    let negated: Vec<f64> = log_det.iter().map(|l| -l).collect();
    let (value, got) = mapped(layer, true, &inputs);
    let (back, back_log_det) = mapped(layer, false, &outputs);
    let [value, got, back, back_got] = [
        distance(&value, &outputs),
        distance(&got, &log_det),
        distance(&back, &inputs),
        distance(&back_log_det, &negated),
    ];
    println!("{name}: {value:.1e} {got:.1e}, inverse {back:.1e} {back_got:.1e}");
    assert!(value <= 1e-10 && got <= 1e-10 && back <= 1e-8 && back_got <= 1e-8, "{name}");
}

#[test]
fn golden_planar() {
    for case in golden("planar") {
        let parameters = &case["parameters"];
        let dim = flat(&parameters["w"]).len();
        let mut layer = Layer::new(Planar::new(dim), &mut stream(1, "init")).unwrap();
        let result = layer.visit_mut(&mut |name, _, tensor| match name {
            "weight" => set_values(tensor, &flat(&parameters["w"])),
            "direction" => set_values(tensor, &flat(&parameters["v_unconstrained"])),
            _ => set_values(tensor, &flat(&parameters["b"])),
        });
        result.unwrap();
        check("planar", &layer, &case);
    }
}

#[test]
fn golden_radial() {
    for case in golden("radial") {
        let parameters = &case["parameters"];
        let [alpha, beta] = ["alpha", "beta"].map(|key| parameters[key].as_f64().unwrap());
        let centre = flat(&parameters["z0"]);
        let mut layer = Layer::new(Radial::new(centre.len()), &mut stream(1, "init")).unwrap();
        let result = layer.visit_mut(&mut |name, _, tensor| match name {
            "centre" => set_values(tensor, &centre),
            "alpha" => set_values(tensor, &[raw(alpha)]),
            _ => set_values(tensor, &[raw(alpha + beta)]),
        });
        result.unwrap();
        check("radial", &layer, &case);
    }
}
