//! What the tests of transformers share: evaluation at points, differences, golden files, edges.
//!
//! Transformers come by config: so they are compiled in the library and not here once more.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::config::kinds;
use flows_core::operation::LANES;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{
    Architecture, Bijector, Chain, Context, Parameters, Real, Result, Role, Stream, Tape, Values,
    normals, stream,
};
use flows_finite::Tails;
use flows_finite::architecture::{
    CircularSplineConfig, Conditioner, CouplingFlow, CubicSplineConfig, LinearRationalConfig,
    LinearSplineConfig, Mixing, Perceptron, QuadraticSplineConfig, RationalQuadraticConfig,
    SplineConfig, TransformerConfig,
};
use flows_finite::transformer::{Inner, Outer, Transformer};
use serde_json::Value;

/// A transformer by config.
pub(crate) type Config = Arc<dyn TransformerConfig>;

/// Of every kind that is registered, the default.
pub(crate) fn registered() -> Vec<Config> {
    let of_kind = |kind| serde_json::from_value(serde_json::json!({ "kind": kind })).unwrap();
    kinds::<Config>().into_iter().map(of_kind).collect()
}

/// Every spline that has such tails.
pub(crate) fn splines(bins: usize, bound: f64, tails: Tails) -> Vec<Config> {
    let config = SplineConfig { bins, bound, tails };
    let mut all = vec![
        QuadraticSplineConfig(config).shared(),
        CubicSplineConfig(config).shared(),
        RationalQuadraticConfig(config).shared(),
        LinearRationalConfig(config).shared(),
    ];
    match tails {
        Tails::Identity => all.push(LinearSplineConfig(config).shared()),
        Tails::Circular => all.push(CircularSplineConfig(config).shared()),
        Tails::Linear => {}
    }
    all
}

/// A coupling that transforms the second half of `dim` features, its conditioner a perceptron.
pub(crate) fn coupling<E: Real>(
    transformer: &Config,
    (dim, context): (usize, usize),
    (hidden, activation): (&[usize], Activation),
    rng: &mut Stream,
) -> Chain<E> {
    let conditioner = Conditioner::Perceptron(Perceptron { hidden: hidden.to_vec(), activation });
    let (layers, mixing, act_norm) = (1, Mixing::None, false);
    let flow = CouplingFlow {
        layers,
        transformer: Arc::clone(transformer),
        conditioner,
        mixing,
        act_norm,
        ..CouplingFlow::default()
    };
    flow.build(dim, context, rng).unwrap()
}

/// Moves every learned value by `size` N(0, 1), the same in either precision.
pub(crate) fn move_parameters<E: Real>(model: &mut dyn Parameters<E>, size: f64) {
    let mut rng = stream(2, "move");
    let result = model.visit_mut(&mut |_, role, tensor| {
        if role == Role::Fixed {
            return Ok(());
        }
        let noise = normals::<f64>(tensor.values().len(), &mut rng);
        let values = tensor.values().into_iter().zip(noise);
        set_values(tensor, &values.map(|(v, n)| v + E::of(size * n)).collect::<Vec<E>>())
    });
    result.unwrap();
}

/// One value for all lanes.
pub(crate) fn spread<E: Real>(values: &[f64]) -> Vec<E> {
    values.iter().flat_map(|&v| vec![E::of(v); LANES]).collect()
}

/// Values and log-slopes at points under one set of parameters.
pub(crate) fn at<E: Real>(
    map: &Config,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> Result<(Vec<f64>, Vec<f64>)> {
    values_of(&*map.build::<E>()?, raw, points, inverse)
}

fn values_of<E: Real>(
    map: &dyn Transformer<E>,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let theta: Vec<E> = spread(raw);
    let (mut values, mut slopes) = (Vec::new(), Vec::new());
    for part in points.chunks(LANES) {
        let mut input = vec![E::of(part[0]); LANES];
        for (input, &point) in input.iter_mut().zip(part) {
            *input = E::of(point);
        }
        let (mut value, mut slope) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
        if inverse {
            map.inverse(&input, &theta, &mut value, &mut slope)?;
        } else {
            map.forward(&input, &theta, &mut value, &mut slope)?;
        }
        values.extend(value[..part.len()].iter().map(|v| v.as_f64()));
        slopes.extend(slope[..part.len()].iter().map(|v| v.as_f64()));
    }
    Ok((values, slopes))
}

/// Gradients of x and of the parameters for those of the value and the log-slope.
pub(crate) fn gradient<E: Real>(
    map: &dyn Transformer<E>,
    raw: &[f64],
    x: f64,
    (value, log_slope): (f64, f64),
    inverse: bool,
) -> Vec<f64> {
    let theta: Vec<E> = spread(raw);
    let (mut d_x, mut d_theta) = (vec![E::nan(); LANES], vec![E::nan(); theta.len()]);
    let (value, log_slope): (Vec<E>, Vec<E>) = (spread(&[value]), spread(&[log_slope]));
    let outer = Outer { value: &value, log_slope: &log_slope };
    let inner = Inner { value: &mut d_x, theta: &mut d_theta };
    if inverse {
        map.inverse_gradient(&spread::<E>(&[x]), &theta, outer, inner);
    } else {
        map.forward_gradient(&spread::<E>(&[x]), &theta, outer, inner);
    }
    d_x.iter().chain(&d_theta).step_by(LANES).map(|g| g.as_f64()).collect()
}

pub(crate) fn close(what: &str, got: f64, expected: f64, tolerance: f64) {
    let error = (got - expected).abs();
    assert!(
        error <= tolerance * (1.0 + expected.abs()),
        "{what}: got {got}, expected {expected}, difference {error:e}"
    );
}

pub(crate) fn draws(count: usize, seed: u64) -> Vec<f64> {
    normals(count, &mut stream(seed, "draws"))
}

/// Largest difference relative to 1 + |expected|.
pub(crate) fn worst(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(g, e)| (g - e).abs() / (1.0 + e.abs())).fold(0.0, f64::max)
}

/// Value and log-slope under raw parameters at a point.
pub(crate) type Formula<'a> = dyn Fn(&[f64], f64) -> (f64, f64) + 'a;

/// Holds value, log-slope and gradients against a plain version and its central differences.
pub(crate) fn check_against(
    map: &Config,
    plain: &Formula<'_>,
    raw: &[f64],
    points: &[f64],
    tolerance: f64,
) {
    let map = &*map.build::<f64>().unwrap();
    let (values, logs) = values_of(map, raw, points, false).unwrap();
    for ((&x, value), log) in points.iter().zip(values).zip(logs) {
        let (expected, expected_log) = plain(raw, x);
        close(&format!("value at {x}"), value, expected, tolerance);
        close(&format!("log-slope at {x}"), log, expected_log, tolerance);
        for (gy, gl) in [(1.0, 0.0), (0.0, 1.0), (0.7, -1.3)] {
            let objective = |raw: &[f64], x: f64| {
                let (y, l) = plain(raw, x);
                gy * y + gl * l
            };
            let h = 1e-5;
            let mut expected = vec![(objective(raw, x + h) - objective(raw, x - h)) / (2.0 * h)];
            for index in 0..raw.len() {
                let moved = |by: f64| {
                    let mut moved = raw.to_vec();
                    moved[index] += by;
                    objective(&moved, x)
                };
                expected.push((moved(h) - moved(-h)) / (2.0 * h));
            }
            let got = gradient(map, raw, x, (gy, gl), false);
            let size = expected.iter().fold(1.0_f64, |size, e| size.max(e.abs()));
            for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
                let what = format!("gradient {index} of ({gy}, {gl}) at {x}");
                close(&what, got / size, expected / size, 1e-6);
            }
        }
    }
}

/// Passes the transformer through the workspace's check within couplings of 1 to 3 features, its
/// parameters moved by `scale` N(0, 1) and by `offset`.
pub(crate) fn check_couplings(
    transformer: &Config,
    offset: &[f64],
    (scale, spread): (f64, f64),
    dims: &[usize],
) {
    for &dim in dims {
        let sizes = (dim, usize::from(dim == 2));
        let rng = &mut stream(7, "init");
        let mut coupling = coupling(transformer, sizes, (&[3], Activation::Tanh), rng);
        perturb(&mut coupling, scale, &mut stream(3, "perturb")).unwrap();
        let shift = coupling.visit_mut(&mut |name, _, tensor| {
            let mut values = tensor.values();
            if name.ends_with("bias1") {
                values.iter_mut().zip(offset.iter().cycle()).for_each(|(v, o)| *v += o);
            }
            set_values(tensor, &values)
        });
        shift.unwrap();
        check_bijector(&mut coupling, normal_point(spread), Tolerance::default());
    }
}

/// Errors of value, log-slope, inverse and its log-slope in f32 against f64 at single points.
pub(crate) fn single_errors(map: &Config, raw: &[f64], points: &[f64]) -> [f64; 4] {
    // Both precisions see the same numbers.
    let single = |v: &f64| f64::from(*v as f32);
    let raw: Vec<f64> = raw.iter().map(single).collect();
    let points: Vec<f64> = points.iter().map(single).collect();
    let wide = at::<f64>(map, &raw, &points, false).unwrap();
    let narrow = at::<f32>(map, &raw, &points, false).unwrap();
    let images: Vec<f64> = wide.0.iter().map(single).collect();
    let back = at::<f64>(map, &raw, &images, true).unwrap();
    let narrow_back = at::<f32>(map, &raw, &images, true).unwrap();
    [
        worst(&narrow.0, &wide.0),
        worst(&narrow.1, &wide.1),
        worst(&narrow_back.0, &back.0),
        worst(&narrow_back.1, &back.1),
    ]
}

/// A coupling, as it starts and moved, answers with finite numbers or an error whatever it is
/// given; returns the count of errors of the fresh one for inputs up to a million.
pub(crate) fn edges<E: Real>(transformer: &Config) -> usize {
    let tiny = E::min_positive_value().as_f64() / 8.0;
    let mut errors = 0;
    for (dim, moved) in [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)] {
        let mut rng = stream(1, "init");
        let network = (&[4][..], Activation::Relu);
        let mut coupling = coupling::<E>(transformer, (dim, 0), network, &mut rng);
        let shift = coupling.visit_mut(&mut |_, _, tensor| {
            let size = E::of(if moved { 0.3 } else { 0.0 });
            let noise = normals::<E>(tensor.values().len(), &mut rng);
            let values: Vec<E> =
                tensor.values().iter().zip(noise).map(|(&v, n)| v + size * n).collect();
            set_values(tensor, &values)
        });
        shift.unwrap();
        for value in [0.0, 2.0, 1e6, 1e30, tiny] {
            for (point, forward) in [(value, true), (-value, true), (value, false), (-value, false)]
            {
                let input = batch(vec![E::of(point); dim], 1, dim).unwrap();
                let (none, tape) = (Context::none(), &mut Tape::none());
                let out = if forward {
                    coupling.forward(&input, &none, tape)
                } else {
                    coupling.inverse(&input, &none, tape)
                };
                match out {
                    Ok(out) => {
                        let all = [out.value.values(), out.log_det.values()].concat();
                        assert!(all.iter().all(|v| v.is_finite()), "{point:e} {forward}");
                    }
                    Err(_) => errors += usize::from(value <= 1e6 && !moved),
                }
            }
        }
    }
    errors
}

/// Values, slopes and gradients at points are numbers; infinite gradients are honest, NaN are not.
pub(crate) fn numbers_at<E: Real>(map: &Config, raw: &[f64], points: &[f64]) {
    let map = &*map.build::<E>().unwrap();
    for &x in points {
        for inverse in [false, true] {
            let name = E::NAME;
            let out = values_of(map, raw, &[x], inverse);
            assert!(out.is_ok(), "{name} {x:e} {inverse}: {out:?}");
            let (value, log) = out.unwrap();
            assert!(value[0].is_finite() && log[0].is_finite(), "{name} {x:e} {inverse}");
            let place = if inverse { value[0] } else { x };
            let gradient = gradient(map, raw, place, (1.0, 1.0), inverse);
            assert!(gradient.iter().all(|g| !g.is_nan()), "{name} {x:e} {inverse}: {gradient:?}");
        }
    }
}

/// Cases of a golden file, from the folder that FLOWS_GOLDEN names or the project's copy.
pub(crate) fn golden(name: &str) -> Vec<Value> {
    let folder = std::env::var("FLOWS_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone()
}

pub(crate) fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}
