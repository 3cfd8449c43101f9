//! The convolutional field against its formula, pixel by pixel.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{ContinuousFlow, ConvField, ConvolutionalConfig, FieldConfig};
use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::testing::assert_error;
use flows_core::{Architecture, Error, Shape, stream};

use crate::field_case::{Case, assert_near};

const HIDDEN: usize = 3;

/// out[o, y, x] = bias(o, pixel) + sum of weight(o, c, i, j) in[c, y + i - 1, x + j - 1], 0 outside.
fn convolve(
    image: &[f64],
    shape: Shape,
    outputs: usize,
    weight: impl Fn(usize, usize, usize) -> f64,
    bias: impl Fn(usize) -> f64,
) -> Vec<f64> {
    let (height, width) = (shape.height as i64, shape.width as i64);
    let mut out = Vec::new();
    for o in 0..outputs {
        for p in 0..shape.pixels() {
            let (y, x) = (p as i64 / width, p as i64 % width);
            let mut sum = bias(o * shape.pixels() + p);
            for (c, tap) in (0..shape.channels).flat_map(|c| (0..9).map(move |tap| (c, tap))) {
                let (row, column) = (y + tap as i64 / 3 - 1, x + tap as i64 % 3 - 1);
                if (0..height).contains(&row) && (0..width).contains(&column) {
                    let at = c * shape.pixels() + (row * width + column) as usize;
                    sum += weight(o, c, tap) * image[at];
                }
            }
            out.push(sum);
        }
    }
    out
}

/// The field with full 3 x 3 convolutions; the middle one has nothing but its central tap, and the
/// last one's taps lead to the pixel that is written.
fn plain(
    shape: Shape,
    act: impl Fn(f64) -> f64,
    parameters: &[Vec<f64>],
    z: &[f64],
    (t, context): (f64, &[f64]),
) -> Vec<f64> {
    let [w0, w1, w2, e0, b0, e1, b1, e2, b2] = parameters else { unreachable!("nine tensors") };
    let extras = [context, &[t]].concat();
    let bias = |e: &[f64], b: &[f64], unit: usize| {
        let row = &e[unit * extras.len()..];
        b[unit] + extras.iter().zip(row).map(|(x, w)| x * w).sum::<f64>()
    };
    let hidden = Shape { channels: HIDDEN, ..shape };
    let central = |o: usize, c: usize, tap: usize| if tap == 4 { w1[o * HIDDEN + c] } else { 0.0 };
    let read = |o: usize, c: usize, tap: usize| w0[(o * shape.channels + c) * 9 + tap];
    let written = |o: usize, c: usize, tap: usize| w2[(o * 9 + 8 - tap) * HIDDEN + c];
    let h = convolve(z, shape, HIDDEN, read, |unit| bias(e0, b0, unit));
    let h: Vec<f64> = h.into_iter().map(&act).collect();
    let g = convolve(&h, hidden, HIDDEN, central, |unit| bias(e1, b1, unit));
    let g: Vec<f64> = g.into_iter().map(&act).collect();
    convolve(&g, hidden, shape.channels, written, |unit| bias(e2, b2, unit))
}

/// Cases with and without a context, one pixel among them, and activations of which arguments or
/// images are kept.
fn cases(tangents: usize) -> Vec<(Shape, Activation, Case)> {
    let shape = |channels, height, width| Shape { channels, height, width };
    [
        (shape(1, 3, 4), 0, Activation::Tanh),
        (shape(2, 2, 3), 2, Activation::Softplus),
        (shape(1, 1, 1), 1, Activation::Tanh),
    ]
    .into_iter()
    .map(|(shape, context, activation)| {
        let field = ConvField::new(shape, context, HIDDEN, activation).unwrap();
        (shape, activation, Case::new(field, tangents, 7 + context as u64))
    })
    .collect()
}

#[test]
fn the_velocity_is_that_of_the_formula() {
    for (shape, activation, case) in cases(0) {
        let act = |a: f64| if activation == Activation::Tanh { a.tanh() } else { a.exp().ln_1p() };
        case.check_velocity(1e-14, |parameters, z, t, context| {
            plain(shape, act, parameters, z, (t, context))
        });
    }
}

#[test]
fn tangents_are_those_of_differences() {
    for (_, _, case) in cases(2) {
        case.check_tangents();
    }
}

#[test]
fn the_closed_trace_is_that_of_the_jacobian() {
    for (_, _, case) in cases(0) {
        let case = case.asking(Vec::new());
        let (velocity, trace) = (case.velocity(), case.evaluate().split_off(case.dim() * LANES));
        assert_near("velocity", &case.evaluate()[..velocity.len()], &velocity, 1e-14);
        assert_near("trace", &trace, &case.trace(), 1e-10);
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for (_, _, case) in cases(0).into_iter().chain(cases(2)) {
        case.check_gradients();
    }
    // A single pixel has one tap into the image, and the weights of the others have no gradient.
    for (_, _, case) in cases(0).into_iter().filter(|(shape, ..)| shape.pixels() > 1) {
        case.asking(Vec::new()).check_gradients();
    }
}

#[test]
fn single_precision_follows_double() {
    for (_, _, case) in cases(2) {
        // A few dozen roundings in a row.
        case.check_single(100.0);
        case.plain_case().asking(Vec::new()).check_single(100.0);
    }
}

#[test]
fn sizes_of_nothing_and_other_images_are_refused() {
    let shape = Shape { channels: 1, height: 0, width: 2 };
    let none = ConvField::new(shape, 0, 1, Activation::Tanh);
    assert_error!(none, Error::Parameter { .. }, ["height of an image", "at least 1"]);
    let shape = Shape { height: 2, ..shape };
    let none = ConvField::new(shape, 0, 0, Activation::Tanh);
    assert_error!(none, Error::Parameter { .. }, ["hidden channels", "at least 1"]);
    let field = FieldConfig::Convolutional(ConvolutionalConfig::default());
    let flow = ContinuousFlow { field, ..ContinuousFlow::default() };
    let other = flow.build_f32(63, 0, &mut stream(1, "other"));
    assert_error!(other, Error::Dimension { .. }, ["flow.field.shape", "64", "63"]);
}
