//! Reference values of plu.json, householder.json, orthogonal_cayley.json,
//! orthogonal_exponential.json and sylvester.json, made by other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{close, flat, golden};
use flows_core::{Bijector, Context, Layer, Parameters, Tape, Values, stream};
use flows_finite::linear::{Generator, LuLinear, Orthogonal};
use flows_finite::residual::Sylvester;
use nalgebra::DMatrix;
use serde_json::Value;

fn set(model: &mut impl Parameters<f64>, part: &str, values: &[f64]) {
    let change = &mut |name: &str, _, tensor: &mut _| {
        if name == part { set_values(tensor, values) } else { Ok(()) }
    };
    model.visit_mut(change).unwrap();
}

/// Outputs and log-dets at 1e-10, the inverse at `inverse`.
fn agrees(map: &dyn Bijector<f64>, case: &Value, inverse: f64) {
    let (inputs, dim) = (flat(&case["inputs"]), map.dim());
    let z = batch(inputs.clone(), inputs.len() / dim, dim).unwrap();
    let out = map.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
    close("outputs", &out.value.values(), &flat(&case["outputs"]), 1e-10);
    close("log-det", &out.log_det.values(), &flat(&case["log_det"]), 1e-10);
    let back = map.inverse(&out.value, &Context::none(), &mut Tape::none()).unwrap();
    close("inverse", &back.value.values(), &inputs, inverse);
    let negated: Vec<f64> = back.log_det.values().iter().map(|l| -l).collect();
    close("inverse log-det", &negated, &flat(&case["log_det"]), inverse);
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
        let layer = LuLinear::from_factors(&order, &lower, &upper, &diagonal).unwrap();
        agrees(&layer, &case, 1e-10);
    }
}

#[test]
fn golden_orthogonal() {
    for (file, generator, part) in [
        ("householder", Generator::Householder(3), "reflections"),
        ("orthogonal_cayley", Generator::Cayley, "skew"),
        ("orthogonal_exponential", Generator::Exponential, "skew"),
    ] {
        for case in golden(file) {
            let dim = case["inputs"][0].as_array().unwrap().len();
            let map = Orthogonal::new(dim, generator).unwrap();
            let mut map = Layer::new(map, &mut stream(1, "init")).unwrap();
            set(&mut map, part, &flat(&case["parameters"][part]));
            agrees(&map, &case, 1e-10);
        }
    }
}

/// Vectors of reflections whose product has the columns of `q` as its first rows: column by column,
/// the reflection that exchanges it with its unit vector.
fn reflections(mut q: DMatrix<f64>) -> Vec<f64> {
    let (dim, units) = q.shape();
    let mut vectors = Vec::new();
    for i in 0..units {
        let mut v = q.column(i).into_owned();
        v[i] -= 1.0;
        let along = q.tr_mul(&v) * (2.0 / v.norm_squared());
        q -= &v * along.transpose();
        vectors.extend(v.iter().copied().take(dim));
    }
    vectors
}

#[test]
fn golden_sylvester() {
    for case in golden("sylvester") {
        let dim = case["inputs"][0].as_array().unwrap().len();
        let [q, r, r_tilde, bias] =
            ["Q", "R", "R_tilde", "b"].map(|key| flat(&case["parameters"][key]));
        let units = bias.len();
        let flow = Sylvester::new(dim, units, Generator::Householder(units)).unwrap();
        let mut flow = Layer::new(flow, &mut stream(1, "init")).unwrap();
        let q = DMatrix::from_row_slice(dim, units, &q);
        set(&mut flow, "reflections", &reflections(q));
        for (part, mut values) in [("r", r), ("r_tilde", r_tilde)] {
            values.iter_mut().step_by(units + 1).for_each(|d| *d = (*d / 0.999).atanh());
            set(&mut flow, part, &values);
        }
        set(&mut flow, "bias", &bias);
        agrees(&flow, &case, 1e-8);
    }
}
