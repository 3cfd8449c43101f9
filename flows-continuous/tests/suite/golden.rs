//! Reference values of linear_ode.json and mlp_ode.json, made by other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{Accuracy, Adaptive, Continuous, Divergence, MlpField, Solver, TimeInput};
use flows_core::activation::Activation;
use flows_core::rowwise::{gradient_of_mean, mean, sum};
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{close, flat, golden};
use flows_core::{
    Base, Batch, Bijector, Context, LastLayer, Network, Parameters, Tape, Values, stream,
};
use serde_json::Value;

/// As the solver allows at rtol 1e-9.
pub(crate) const TOLERANCE: f64 = 1e-6;

const ACCURACY: Accuracy = Accuracy {
    solver: Solver::Dopri5(Adaptive {
        rtol: 1e-9,
        atol: 1e-9,
        first_step: None,
        max_evaluations: 100_000,
    }),
    divergence: Divergence::Exact,
};

/// A field with given layers, weight `(units, inputs)` and bias each; accuracies of training and
/// reporting.
fn flow(
    layers: &[(Vec<f64>, Vec<f64>)],
    (dim, time): (usize, TimeInput),
    times: [f64; 2],
    [training, reporting]: [Accuracy; 2],
) -> Continuous<f64> {
    let hidden: Vec<usize> = layers[..layers.len() - 1].iter().map(|(_, b)| b.len()).collect();
    let kernel = MlpField::new(dim, 0, &hidden, Activation::Tanh, time).unwrap();
    let field = Network::new(kernel, LastLayer::Random, &mut stream(0, "init")).unwrap();
    let mut flow = Continuous::new(field, times, training, reporting).unwrap();
    flow.visit_mut(&mut |name, _, tensor| {
        let (kind, layer) = name.split_at(name.len() - 1);
        let (weight, bias) = &layers[layer.parse::<usize>().unwrap()];
        set_values(tensor, if kind == "field.weight" { weight } else { bias })
    })
    .unwrap();
    flow
}

/// The interval, rows and features of a case.
fn shape(case: &Value) -> ([f64; 2], usize, usize) {
    let times = [&case["parameters"]["t0"], &case["parameters"]["t1"]].map(|t| t.as_f64().unwrap());
    let rows = case["inputs"].as_array().unwrap();
    (times, rows.len(), rows[0].as_array().unwrap().len())
}

/// The inputs of a case.
pub(crate) fn inputs(case: &Value) -> Batch<f64> {
    let (_, rows, dim) = shape(case);
    batch(flat(&case["inputs"]), rows, dim).unwrap()
}

/// The flow of a case of linear_ode.json.
pub(crate) fn linear_flow(case: &Value, accuracy: Accuracy) -> Continuous<f64> {
    let (times, _, dim) = shape(case);
    let layers = [(flat(&case["parameters"]["A"]), vec![0.0; dim])];
    flow(&layers, (dim, TimeInput::None), times, [accuracy; 2])
}

fn layers(layers: &Value) -> Vec<(Vec<f64>, Vec<f64>)> {
    let layers = layers.as_array().unwrap().iter();
    layers.map(|layer| (flat(&layer["weight"]), flat(&layer["bias"]))).collect()
}

/// The flow of a case of mlp_ode.json.
pub(crate) fn mlp_flow(case: &Value, training: Accuracy, reporting: Accuracy) -> Continuous<f64> {
    let (times, _, dim) = shape(case);
    let layers = layers(&case["parameters"]["layers"]);
    flow(&layers, (dim, TimeInput::Concat), times, [training, reporting])
}

/// Loss and gradients of a case of mlp_ode.json.
pub(crate) fn check_gradients(flow: &Continuous<f64>, case: &Value) {
    let (z, dim) = (inputs(case), flow.dim());
    let mut tape = Tape::recording();
    let out = flow.forward(&z, &Context::none(), &mut tape).unwrap();
    close("outputs", &out.value.values(), &flat(&case["outputs"]), TOLERANCE);
    close("log-det", &out.log_det.values(), &flat(&case["log_det"]), TOLERANCE);

    // The file's loss, mean of |z|^2 / 2 - log-det, is minus the mean of a standard normal's
    // log-density plus the log-det, less the normal's constant.
    let base = Base::standard_normal(dim);
    let log_prob = base.log_prob(&out.value, &mut tape).unwrap();
    let total = sum(vec![log_prob, out.log_det], &mut tape).unwrap();
    let constant = 0.5 * dim as f64 * (2.0 * std::f64::consts::PI).ln();
    close("loss", &[-mean(&total) - constant], &flat(&case["loss"]), TOLERANCE);

    let mut gradients = gradient_of_mean(-1.0, &total, tape).unwrap();
    let got = gradients.take(&z).unwrap();
    close("gradient of the inputs", &got, &flat(&case["loss_gradient_inputs"]), TOLERANCE);
    let expected = layers(&case["loss_gradient_layers"]);
    flow.visit(&mut |name, _, tensor| {
        let got = gradients.take(tensor).unwrap();
        let (kind, layer) = name.split_at(name.len() - 1);
        let (weight, bias) = &expected[layer.parse::<usize>().unwrap()];
        let want = if kind == "field.weight" { weight } else { bias };
        close(name, &got, want, TOLERANCE);
    });
}

#[test]
fn golden_linear_ode() {
    for case in golden("linear_ode") {
        let (flow, inputs) = (linear_flow(&case, ACCURACY), inputs(&case));
        let none = &mut Tape::none();
        let out = flow.forward(&inputs, &Context::none(), none).unwrap();
        close("outputs", &out.value.values(), &flat(&case["outputs"]), TOLERANCE);
        close("log-det", &out.log_det.values(), &flat(&case["log_det"]), TOLERANCE);
        let back = flow.inverse(&out.value, &Context::none(), none).unwrap();
        close("inverse", &back.value.values(), &inputs.values(), TOLERANCE);
    }
}

#[test]
fn golden_mlp_ode() {
    for case in golden("mlp_ode") {
        check_gradients(&mlp_flow(&case, ACCURACY, ACCURACY), &case);
    }
}
