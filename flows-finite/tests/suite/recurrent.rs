//! The recurrent layer against a plain loop, and at its edges.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::operation::LANES;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, distance, normal_point, perturb, wide,
};
use flows_core::{
    Batch, Bijector, Context, Cost, Error, Layer, Mapped, Parameters, Real, Tape, Values, normals,
    stream,
};
use flows_finite::Recurrent;
use flows_finite::transformer::Bernstein;
use flows_finite::{Affine, RationalQuadratic, Scale, Tails, Transformer};

fn layer<E: Real>(
    (dim, context, units): (usize, usize, usize),
    transformer: impl Transformer<E> + 'static,
) -> Layer<E> {
    let map = Recurrent::new(dim, context, units, Arc::new(transformer)).unwrap();
    Layer::new(map, &mut stream(7, "init")).unwrap()
}

fn moved(sizes: (usize, usize, usize), transformer: impl Transformer<f64> + 'static) -> Layer<f64> {
    let mut layer = layer(sizes, transformer);
    perturb(&mut layer, 0.4, &mut stream(3, "perturb")).unwrap();
    layer
}

fn spline(tails: Tails) -> RationalQuadratic {
    RationalQuadratic::new(4, 2.0, tails).unwrap()
}

fn affine() -> Affine {
    Affine::new(Scale::Bounded { bound: 2.0 }).unwrap()
}

fn tensors<E: Real>(layer: &Layer<E>) -> Vec<Vec<E>> {
    let mut all = Vec::new();
    layer.visit(&mut |_, _, tensor| all.push(tensor.values()));
    all
}

fn rows_of(values: &[f64], dim: usize) -> Batch<f64> {
    batch(values.to_vec(), values.len() / dim, dim).unwrap()
}

/// Row i of a matrix times a vector.
fn dot(matrix: &[f64], i: usize, vector: &[f64]) -> f64 {
    matrix[i * vector.len()..].iter().zip(vector).map(|(w, v)| w * v).sum()
}

fn sigmoid(a: f64) -> f64 {
    1.0 / (1.0 + (-a).exp())
}

/// theta of every feature of one row, by the equations.
fn thetas(tensors: &[Vec<f64>], x: &[f64], context: &[f64]) -> Vec<Vec<f64>> {
    let [input, state, bias, initial, output, output_bias] = tensors else {
        unreachable!("six tensors")
    };
    let n = initial.len();
    let (mut h, mut last) = (initial.clone(), 0.0);
    let mut all = Vec::new();
    for &feature in x {
        let u = [&[last], context].concat();
        let gate = |i: usize| dot(input, i, &u) + bias[i];
        h = (0..n)
            .map(|k| {
                let r = sigmoid(gate(k) + dot(state, k, &h));
                let s = sigmoid(gate(n + k) + dot(state, n + k, &h));
                let c = (gate(2 * n + k) + r * dot(state, 2 * n + k, &h)).tanh();
                (1.0 - s) * c + s * h[k]
            })
            .collect();
        all.push((0..output_bias.len()).map(|i| dot(output, i, &h) + output_bias[i]).collect());
        last = feature;
    }
    all
}

/// The transformer at one element.
fn at(transformer: &dyn Transformer<f64>, x: f64, theta: &[f64]) -> (f64, f64) {
    let theta: Vec<f64> = theta.iter().flat_map(|&t| [t; LANES]).collect();
    let (mut y, mut slope) = ([0.0; LANES], [0.0; LANES]);
    transformer.forward(&[x; LANES], &theta, &mut y, &mut slope).unwrap();
    (y[0], slope[0])
}

fn against_the_loop(transformer: impl Transformer<f64> + Clone + 'static) {
    for (dim, context, units) in [(1, 0, 3), (4, 0, 5), (3, 2, 4)] {
        let layer = moved((dim, context, units), transformer.clone());
        let rows = 150;
        let x = normals::<f64>(rows * dim, &mut stream(1, "x"));
        let c = normals::<f64>(rows * context, &mut stream(1, "context"));
        let given = if context == 0 { Context::none() } else { Context::of(rows_of(&c, context)) };
        let out = layer.inverse(&rows_of(&x, dim), &given, &mut Tape::none()).unwrap();
        let (values, log_dets) = (out.value.values(), out.log_det.values());
        for row in 0..rows {
            let point = &x[row * dim..(row + 1) * dim];
            let its = &c[row * context..(row + 1) * context];
            let mut total = 0.0;
            for (i, theta) in thetas(&tensors(&layer), point, its).iter().enumerate() {
                let (z, log_slope) = at(&transformer, point[i], theta);
                total += log_slope;
                assert!((values[row * dim + i] - z).abs() < 1e-12, "{row} {i}");
            }
            assert!((log_dets[row] - total).abs() < 1e-12, "{row}");
        }
    }
}

#[test]
fn values_and_log_dets_are_those_of_the_equations() {
    against_the_loop(affine());
    against_the_loop(spline(Tails::Linear));
}

#[test]
fn recurrent_layers_are_bijective() {
    for dim in [1, 2, 4] {
        for context in [0, 2] {
            let sizes = (dim, context, 5);
            let check = |mut layer: Layer<f64>, spread| {
                check_bijector(&mut layer, normal_point(spread), Tolerance::default());
            };
            check(moved(sizes, Affine::new(Scale::Exp).unwrap()), 1.0);
            check(moved(sizes, affine()), 1.0);
            for tails in [Tails::Identity, Tails::Linear] {
                check(moved(sizes, spline(tails)), 1.5);
            }
            check(moved(sizes, Bernstein::new(5, 3.0).unwrap()), 1.0);
        }
    }
}

fn map<E: Real>(
    layer: &Layer<E>,
    forward: bool,
    input: &Batch<E>,
    tape: &mut Tape<E>,
) -> Mapped<E> {
    let none = Context::none();
    let out =
        if forward { layer.forward(input, &none, tape) } else { layer.inverse(input, &none, tape) };
    out.unwrap()
}

fn plain<E: Real>(layer: &Layer<E>, forward: bool, input: &Batch<E>) -> Mapped<E> {
    map(layer, forward, input, &mut Tape::none())
}

/// Gradients of the input and of every tensor for the sum of `weights` times values, and of log-dets
/// where there are none.
fn gradients<E: Real>(
    layer: &Layer<E>,
    forward: bool,
    input: &Batch<E>,
    weights: Option<Vec<E>>,
) -> Vec<Vec<E>> {
    let mut tape = Tape::recording();
    let out = map(layer, forward, input, &mut tape);
    let gradients = tape.backward(|gradients| match &weights {
        Some(weights) => gradients.add(&out.value, weights),
        None => gradients.add(&out.log_det, &vec![E::one(); out.log_det.rows()]),
    });
    let mut gradients = gradients.unwrap();
    let mut all = vec![gradients.take(input).unwrap()];
    layer.visit(&mut |_, _, tensor| all.push(gradients.take(tensor).unwrap()));
    all
}

fn triangular(transformer: impl Transformer<f64> + 'static) {
    let layer = moved((5, 0, 4), transformer);
    let x: Vec<f64> = normals::<f64>(5, &mut stream(2, "x")).iter().map(|v| 0.5 * v).collect();
    for forward in [false, true] {
        let value = |x: &[f64]| plain(&layer, forward, &rows_of(x, 5)).value.values();
        let base = value(&x);
        for j in 0..5 {
            let mut other = x.clone();
            other[j] += 0.3;
            let image = value(&other);
            assert_eq!(image[..j], base[..j]);
            assert!(image[j] > base[j] && (j == 4 || image[j + 1] != base[j + 1]));
            let mut unit = vec![0.0; 5];
            unit[j] = 1.0;
            let row = gradients(&layer, forward, &rows_of(&x, 5), Some(unit)).remove(0);
            assert!(row[j] > 0.0 && row[j + 1..].iter().all(|&entry| entry == 0.0), "{row:?}");
        }
    }
}

#[test]
fn the_jacobian_is_exactly_lower_triangular_in_either_direction() {
    triangular(affine());
    triangular(spline(Tails::Identity));
}

#[test]
fn training_starts_at_the_identity() {
    let x = normals::<f64>(30, &mut stream(2, "x"));
    for tails in [Tails::Identity, Tails::Linear] {
        let layer = layer((3, 0, 4), spline(tails));
        for forward in [false, true] {
            let out = plain(&layer, forward, &rows_of(&x, 3));
            let same = out.value.values().iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(same && out.log_det.values().iter().all(|l| l.abs() < 1e-12));
        }
    }
}

#[test]
fn costs_and_work_are_those_of_the_transformer() {
    let closed = moved((3, 0, 4), spline(Tails::Linear));
    assert_eq!(closed.costs().forward, Cost::Sequential);
    assert_eq!(closed.costs().inverse, Cost::Sequential);
    let numeric = moved((3, 0, 4), Bernstein::new(5, 3.0).unwrap());
    assert_eq!(numeric.costs().forward, Cost::Iterative);
    let z = rows_of(&normals::<f64>(600, &mut stream(5, "z")), 3);
    let (exact, found) = (plain(&closed, true, &z), plain(&numeric, true, &z));
    assert_eq!((exact.work.network_passes, exact.work.iterations), (1, 0));
    assert!(found.work.network_passes == 1 && found.work.iterations >= 3);
    let back = plain(&numeric, false, &found.value);
    for (a, b) in back.value.values().iter().zip(z.values()) {
        assert!((a - b).abs() < 1e-10 * (1.0 + a.abs()));
    }
    let wide = rows_of(&[0.5; 4], 4);
    assert_error!(
        closed.forward(&wide, &Context::none(), &mut Tape::none()),
        Error::Dimension { op: "recurrent layer", got: 4, .. }
    );
    assert_error!(
        Recurrent::<f64>::new(0, 0, 3, Arc::new(affine())),
        Error::Parameter { .. },
        ["features and units of a recurrent layer", "at least 1"]
    );
    assert_error!(
        Recurrent::<f64>::new(2, 0, 0, Arc::new(affine())),
        Error::Parameter { .. },
        ["features and units of a recurrent layer", "at least 1"]
    );
}

/// The layer with the values of another in double precision, rounded to single.
fn copied<E: Real>(
    sizes: (usize, usize, usize),
    transformer: impl Transformer<E> + Transformer<f64> + Clone + 'static,
) -> (Layer<f64>, Layer<E>) {
    let mut wide = moved(sizes, transformer.clone());
    let values: Vec<Vec<f64>> =
        tensors(&wide).iter().map(|t| t.iter().map(|&v| f64::from(v as f32)).collect()).collect();
    let mut next = values.iter();
    wide.visit_mut(&mut |_, _, t| set_values(t, next.next().unwrap())).unwrap();
    let mut narrow = layer::<E>(sizes, transformer);
    let mut next = values.iter().map(|v| v.iter().map(|&v| E::of(v)).collect::<Vec<E>>());
    narrow.visit_mut(&mut |_, _, t| set_values(t, &next.next().unwrap())).unwrap();
    (wide, narrow)
}

fn finite<E: Real>(transformer: impl Transformer<E> + Transformer<f64> + Clone + 'static) {
    let tiny = E::min_positive_value().as_f64() / 8.0;
    let positive = [2.0, 1.0, 100.0, 1e6, 1e30, tiny];
    for dim in [1, 2, 3] {
        let (_, layer) = copied::<E>((dim, 0, 4), transformer.clone());
        for value in positive.iter().flat_map(|&v| [v, -v]).chain([0.0, -0.0]) {
            let x = batch(vec![E::of(value); dim], 1, dim).unwrap();
            for forward in [false, true] {
                let out = plain(&layer, forward, &x);
                let all = [out.value.values(), out.log_det.values()].concat();
                assert!(all.iter().all(|v| v.is_finite()), "{value:e}: {all:?}");
                if value.abs() > 1e6 {
                    continue;
                }
                for weights in [None, Some(vec![E::one(); dim])] {
                    for gradient in gradients(&layer, forward, &x, weights) {
                        assert!(gradient.iter().all(|g| g.is_finite()), "{value:e}: {gradient:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn edges_are_finite_in_either_precision() {
    finite::<f32>(affine());
    finite::<f64>(affine());
    finite::<f32>(spline(Tails::Identity));
    finite::<f64>(spline(Tails::Linear));
}

#[test]
fn single_precision_agrees_with_double() {
    let (dim, rows) = (4, 256);
    let (double, narrow) = copied::<f32>((dim, 0, 16), affine());
    let x: Vec<f32> = normals(rows * dim, &mut stream(6, "x"));
    let exact: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    let a = plain(&double, false, &rows_of(&exact, dim));
    let b = plain(&narrow, false, &batch(x, rows, dim).unwrap());
    let value = distance(&wide(&b.value.values()), &a.value.values());
    let log_det = distance(&wide(&b.log_det.values()), &a.log_det.values());
    let back = plain(&narrow, true, &b.value);
    let round_trip = distance(&wide(&back.value.values()), &exact);
    println!("f32: value {value:.1e}, log-det {log_det:.1e}, round trip {round_trip:.1e}");
    // theta is a sum of sixteen products and passes through four steps; scales are within e^2.
    assert!(value < 1e-5 && log_det < 1e-5 && round_trip < 1e-4);
}
