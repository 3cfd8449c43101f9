//! The block neural autoregressive flow against a dense network, and at its edges.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, distance, normal_point, perturb, wide,
};
use flows_core::{
    Batch, Bijector, Context, Cost, Error, Layer, Mapped, Parameters, Real, Result, Tape, Values,
    normals, stream,
};
use flows_finite::BlockAutoregressive;

const KNEE: f64 = 3.0;

fn layer<E: Real>(dim: usize, context: usize, hidden: &[usize]) -> Layer<E> {
    let map = BlockAutoregressive::new(dim, context, hidden).unwrap();
    Layer::new(map, &mut stream(7, "init")).unwrap()
}

fn map<E: Real>(
    layer: &Layer<E>,
    forward: bool,
    input: &Batch<E>,
    tape: &mut Tape<E>,
) -> Result<Mapped<E>> {
    let none = Context::none();
    if forward { layer.forward(input, &none, tape) } else { layer.inverse(input, &none, tape) }
}

/// Without a tape.
fn image<E: Real>(layer: &Layer<E>, forward: bool, input: &Batch<E>) -> Result<Mapped<E>> {
    map(layer, forward, input, &mut Tape::none())
}

/// The same layer in both precisions, `scale` away from where training starts.
fn moved<E: Real>(
    dim: usize,
    context: usize,
    hidden: &[usize],
    scale: f64,
) -> (Layer<f64>, Layer<E>) {
    let mut wide = layer::<f64>(dim, context, hidden);
    perturb(&mut wide, scale, &mut stream(3, "perturb")).unwrap();
    // Values that both precisions hold.
    let values: Vec<Vec<f64>> =
        tensors(&wide).iter().map(|t| t.iter().map(|&v| f64::from(v as f32)).collect()).collect();
    let mut narrow = layer::<E>(dim, context, hidden);
    let mut next = values.iter();
    wide.visit_mut(&mut |_, _, t| set_values(t, next.next().unwrap())).unwrap();
    let mut next = values.iter();
    let cast = |v: &Vec<f64>| v.iter().map(|&v| E::of(v)).collect::<Vec<E>>();
    narrow.visit_mut(&mut |_, _, t| set_values(t, &cast(next.next().unwrap()))).unwrap();
    (wide, narrow)
}

fn tensors(layer: &Layer<f64>) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    layer.visit(&mut |_, _, tensor| all.push(tensor.values()));
    all
}

/// z and dz/dx of one row by dense matrices, zeros above the diagonal and all.
fn plain(
    tensors: &[Vec<f64>],
    dim: usize,
    hidden: &[usize],
    x: &[f64],
    context: &[f64],
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let widths = [&[1], hidden, &[1]].concat();
    let mut h = [context, x].concat();
    // Row for each unit: its derivative for each x.
    let derivative = |i: usize, j: usize| if i == context.len() + j { 1.0 } else { 0.0 };
    let mut jacobian: Vec<Vec<f64>> =
        (0..h.len()).map(|i| (0..dim).map(|j| derivative(i, j)).collect()).collect();
    for (l, tensors) in tensors.chunks(3).enumerate() {
        let (fan_in, units) = (widths[l], widths[l + 1]);
        let free = h.len() - dim * fan_in;
        let (raw, gain, bias) = (&tensors[0], &tensors[1], &tensors[2]);
        let (diagonal, mut left) = raw.split_at(dim * units * fan_in);
        let (mut above, mut rows) = (Vec::new(), Vec::new());
        for unit in 0..dim * units {
            let before = free + unit / units * fan_in;
            let mut row = vec![0.0; h.len()];
            row[..before].copy_from_slice(&left[..before]);
            left = &left[before..];
            for k in 0..fan_in {
                row[before + k] = diagonal[unit * fan_in + k].exp();
            }
            let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
            row.iter_mut().for_each(|v| *v *= gain[unit].exp() / norm);
            let a = bias[unit] + row.iter().zip(&h).map(|(w, h)| w * h).sum::<f64>();
            let last = l + 1 == hidden.len() + 1;
            let (value, slope) = if last { (a, 1.0) } else { leaky_tanh(a) };
            above.push(value);
            let sum = |j: usize| row.iter().zip(&jacobian).map(|(w, d)| w * d[j]).sum::<f64>();
            rows.push((0..dim).map(|j| slope * sum(j)).collect());
        }
        (h, jacobian) = (above, rows);
    }
    (h, jacobian)
}

fn leaky_tanh(a: f64) -> (f64, f64) {
    let leak = 1.0 - KNEE.tanh().powi(2);
    if a.abs() > KNEE {
        (a.signum() * (KNEE.tanh() + leak * (a.abs() - KNEE)), leak)
    } else {
        (a.tanh(), 1.0 - a.tanh().powi(2))
    }
}

fn rows_of(values: &[f64], dim: usize) -> Batch<f64> {
    batch(values.to_vec(), values.len() / dim, dim).unwrap()
}

#[test]
fn values_and_log_dets_are_those_of_a_dense_network() {
    let mut worst: f64 = 0.0;
    for (dim, context, hidden) in
        [(1, 0, vec![3]), (3, 0, vec![]), (3, 2, vec![4, 3]), (5, 1, vec![2, 3, 2])]
    {
        let (layer, _) = moved::<f64>(dim, context, &hidden, 0.5);
        let rows = 150;
        let x: Vec<f64> =
            normals::<f64>(rows * dim, &mut stream(1, "x")).iter().map(|v| 3.0 * v).collect();
        let c: Vec<f64> = normals(rows * context, &mut stream(1, "context"));
        let given = if context == 0 { Context::none() } else { Context::of(rows_of(&c, context)) };
        let out = layer.inverse(&rows_of(&x, dim), &given, &mut Tape::none()).unwrap();
        let (values, log_dets) = (out.value.values(), out.log_det.values());
        for row in 0..rows {
            let its = &c[row * context..(row + 1) * context];
            let point = &x[row * dim..(row + 1) * dim];
            let (z, jacobian) = plain(&tensors(&layer), dim, &hidden, point, its);
            let log_det: f64 = (0..dim).map(|i| jacobian[i][i].ln()).sum();
            worst = worst.max((log_dets[row] - log_det).abs());
            for (got, z) in values[row * dim..(row + 1) * dim].iter().zip(&z) {
                worst = worst.max((got - z).abs() / (1.0 + z.abs()));
            }
            for (i, row) in jacobian.iter().enumerate() {
                assert!(row[i] > 0.0 && row[i + 1..].iter().all(|&entry| entry == 0.0));
            }
        }
    }
    println!("largest difference from the dense network: {worst:.1e}");
    // Sums of some twenty products of order one, through four layers.
    assert!(worst < 1e-12, "{worst:e}");
}

/// Gradient of `input` for the sum of `weights` times values, and of log-dets where there are none.
fn gradient<E: Real>(
    layer: &Layer<E>,
    forward: bool,
    input: &Batch<E>,
    weights: Option<&[E]>,
) -> Vec<E> {
    let mut tape = Tape::recording();
    let out = map(layer, forward, input, &mut tape).unwrap();
    let gradients = tape.backward(|gradients| match weights {
        Some(weights) => gradients.add(&out.value, weights),
        None => gradients.add(&out.log_det, &vec![E::one(); out.log_det.rows()]),
    });
    gradients.unwrap().take(input).unwrap()
}

#[test]
fn gradients_are_those_of_the_dense_network() {
    let (dim, hidden) = (4, [3, 4]);
    let (layer, _) = moved::<f64>(dim, 0, &hidden, 0.5);
    let x = normals::<f64>(dim, &mut stream(2, "x"));
    let input = rows_of(&x, dim);
    let all = tensors(&layer);
    let (_, jacobian) = plain(&all, dim, &hidden, &x, &[]);
    for i in 0..dim {
        let mut unit = vec![0.0; dim];
        unit[i] = 1.0;
        let row = gradient(&layer, false, &input, Some(&unit));
        for j in 0..dim {
            assert!((row[j] - jacobian[i][j]).abs() < 1e-12, "{i} {j}: {row:?}");
            // Claim: exactly lower triangular.
            assert!(j <= i || row[j] == 0.0);
        }
    }
    let log_det = |x: &[f64]| -> f64 {
        let (_, jacobian) = plain(&all, dim, &hidden, x, &[]);
        (0..dim).map(|i| jacobian[i][i].ln()).sum()
    };
    let gradient = gradient(&layer, false, &input, None);
    for j in 0..dim {
        let (mut up, mut down) = (x.clone(), x.clone());
        up[j] += 1e-5;
        down[j] -= 1e-5;
        let difference = (log_det(&up) - log_det(&down)) / 2e-5;
        assert!((gradient[j] - difference).abs() < 1e-8, "{j}: {} {difference}", gradient[j]);
    }
}

#[test]
fn the_jacobian_is_exactly_lower_triangular_in_either_direction() {
    let (layer, _) = moved::<f64>(5, 0, &[3, 4], 0.5);
    let x = normals::<f64>(5, &mut stream(2, "x"));
    for forward in [false, true] {
        let image = |x: &[f64]| image(&layer, forward, &rows_of(x, 5)).unwrap().value.values();
        let base = image(&x);
        for j in 0..5 {
            let mut other = x.clone();
            other[j] += 0.7;
            let image = image(&other);
            assert_eq!(image[..j], base[..j]);
            assert!(image[j] > base[j], "increasing");
        }
        for i in 0..5 {
            let mut unit = vec![0.0; 5];
            unit[i] = 1.0;
            let row = gradient(&layer, forward, &rows_of(&x, 5), Some(&unit));
            assert!(row[i] > 0.0 && row[i + 1..].iter().all(|&entry| entry == 0.0), "{row:?}");
        }
    }
}

#[test]
fn block_autoregressive_networks_are_bijective() {
    for dim in [1, 2, 4] {
        for context in [0, 2] {
            for hidden in [vec![], vec![3], vec![4, 3]] {
                let mut layer = layer::<f64>(dim, context, &hidden);
                // Farther away, slopes of 4e-4 put some x at -2000, where a raw weight that moves
                // by the check's step moves its unit by so much that the difference is off by 1e-3;
                // it converges to the gradient with the square of the step.
                perturb(&mut layer, 0.25, &mut stream(3, "perturb")).unwrap();
                check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
            }
        }
    }
}

#[test]
fn training_starts_near_the_identity() {
    for dim in [1, 2, 20] {
        for hidden in [vec![], vec![1], vec![3], vec![10], vec![50], vec![10, 10], vec![50; 3]] {
            let layer = layer::<f64>(dim, 0, &hidden);
            let mut x = normals::<f64>(500 * dim, &mut stream(4, "x"));
            x.iter_mut().for_each(|v| *v = v.clamp(-3.0, 3.0));
            let out = image(&layer, false, &rows_of(&x, dim)).unwrap();
            let error = |(z, x): (&f64, &f64)| (z - x).powi(2);
            let pairs = out.value.values();
            let squares: f64 = pairs.iter().zip(&x).map(error).sum();
            let off = (squares / x.len() as f64).sqrt();
            let log_dets = out.log_det.values();
            let mean = log_dets.iter().sum::<f64>() / (log_dets.len() * dim) as f64;
            let least = log_dets.iter().copied().fold(f64::INFINITY, f64::min) / dim as f64;
            let most = log_dets.iter().copied().fold(f64::NEG_INFINITY, f64::max) / dim as f64;
            println!("{dim} {hidden:?}: off {off:.2}, log-slope {mean:.2} [{least:.2} {most:.2}]");
            // The bank of tanhs is a sum for an integral, and its reach ends at 4: an eighth or so
            // a layer. A single unit, tanh over [-4, 4], has slope 1 - tanh(3/4)^2 = 0.6 at 3.
            assert!(off < 0.25 && mean.abs() < 0.2 && least > -0.7 && most < 0.4);
        }
    }
}

#[test]
fn costs_and_work_say_which_direction_searches() {
    let (layer, _) = moved::<f64>(3, 0, &[4], 0.3);
    assert_eq!(layer.costs().inverse, Cost::ClosedForm);
    assert_eq!(layer.costs().forward, Cost::Iterative);
    let z = rows_of(&normals::<f64>(600, &mut stream(5, "z")), 3);
    let out = image(&layer, true, &z).unwrap();
    println!("iterations for 3 features: {}", out.work.iterations);
    assert_eq!(out.work.network_passes, 1);
    // Newton's method from z itself: a handful for each feature, a few more for the worst row.
    assert!((3..=90).contains(&out.work.iterations), "{}", out.work.iterations);
    let back = image(&layer, false, &out.value).unwrap();
    assert_eq!((back.work.network_passes, back.work.iterations), (1, 0));
}

#[test]
fn a_row_without_a_root_is_named() {
    let layer = layer::<f64>(2, 0, &[3]);
    let mut z = vec![0.5; 400];
    z[2 * 130 + 1] = f64::NAN;
    let result = image(&layer, true, &rows_of(&z, 2));
    assert!(matches!(result, Err(Error::NotConverged { row: 130, .. })), "{result:?}");
    assert_error!(
        image(&layer, true, &rows_of(&[0.5; 3], 3)),
        Error::Dimension { expected: 2, got: 3, .. }
    );
    assert_error!(
        BlockAutoregressive::new(0, 0, &[3]),
        Error::Parameter { .. },
        ["features", "at least 1"]
    );
    assert_error!(
        BlockAutoregressive::new(2, 0, &[3, 0]),
        Error::Parameter { .. },
        ["units of a feature", "at least 1"]
    );
}

fn edges<E: Real>(largest: f64) -> Vec<f64> {
    let tiny = E::min_positive_value().as_f64() / 8.0;
    let positive = [KNEE, 1.0, 100.0, 1e6, largest, tiny];
    positive.iter().flat_map(|&v| [v, -v]).chain([0.0, -0.0]).collect()
}

fn finite<E: Real>() {
    for dim in [1, 2, 3] {
        for hidden in [vec![], vec![4], vec![5, 4, 3]] {
            for scale in [0.0, 0.5] {
                let (_, layer) = moved::<E>(dim, 0, &hidden, scale);
                for value in edges::<E>(1e30) {
                    let x = batch(vec![E::of(value); dim], 1, dim).unwrap();
                    let out = image(&layer, false, &x).unwrap();
                    let all = [out.value.values(), out.log_det.values()].concat();
                    assert!(all.iter().all(|v| v.is_finite()), "{value:e}: {all:?}");
                    let back = image(&layer, true, &x);
                    if let Ok(back) = &back {
                        let all = [back.value.values(), back.log_det.values()].concat();
                        assert!(all.iter().all(|v| v.is_finite()), "{value:e}: {all:?}");
                    }
                    if value.abs() > 1e6 {
                        continue;
                    }
                    assert!(back.is_ok(), "{value:e}: {back:?}");
                    for forward in [false, true] {
                        for weights in [None, Some(vec![E::one(); dim])] {
                            let got = gradient(&layer, forward, &x, weights.as_deref());
                            assert!(got.iter().all(|g| g.is_finite()), "{value:e}: {got:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn edges_are_finite_in_either_precision() {
    finite::<f32>();
    finite::<f64>();
}

#[test]
fn single_precision_agrees_with_double() {
    let (dim, rows) = (3, 256);
    let (double, narrow) = moved::<f32>(dim, 0, &[10, 10], 0.3);
    let x: Vec<f32> = normals(rows * dim, &mut stream(6, "x"));
    let exact: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    let a = image(&double, false, &rows_of(&exact, dim)).unwrap();
    let b = image(&narrow, false, &batch(x, rows, dim).unwrap()).unwrap();
    let value = distance(&wide(&b.value.values()), &a.value.values());
    let log_det = distance(&wide(&b.log_det.values()), &a.log_det.values());
    let back = image(&narrow, true, &b.value).unwrap();
    let round_trip = distance(&wide(&back.value.values()), &exact);
    println!("f32: value {value:.1e}, log-det {log_det:.1e}, round trip {round_trip:.1e}");
    // Sums of twenty terms of size up to five, 6e-8 each; a saturated unit's slope 1 - h^2 of 0.01
    // is off by 1e-5 of itself; the root is off by the value's error over the slope.
    assert!(value < 2e-6 && log_det < 3e-5 && round_trip < 1e-4);
}
