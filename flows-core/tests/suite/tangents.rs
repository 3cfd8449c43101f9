//! Perceptrons and their Jacobian-vector products against plain loops and differences.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::operation::{LANES, Recorded};
use flows_core::parameters::Parameters;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{assert_error, close};
use flows_core::{
    Batch, Error, Gradients, LastLayer, Mlp, MlpKernel, NetworkKernel, Real, Scratch, Tape, Values,
    normals, stream,
};

const ALL: [Activation; 5] = [
    Activation::Relu,
    Activation::Tanh,
    Activation::Softplus,
    Activation::Silu,
    Activation::LipSwish,
];
const WIDTHS: [usize; 4] = [3, 5, 4, 2];
const INPUTS: usize = WIDTHS[0];
const OUTPUTS: usize = WIDTHS[3];

fn mlp<E: Real>(activation: Activation) -> Mlp<E> {
    let kernel = MlpKernel::new(INPUTS, &WIDTHS[1..3], OUTPUTS, activation).unwrap();
    Mlp::new(kernel, LastLayer::Random, &mut stream(4, "init")).unwrap()
}

fn matrix<E: Real>(values: &[f64], columns: usize) -> Batch<E> {
    let converted = values.iter().map(|&v| E::of(v)).collect();
    batch(converted, values.len() / columns, columns).unwrap()
}

fn plain(activation: Activation, a: f64) -> f64 {
    match activation {
        Activation::Relu => a.max(0.0),
        Activation::Tanh => a.tanh(),
        Activation::Softplus => a.exp().ln_1p(),
        Activation::Silu => a / (1.0 + (-a).exp()),
        Activation::LipSwish => a / (1.1 + 1.1 * (-a).exp()),
    }
}

/// The perceptron of one row in three loops.
fn by_loops(activation: Activation, tensors: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    let mut h = x.to_vec();
    for (layer, pair) in tensors.chunks(2).enumerate() {
        let units = pair[0].chunks(h.len()).zip(&pair[1]);
        let sums = units.map(|(w, b)| w.iter().zip(&h).map(|(w, h)| w * h).sum::<f64>() + b);
        h = if 2 * layer + 2 < tensors.len() {
            sums.map(|a| plain(activation, a)).collect()
        } else {
            sums.collect()
        };
    }
    h
}

fn tensors_of(mlp: &Mlp<f64>) -> Vec<Vec<f64>> {
    mlp.tensors().iter().map(Values::values).collect()
}

#[test]
fn values_and_products_are_those_of_loops_and_differences() {
    // Two full blocks and part of a third; two directions at each point.
    let (rows, groups) = (2 * LANES + 7, 2);
    let x: Vec<f64> = normals(rows * INPUTS, &mut stream(1, "x"));
    let v: Vec<f64> = normals(rows * INPUTS * groups, &mut stream(1, "v"));
    for activation in ALL {
        let mlp = mlp::<f64>(activation);
        let tensors = tensors_of(&mlp);
        let directions = matrix(&v, INPUTS * groups);
        let out =
            mlp.forward_with_tangents(&matrix(&x, INPUTS), &directions, &mut Tape::none()).unwrap();
        let (value, tangent) = (out.value.values(), out.tangent.values());
        let alone = mlp.forward(&matrix(&x, INPUTS), &mut Tape::none()).unwrap().values();
        assert_eq!(alone, value, "{activation:?}: values with and without tangents");
        for row in 0..rows {
            let point = &x[row * INPUTS..(row + 1) * INPUTS];
            let expected = by_loops(activation, &tensors, point);
            // A dozen roundings in sums of order one.
            close("value", &value[row * OUTPUTS..(row + 1) * OUTPUTS], &expected, 1e-14);
            for group in 0..groups {
                let start = (row * groups + group) * INPUTS;
                let at = |step: f64| -> Vec<f64> {
                    let moved: Vec<f64> =
                        point.iter().zip(&v[start..]).map(|(x, v)| x + step * v).collect();
                    by_loops(activation, &tensors, &moved)
                };
                // Error of central differences: step^2 = 1e-10 and rounding / step = 2e-11, times
                // third derivatives along directions of length two. A kink of ReLU within a step
                // of a point would show, and there is none among these.
                let expected: Vec<f64> =
                    at(1e-5).iter().zip(at(-1e-5)).map(|(u, d)| (u - d) / 2e-5).collect();
                let start = (row * groups + group) * OUTPUTS;
                close("tangent", &tangent[start..start + OUTPUTS], &expected, 1e-8);
            }
        }
    }
}

#[test]
fn single_precision_agrees_with_double_precision() {
    let x: Vec<f64> = normals(200 * INPUTS, &mut stream(2, "x"));
    let v: Vec<f64> = normals(200 * INPUTS, &mut stream(2, "v"));
    for activation in ALL {
        let wide = mlp::<f64>(activation);
        let (x64, v64) = (matrix(&x, INPUTS), matrix(&v, INPUTS));
        let wide = wide.forward_with_tangents(&x64, &v64, &mut Tape::none()).unwrap();
        let narrow = mlp::<f32>(activation);
        let (x32, v32) = (matrix(&x, INPUTS), matrix(&v, INPUTS));
        let narrow = narrow.forward_with_tangents(&x32, &v32, &mut Tape::none()).unwrap();
        let widened = |b: &Batch<f32>| b.values().iter().map(|v| v.as_f64()).collect::<Vec<_>>();
        // Some twenty roundings of 6e-8 of terms of order three.
        close("value", &widened(&narrow.value), &wide.value.values(), 1e-5);
        if activation != Activation::Relu {
            close("tangent", &widened(&narrow.tangent), &wide.tangent.values(), 1e-5);
        }
    }
}

/// Weights of a sum over all values and tangents, so that nothing cancels.
fn weight(index: usize) -> f64 {
    1.5 + (index as f64).sin()
}

fn objective(mlp: &Mlp<f64>, x: &Batch<f64>, v: &Batch<f64>) -> f64 {
    let out = mlp.forward_with_tangents(x, v, &mut Tape::none()).unwrap();
    let sum = |values: Vec<f64>, from: usize| -> f64 {
        values.iter().enumerate().map(|(i, value)| weight(i + from) * value).sum()
    };
    sum(out.value.values(), 0) + sum(out.tangent.values(), 100)
}

/// Gradients of the objective for the input, the directions and every tensor.
fn gradients(mlp: &Mlp<f64>, x: &Batch<f64>, v: &Batch<f64>) -> Vec<Vec<f64>> {
    let mut tape = Tape::recording();
    let out = mlp.forward_with_tangents(x, v, &mut tape).unwrap();
    let weights = |of: &Batch<f64>, from: usize| -> Vec<f64> {
        (0..of.values().len()).map(|i| weight(i + from)).collect()
    };
    let start = |gradients: &mut Gradients<f64>| {
        gradients.add(&out.value, &weights(&out.value, 0))?;
        gradients.add(&out.tangent, &weights(&out.tangent, 100))
    };
    let mut gradients = tape.backward(start).unwrap();
    [x, v].into_iter().chain(mlp.tensors()).map(|t| gradients.take(t).unwrap()).collect()
}

#[test]
fn gradients_through_products_agree_with_differences() {
    let rows = 3;
    for activation in ALL {
        for groups in [1, 3] {
            let mut mlp = mlp::<f64>(activation);
            let x = matrix::<f64>(&normals::<f64>(rows * INPUTS, &mut stream(5, "x")), INPUTS);
            let columns = INPUTS * groups;
            let v = normals::<f64>(rows * columns, &mut stream(5, "v"));
            let v = matrix::<f64>(&v, columns);
            let exact = gradients(&mlp, &x, &v);
            let step = 1e-5;
            // As above, times a sum of some twenty terms of weight up to 2.5.
            let tolerance = 1e-7;
            let moved = |tensor: &Batch<f64>, i: usize, by: f64, width: usize| {
                let mut values = tensor.values();
                values[i] += by;
                matrix::<f64>(&values, width)
            };
            let difference = |up: f64, down: f64| (up - down) / (2.0 * step);
            let of_x: Vec<f64> = (0..rows * INPUTS)
                .map(|i| {
                    let at = |by| objective(&mlp, &moved(&x, i, by, INPUTS), &v);
                    difference(at(step), at(-step))
                })
                .collect();
            close(&format!("{activation:?} input"), &exact[0], &of_x, tolerance);
            let of_v: Vec<f64> = (0..rows * columns)
                .map(|i| {
                    let at = |by| objective(&mlp, &x, &moved(&v, i, by, columns));
                    difference(at(step), at(-step))
                })
                .collect();
            close(&format!("{activation:?} directions"), &exact[1], &of_v, tolerance);
            let tensors = tensors_of(&mlp);
            for (place, values) in tensors.iter().enumerate() {
                let mut at = |i: usize, by: f64| {
                    let mut changed = values.clone();
                    changed[i] += by;
                    replace(&mut mlp, place, &changed);
                    let result = objective(&mlp, &x, &v);
                    replace(&mut mlp, place, values);
                    result
                };
                let expected: Vec<f64> =
                    (0..values.len()).map(|i| difference(at(i, step), at(i, -step))).collect();
                let what = format!("{activation:?} tensor {place}");
                close(&what, &exact[2 + place], &expected, tolerance);
            }
        }
    }
}

fn replace(mlp: &mut Mlp<f64>, place: usize, values: &[f64]) {
    let mut index = 0;
    let result = mlp.visit_mut(&mut |_, _, tensor| {
        index += 1;
        if index == place + 1 { set_values(tensor, values) } else { Ok(()) }
    });
    result.unwrap();
}

#[test]
fn a_kernel_adds_to_the_gradients_of_parameters_and_writes_that_of_the_input() {
    for activation in ALL {
        let mlp = mlp::<f64>(activation);
        let (kernel, tensors) = (mlp.kernel(), tensors_of(&mlp));
        let parameters: Vec<&[f64]> = tensors.iter().map(Vec::as_slice).collect();
        let input: Vec<f64> = normals(INPUTS * LANES, &mut stream(6, "x"));
        let outer: Vec<f64> = normals(OUTPUTS * LANES, &mut stream(6, "outer"));
        let pulled = |start: f64| {
            let (mut scratch, mut output) = (Scratch::new(), vec![f64::NAN; OUTPUTS * LANES]);
            NetworkKernel::forward(kernel, &input, &parameters, &mut scratch, &mut output);
            let mut inner = vec![f64::NAN; INPUTS * LANES];
            let mut sums: Vec<Vec<f64>> = tensors.iter().map(|t| vec![start; t.len()]).collect();
            let mut views: Vec<&mut [f64]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
            let (inputs, parameters) = (&[input.as_slice()], &parameters);
            let block = Recorded { inputs, parameters, scratch: &mut scratch };
            kernel.backward(block, &mut outer.clone(), &mut inner, &mut views);
            (output, inner, sums)
        };
        let ((output, inner, zero), (_, again, one)) = (pulled(0.0), pulled(1.0));
        assert_eq!(inner, again, "{activation:?}");
        for (zero, one) in zero.iter().zip(&one) {
            let less: Vec<f64> = one.iter().map(|v| v - 1.0).collect();
            close("added to", &less, zero, 1e-13);
        }
        for lane in [0, 1, LANES - 1] {
            let column = |values: &[f64]| -> Vec<f64> {
                values.iter().skip(lane).step_by(LANES).copied().collect()
            };
            let (x, outer) = (column(&input), column(&outer));
            close("value", &column(&output), &by_loops(activation, &tensors, &x), 1e-14);
            let at = |i: usize, by: f64| -> f64 {
                let mut moved = x.clone();
                moved[i] += by;
                let y = by_loops(activation, &tensors, &moved);
                y.iter().zip(&outer).map(|(y, o)| y * o).sum()
            };
            let expected: Vec<f64> =
                (0..INPUTS).map(|i| (at(i, 1e-5) - at(i, -1e-5)) / 2e-5).collect();
            close("gradient of the input", &column(&inner), &expected, 1e-8);
        }
    }
}

#[test]
fn directions_that_do_not_fit_are_refused() {
    let mlp = mlp::<f32>(Activation::Silu);
    let zeros = |rows: usize, columns: usize| matrix::<f32>(&vec![0.0; rows * columns], columns);
    let run = |x: Batch<f32>, v: Batch<f32>| mlp.forward_with_tangents(&x, &v, &mut Tape::none());
    assert_error!(
        run(zeros(1, INPUTS), zeros(1, 4)),
        Error::Dimension { op: "directions of a perceptron", expected: INPUTS, got: 4 }
    );
    assert_error!(run(zeros(1, INPUTS), zeros(2, INPUTS)), Error::Rows { expected: 1, got: 2, .. });
    assert_error!(
        run(zeros(1, 2), zeros(1, 3)),
        Error::Dimension { op: "perceptron", expected: INPUTS, got: 2 }
    );
    assert!(run(zeros(1, INPUTS), zeros(1, 3)).is_ok());
}
