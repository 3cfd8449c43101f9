//! Reference values of linear_ode.json and mlp_ode.json, made by other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{Accuracy, Adaptive, Continuous, Divergence, MlpField, Solver, TimeInput};
use flows_core::activation::Activation;
use flows_core::rowwise::{backward, negative_mean, sum};
use flows_core::tensor::{batch, gradient_of, set_values};
use flows_core::{
    Base, Bijector, Context, LastLayer, Network, Parameters, PutTape, Traced, Values, stream,
};
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

/// 1e-6 at rtol 1e-9, as the solver's tolerance allows.
fn close(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (got - expected).abs() <= 1e-6 * (1.0 + expected.abs()),
            "{what}: {got} {expected}"
        );
    }
}

const ACCURACY: Accuracy = Accuracy {
    solver: Solver::Dopri5(Adaptive {
        rtol: 1e-9,
        atol: 1e-9,
        first_step: None,
        max_evaluations: 100_000,
    }),
    divergence: Divergence::Exact,
};

/// A field with given layers, weight `(units, inputs)` and bias each.
fn flow(
    layers: &[(Vec<f64>, Vec<f64>)],
    (dim, time): (usize, TimeInput),
    times: [f64; 2],
) -> Continuous<f64, MlpField> {
    let hidden: Vec<usize> = layers[..layers.len() - 1].iter().map(|(_, b)| b.len()).collect();
    let kernel = MlpField::new(dim, 0, &hidden, Activation::Tanh, time).unwrap();
    let field = Network::new(kernel, LastLayer::Random, &mut stream(0, "init")).unwrap();
    let mut flow = Continuous::new(field, times, ACCURACY, ACCURACY).unwrap();
    flow.visit_mut(&mut |name, _, tensor| {
        let (kind, layer) = name.split_at(name.len() - 1);
        let (weight, bias) = &layers[layer.parse::<usize>().unwrap()];
        set_values(tensor, if kind == "field.weight" { weight } else { bias })
    })
    .unwrap();
    flow
}

#[test]
fn golden_linear_ode() {
    for case in golden("linear_ode") {
        let matrix = flat(&case["parameters"]["A"]);
        let dim = case["inputs"][0].as_array().unwrap().len();
        let times = [&case["parameters"]["t0"], &case["parameters"]["t1"]].map(|t| t.as_f64());
        let layers = [(matrix, vec![0.0; dim])];
        let flow = flow(&layers, (dim, TimeInput::None), times.map(Option::unwrap));
        let inputs = flat(&case["inputs"]);
        let z = batch(inputs.clone(), inputs.len() / dim, dim).unwrap();
        let out = flow.forward(z, &Context::none()).unwrap();
        close("outputs", &out.value.values(), &flat(&case["outputs"]));
        close("log-det", &out.log_det.values(), &flat(&case["log_det"]));
        let back = flow.inverse(out.value, &Context::none()).unwrap();
        close("inverse", &back.value.values(), &inputs);
    }
}

#[test]
fn golden_mlp_ode() {
    for case in golden("mlp_ode") {
        let layers: Vec<(Vec<f64>, Vec<f64>)> = case["parameters"]["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (flat(&layer["weight"]), flat(&layer["bias"])))
            .collect();
        let dim = case["inputs"][0].as_array().unwrap().len();
        let times = [&case["parameters"]["t0"], &case["parameters"]["t1"]].map(|t| t.as_f64());
        let flow = flow(&layers, (dim, TimeInput::Concat), times.map(Option::unwrap));
        let inputs = flat(&case["inputs"]);
        let rows = inputs.len() / dim;
        let z = batch(inputs, rows, dim).unwrap();
        let out = flow.forward(z.clone().put_tape(Traced::default()), &Context::none()).unwrap();
        close("outputs", &out.value.values(), &flat(&case["outputs"]));
        close("log-det", &out.log_det.values(), &flat(&case["log_det"]));

        // The file's loss, mean of |z|^2 / 2 - log-det, is minus the mean of a standard normal's
        // log-density plus the log-det, less the normal's constant.
        let base = Base::standard_normal(dim);
        let (log_prob, mut tape) = base.log_prob(out.value.put_tape(out.tape)).unwrap();
        let total = sum(vec![log_prob, out.log_det], &mut tape).unwrap();
        let (loss, scalar) = negative_mean(total, tape).unwrap();
        let constant = 0.5 * dim as f64 * (2.0 * std::f64::consts::PI).ln();
        close("loss", &[loss - constant], &flat(&case["loss"]));

        let mut gradients = backward(scalar).unwrap();
        let got = gradient_of(&mut gradients, &z).unwrap();
        close("gradient of the inputs", &got, &flat(&case["loss_gradient_inputs"]));
        let expected: Vec<(Vec<f64>, Vec<f64>)> = case["loss_gradient_layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (flat(&layer["weight"]), flat(&layer["bias"])))
            .collect();
        flow.visit(&mut |name, _, tensor| {
            let got = gradient_of(&mut gradients, tensor).unwrap();
            let (kind, layer) = name.split_at(name.len() - 1);
            let (weight, bias) = &expected[layer.parse::<usize>().unwrap()];
            let want = if kind == "field.weight" { weight } else { bias };
            close(name, &got, want);
        });
    }
}
