//! Reference values of rational_quadratic_spline.json and plu.json, made by other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::masked::Hidden;
use flows_core::operation::LANES;
use flows_core::tensor::{batch, set_values};
use flows_core::{Bijector, Context, Parameters, Values, stream};
use flows_finite::{
    Affine, Autoregressive, Inverted, MaskedConditioner, Order, RationalQuadratic, Scale, Tails,
    Transformer,
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

/// Hidden units of the golden network in a layer that has room for six of each degree; those that
/// are left over have weight zero.
#[test]
fn golden_masked_autoregressive_affine() {
    for case in golden("masked_autoregressive_affine") {
        let parameter = |name: &str| flat(&case["parameters"][name]);
        let dim = case["inputs"][0].as_array().unwrap().len();
        let degrees = parameter("hidden_degrees");
        let places = 6;
        let width = places * (dim - 1);
        let conditioner = MaskedConditioner {
            hidden: Hidden::Perceptron(vec![width]),
            activation: Activation::Tanh,
        };
        let affine = Inverted(Affine::new(Scale::Exp).unwrap());
        let rng = &mut stream(0, "init");
        let order = Order::natural(dim);
        let mut layer =
            Autoregressive::<f64, _>::new(&order, 0, affine, &conditioner, rng).unwrap();

        let mut taken = vec![0; dim];
        let (mut weight0, mut bias0) = (vec![0.0; width * dim], vec![0.0; width]);
        let mut weight1 = vec![0.0; 2 * dim * width];
        for (unit, &degree) in degrees.iter().enumerate() {
            let place = (degree as usize - 1) * places + taken[degree as usize - 1];
            taken[degree as usize - 1] += 1;
            bias0[place] = parameter("b1")[unit];
            for i in 0..dim {
                weight0[place * dim + i] = parameter("W1")[unit * dim + i];
                let row = |r: usize| (2 * i + r) * width + place;
                weight1[row(0)] = parameter("W_log_scale")[i * degrees.len() + unit];
                weight1[row(1)] = parameter("W_shift")[i * degrees.len() + unit];
            }
        }
        assert!(taken.iter().all(|&taken| taken <= places), "room for every unit");
        let pairs = parameter("b_log_scale").into_iter().zip(parameter("b_shift"));
        let bias1: Vec<f64> = pairs.flat_map(|(s, t)| [s, t]).collect();
        let mut values = [weight0, bias0, weight1, bias1].into_iter();
        layer.visit_mut(&mut |_, _, tensor| set_values(tensor, &values.next().unwrap())).unwrap();

        let inputs = flat(&case["inputs"]);
        let x = batch(inputs.clone(), inputs.len() / dim, dim).unwrap();
        let out = layer.inverse(x, &Context::none()).unwrap();
        close("outputs", &out.value.values(), &flat(&case["outputs"]));
        close("log-det", &out.log_det.values(), &flat(&case["log_det"]));
        let back = layer.forward(out.value, &Context::none()).unwrap();
        close("inverse", &back.value.values(), &inputs);
    }
}
