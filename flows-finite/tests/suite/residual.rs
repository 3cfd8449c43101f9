//! The contractive residual layer: reference values, the check of the workspace, edges.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, close, flat, golden, largest_difference, normal_point,
    perturb, wide,
};
use flows_core::{
    Batch, Bijector, Context, Error, Exactness, Inverse, Layer, Parameters, Purpose, Real, Role,
    Tape, Values, normals, stream,
};
use flows_finite::residual::{Constraint, Contractive, Determinant, LipschitzNetwork, Norm};
use nalgebra::{DMatrix, DVector};

use crate::sums::apply;

const EXACT: Constraint = Constraint { coefficient: 0.9, norm: Norm::Exact };
const POWER: Constraint = Constraint { coefficient: 0.9, norm: Norm::Power { iterations: 5 } };

fn layer<E: Real>(
    sizes: (usize, usize),
    hidden: &[usize],
    activation: Activation,
    constraint: Constraint,
) -> Layer<E> {
    let network = LipschitzNetwork::new(sizes, hidden, activation, constraint).unwrap();
    let map = Contractive::new(network, Determinant::Exact, Determinant::Exact).unwrap();
    Layer::new(map, &mut stream(1, "init")).unwrap()
}

fn lipschitz(layer: &Layer<f64>) -> f64 {
    Contractive::lipschitz(&layer.prepared().unwrap())
}

#[test]
fn golden_contractive_residual() {
    for case in golden("contractive_residual") {
        let [w1, b1, w2, b2] = ["W1", "b1", "W2", "b2"].map(|key| flat(&case["parameters"][key]));
        let layers: [(&[f64], &[f64]); 2] = [(&w1, &b1), (&w2, &b2)];
        let (inputs, dim) = (flat(&case["inputs"]), b2.len());
        for constraint in [EXACT, POWER] {
            let (sizes, hidden) = ((dim, 0), [b1.len()]);
            let network =
                LipschitzNetwork::new(sizes, &hidden, Activation::Tanh, constraint).unwrap();
            let map = Contractive::new(network, Determinant::Exact, Determinant::Exact).unwrap();
            let layer = map.with_weights::<f64>(&layers).unwrap();
            assert!((lipschitz(&layer) - 0.81).abs() < 1e-7);
            let z = batch(inputs.clone(), inputs.len() / dim, dim).unwrap();
            let out = apply(&layer, true, &z, &mut Tape::none()).unwrap();
            close("outputs", &out.value.values(), &flat(&case["outputs"]), 1e-10);
            close("log-det", &out.log_det.values(), &flat(&case["log_det"]), 1e-10);
            let back = apply(&layer, false, &out.value, &mut Tape::none()).unwrap();
            close("inverse", &back.value.values(), &inputs, 1e-12);
        }
    }
}

/// An activation with its derivative.
type Curve = (fn(f64) -> f64, fn(f64) -> f64);

/// g and its Jacobian in plain matrices, the weights limited by their singular values.
fn plain(
    model: &impl Parameters<f64>,
    activation: Curve,
    (coefficient, dim): (f64, usize),
    input: &[f64],
) -> (DVector<f64>, DMatrix<f64>, f64) {
    let mut tensors = Vec::new();
    model.visit(&mut |name, _, tensor| {
        if name.contains("weight") || name.contains("bias") {
            tensors.push((tensor.rows(), tensor.values()));
        }
    });
    let layers = tensors.len() / 2;
    let limit = f64::powf(coefficient, 1.0 / layers as f64);
    let (mut h, mut lipschitz) = (DVector::from_row_slice(input), 1.0);
    let mut jacobian = DMatrix::identity(input.len(), dim);
    for (layer, pair) in tensors.chunks(2).enumerate() {
        let mut weight = DMatrix::from_row_slice(pair[0].0, h.len(), &pair[0].1);
        let counted = if layer == 0 { dim } else { h.len() };
        let norm = weight.columns(0, counted).into_owned().singular_values().max();
        weight.columns_mut(0, counted).scale_mut((limit / norm).min(1.0));
        lipschitz *= norm.min(limit);
        let a = &weight * h + DVector::from_row_slice(&pair[1].1);
        jacobian = weight * jacobian;
        h = a.clone();
        if layer + 1 < layers {
            h = a.map(activation.0);
            jacobian = DMatrix::from_diagonal(&a.map(activation.1)) * jacobian;
        }
    }
    (h, jacobian, lipschitz)
}

#[test]
fn values_and_log_dets_are_those_of_plain_matrices() {
    let tanh: Curve = (f64::tanh, |a| 1.0 - a.tanh().powi(2));
    let softplus: Curve = (|a| a.max(0.0) + (-a.abs()).exp().ln_1p(), |a| 1.0 / (1.0 + (-a).exp()));
    for (dim, context) in [(1, 0), (2, 1), (5, 2), (20, 0)] {
        for hidden in [&[][..], &[7], &[9, 6], &[40, 40]] {
            for (kind, curve) in [(Activation::Tanh, tanh), (Activation::Softplus, softplus)] {
                compare((dim, context), hidden, (kind, curve), (EXACT, 1e-12));
                compare((dim, context), hidden, (kind, curve), (POWER, 1e-7));
            }
        }
    }
}

fn compare(
    (dim, context): (usize, usize),
    hidden: &[usize],
    (kind, curve): (Activation, Curve),
    (constraint, tolerance): (Constraint, f64),
) {
    let mut layer = layer::<f64>((dim, context), hidden, kind, constraint);
    let rng = &mut stream(4, "move");
    perturb(&mut layer, 0.5, rng).unwrap();
    layer.set_purpose(Purpose::Reporting).unwrap();
    let input = normals::<f64>(dim + context, rng);
    let (g, jacobian, bound) = plain(&layer, curve, (0.9, dim), &input);
    let features = match context {
        0 => Context::none(),
        _ => Context::of(batch(input[dim..].to_vec(), 1, context).unwrap()),
    };
    let z = batch(input[..dim].to_vec(), 1, dim).unwrap();
    let out = layer.forward(&z, &features, &mut Tape::none()).unwrap();
    let value: Vec<f64> = input.iter().zip(g.iter()).map(|(z, g)| z + g).collect();
    close("value", &out.value.values(), &value, tolerance);
    let determinant = (DMatrix::identity(dim, dim) + jacobian).determinant();
    close("log-det", &out.log_det.values(), &[determinant.ln()], tolerance);
    close("Lipschitz constant", &[lipschitz(&layer)], &[bound], tolerance);
}

/// The spectral norm of the weight that a layer without hidden units uses.
fn used_norm<E: Real>(layer: &Layer<E>) -> f64 {
    let dim = layer.dim();
    // The origin, then the unit vectors.
    let mut points = vec![E::zero(); (dim + 1) * dim];
    points[dim..].iter_mut().step_by(dim + 1).for_each(|v| *v = E::one());
    let input = batch(points.clone(), dim + 1, dim).unwrap();
    let out = apply(layer, true, &input, &mut Tape::none()).unwrap();
    let images: Vec<f64> = out.value.values().iter().map(|v| v.as_f64()).collect();
    let rows = (0..dim * dim).map(|k| images[dim + k] - images[k % dim] - points[dim + k].as_f64());
    DMatrix::from_row_slice(dim, dim, &rows.collect::<Vec<_>>()).singular_values().max()
}

#[test]
fn weights_are_used_with_a_norm_of_at_most_the_coefficient() {
    for dim in [1, 2, 7, 60] {
        for scale in [0.01, 0.5, 20.0] {
            for (constraint, slack) in [(EXACT, 1e-12), (POWER, 1e-7)] {
                let rng = &mut stream(4, "weights");
                let weight = DMatrix::from_vec(dim, dim, normals::<f64>(dim * dim, rng)) * scale;
                let expected = weight.clone().singular_values().max().min(0.9);
                let mut layer = layer::<f64>((dim, 0), &[], Activation::Tanh, constraint);
                let replace = &mut |name: &str, _, tensor: &mut Batch<f64>| {
                    let values = weight.as_slice();
                    if name.contains("weight") { set_values(tensor, values) } else { Ok(()) }
                };
                layer.visit_mut(replace).unwrap();
                layer.set_purpose(Purpose::Reporting).unwrap();
                let (norm, bound) = (used_norm(&layer), lipschitz(&layer));
                close("norms", &[norm, bound], &[expected, expected], slack);
            }
        }
    }
}

#[test]
fn power_iteration_follows_weights_that_move() {
    for iterations in [1, 5] {
        let constraint = Constraint { coefficient: 0.9, norm: Norm::Power { iterations } };
        let mut layer = layer::<f32>((40, 0), &[], Activation::Tanh, constraint);
        layer.set_purpose(Purpose::Training).unwrap();
        let rng = &mut stream(6, "walk");
        let mut worst = 0.0_f64;
        for _ in 0..200 {
            layer
                .visit_mut(&mut |_, role, tensor| {
                    let noise = normals::<f32>(tensor.values().len(), rng);
                    let moved = tensor.values().into_iter().zip(noise).map(|(v, n)| v + 0.01 * n);
                    let moved: Vec<f32> = moved.collect();
                    if role == Role::Learned { set_values(tensor, &moved) } else { Ok(()) }
                })
                .unwrap();
            layer.begin_step(&mut stream(0, "probes")).unwrap();
            worst = worst.max(used_norm(&layer));
        }
        layer.set_purpose(Purpose::Reporting).unwrap();
        let reported = used_norm(&layer);
        println!("{iterations} iterations a step: norm up to {worst:.4}, {reported:.7} converged");
        assert!(worst < 1.0 && reported < 0.9 * (1.0 + 2e-6));
    }
}

fn check(mut bijector: impl Bijector<f64>) {
    perturb(&mut bijector, 0.3, &mut stream(3, "perturb")).unwrap();
    bijector.set_purpose(Purpose::Reporting).unwrap();
    check_bijector(&mut bijector, normal_point(1.0), Tolerance::default());
}

#[test]
fn contractive_layers_are_bijective() {
    for (dim, context) in [(1, 0), (1, 2), (2, 0), (2, 1), (5, 0), (5, 2)] {
        for hidden in [&[6][..], &[5, 4]] {
            check(layer((dim, context), hidden, Activation::Tanh, EXACT));
        }
    }
    for activation in [Activation::Softplus, Activation::Silu] {
        check(layer((3, 1), &[5, 4], activation, EXACT));
    }
    check(layer((3, 0), &[], Activation::Tanh, EXACT));
    check(layer((3, 1), &[5], Activation::Tanh, POWER));
    check(Inverse::new(Box::new(layer((2, 1), &[5], Activation::Tanh, POWER))));
}

#[test]
fn the_series_of_one_feature_has_the_gradient_of_its_value() {
    // One feature's probes are signs, v^T J^k v = J^k: the estimate has no noise.
    let series = Determinant::Series { terms: 4, probes: 2 };
    for context in [0, 2] {
        let network = LipschitzNetwork::new((1, context), &[6], Activation::Tanh, EXACT);
        let map = Contractive::new(network.unwrap(), series, series).unwrap();
        let layer = Layer::<f64>::new(map, &mut stream(1, "init")).unwrap();
        assert_eq!(layer.exactness(), Exactness::Estimated);
        check(layer);
    }
}

#[test]
fn rows_do_not_depend_on_their_batch_mates() {
    let layer = layer::<f64>((3, 0), &[8], Activation::Tanh, EXACT);
    let values = normals::<f64>(3 * 300, &mut stream(2, "rows"));
    let inverse = |rows: Vec<f64>| {
        let count = rows.len() / 3;
        apply(&layer, false, &batch(rows, count, 3).unwrap(), &mut Tape::none()).unwrap()
    };
    let all = inverse(values.clone());
    for row in [0, 127, 128, 299] {
        let one = inverse(values[3 * row..3 * row + 3].to_vec());
        assert_eq!(one.value.values(), all.value.values()[3 * row..3 * row + 3]);
        assert_eq!(one.log_det.values()[0], all.log_det.values()[row]);
    }
}

/// Values, log-dets and the gradient of the input at the edges of the numbers.
fn edges<E: Real>(dim: usize, activation: Activation) {
    let layer = layer::<E>((dim, 0), &[6, 5], activation, EXACT);
    let tiny = E::min_positive_value().as_f64() / 4.0;
    let values = [0.0, 1e6, -1e6, 1e30, -1e30, tiny, 1.0];
    let rows: Vec<E> = values.iter().flat_map(|&v| vec![E::of(v); dim]).collect();
    let input = batch(rows, values.len(), dim).unwrap();
    for forward in [true, false] {
        let mut tape = Tape::recording();
        let out = apply(&layer, forward, &input, &mut tape).unwrap();
        let finite = |values: Vec<E>| assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
        finite(out.value.values());
        finite(out.log_det.values());
        finite(gradient_of_mean(-1.0, &out.log_det, tape).unwrap().take(&input).unwrap());
    }
    let broken = batch(vec![E::nan(); dim], 1, dim).unwrap();
    assert_error!(
        apply(&layer, false, &broken, &mut Tape::none()),
        Error::NotConverged { row: 0, .. },
        ["inverse of a contractive layer"]
    );
}

#[test]
fn edges_are_finite() {
    for activation in [Activation::Tanh, Activation::Relu, Activation::Softplus, Activation::Silu] {
        for dim in [1, 4] {
            edges::<f32>(dim, activation);
            edges::<f64>(dim, activation);
        }
    }
}

#[test]
fn single_precision_is_as_accurate_as_its_rounding() {
    let constraint = Constraint { coefficient: 0.97, norm: Norm::Exact };
    for (dim, hidden) in [(1, 8), (5, 64), (20, 128)] {
        let single = layer::<f32>((dim, 0), &[hidden, hidden], Activation::Softplus, constraint);
        let double = layer::<f64>((dim, 0), &[hidden, hidden], Activation::Softplus, constraint);
        for spread in [1.0, 100.0] {
            let rows: Vec<f32> = normals::<f32>(500 * dim, &mut stream(5, "rows"));
            let rows: Vec<f32> = rows.iter().map(|v| v * spread).collect();
            let exact = batch(wide(&rows), 500, dim).unwrap();
            let rows = batch(rows, 500, dim).unwrap();
            let x = apply(&single, false, &rows, &mut Tape::none()).unwrap();
            let y = apply(&double, false, &exact, &mut Tape::none()).unwrap();
            let (value, expected) = (wide(&x.value.values()), y.value.values());
            let value = largest_difference(&value, &expected) / f64::from(1.0 + spread);
            let log_det = largest_difference(&wide(&x.log_det.values()), &y.log_det.values());
            println!(
                "D {dim}, spread {spread}: value {value:.1e}, log-det {log_det:.1e}, {} and {} \
                 iterations",
                x.work.iterations, y.work.iterations
            );
            // The fixed point magnifies what g is rounded by, a few units of its size, by
            // 1 / (1 - L) at most. Singular values of I + J lie between 1 - L and 1 + L: the
            // logarithm of each of D is off by the condition times a few units of the entries.
            let (c, epsilon) = (constraint.coefficient, f64::from(f32::EPSILON));
            assert!(value < 5.0 * epsilon / (1.0 - c), "{value:e}");
            assert!(log_det < dim as f64 * epsilon * (1.0 + c) / (1.0 - c), "{log_det:e}");
        }
    }
}

#[test]
fn settings_outside_their_range_are_refused() {
    let network = |coefficient, norm| {
        let constraint = Constraint { coefficient, norm };
        LipschitzNetwork::new((2, 0), &[3], Activation::Tanh, constraint)
    };
    for coefficient in [0.0, 1.0, -1.0, f64::NAN] {
        assert_error!(
            network(coefficient, Norm::Exact),
            Error::Parameter { .. },
            ["Lipschitz coefficient", "between 0 and 1", &format!("got {coefficient}")]
        );
    }
    assert_error!(
        network(0.9, Norm::Power { iterations: 0 }),
        Error::Parameter { .. },
        ["power iterations", "at least 1"]
    );
    let roulette =
        |exact_terms, probability| Determinant::Roulette { exact_terms, probability, probes: 1 };
    let (terms, probability) = ("terms of the log-det series", "probability of the roulette");
    for (wrong, name) in [
        (Determinant::Series { terms: 0, probes: 1 }, terms),
        (Determinant::Series { terms: 2, probes: 0 }, "probes"),
        (roulette(0, 0.5), terms),
        (roulette(2, 1.0), probability),
        (roulette(2, f64::NAN), probability),
    ] {
        let network = network(0.9, Norm::Exact).unwrap();
        assert_error!(
            Contractive::new(network, wrong, Determinant::Exact),
            Error::Parameter { .. },
            [name]
        );
    }
    let map = |dim: usize| {
        let network = LipschitzNetwork::new((dim, 0), &[], Activation::Tanh, EXACT).unwrap();
        Contractive::new(network, Determinant::Exact, Determinant::Exact).unwrap()
    };
    let layers: [(&[f64], &[f64]); 1] = [(&[0.1, 0.2, 0.3], &[0.0, 0.0])];
    assert_error!(
        map(2).with_weights::<f64>(&layers),
        Error::Tensors { .. },
        ["expected 4 values", "got 3"]
    );
    assert_error!(map(1).with_weights::<f64>(&[]), Error::Tensors { .. }, ["layout", "got"]);
}
