//! The convolutional conditioner, against loops.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Shape;
use flows_core::activation::Activation;
use flows_core::tensor::{batch, per_row};
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, differences, distance_to_scale, normal_point,
    objective, objective_gradients, perturb,
};
use flows_core::{
    Batch, Bijector, Context, Error, LastLayer, Layer, Mapped, Network, NetworkKernel, Parameters,
    Real, Tape, Values, Work, normals, stream,
};
use flows_core::{ConvKernel, ImageSplit};
use flows_finite::{Affine, Coupling, Mask, Scale};

const ACTIVATIONS: [Activation; 4] =
    [Activation::Relu, Activation::Tanh, Activation::Softplus, Activation::Silu];
const HIDDEN: usize = 3;
const ARITY: usize = 2;

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

fn kernel(shape: Shape, mask: &Mask, context: usize, activation: Activation) -> ConvKernel {
    let (kept, transformed) = (mask.kept(), mask.transformed());
    let Shape { height, width, .. } = shape;
    let split = ImageSplit { height, width, kept: &kept, transformed: &transformed };
    let (inputs, outputs) = (kept.len() + context, transformed.len() * ARITY);
    ConvKernel::new(inputs, split, HIDDEN, outputs, activation).unwrap()
}

fn act(activation: Activation, a: f64) -> f64 {
    match activation {
        Activation::Relu => a.max(0.0),
        Activation::Tanh => a.tanh(),
        Activation::Softplus => a.exp().ln_1p(),
        Activation::Silu => a / (1.0 + (-a).exp()),
        Activation::LipSwish => a / (1.1 + 1.1 * (-a).exp()),
    }
}

/// An image as channels of rows of pixels, 0 outside.
struct Image<'a>(Vec<Vec<f64>>, &'a Shape);

impl Image<'_> {
    fn at(&self, channel: usize, y: i64, x: i64) -> f64 {
        let inside =
            (0..self.1.height as i64).contains(&y) && (0..self.1.width as i64).contains(&x);
        if inside { self.0[channel][y as usize * self.1.width + x as usize] } else { 0.0 }
    }
}

/// out[o, y, x] = bias[o] + sum of weight(o, c, i, j) in[c, y + i - 1, x + j - 1].
fn convolve<'a>(
    image: &Image<'a>,
    bias: &[f64],
    weight: impl Fn(usize, usize, usize, usize) -> f64,
) -> Image<'a> {
    let channel = |o: usize| {
        let pixel = |p: usize| {
            let (y, x) = ((p / image.1.width) as i64, (p % image.1.width) as i64);
            let mut sum = bias[o];
            for c in 0..image.0.len() {
                for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                    sum += weight(o, c, i, j) * image.at(c, y + i as i64 - 1, x + j as i64 - 1);
                }
            }
            sum
        };
        (0..image.1.pixels()).map(pixel).collect()
    };
    Image((0..bias.len()).map(channel).collect(), image.1)
}

/// The network for one row by loops over the whole image, channels of zeros and all.
fn plain(
    (shape, mask, activation): (Shape, &Mask, Activation),
    input: &[f64],
    parameters: &[Vec<f64>],
) -> Vec<f64> {
    let [weight0, bias0, weight1, bias1, weight2, bias2] = parameters else {
        return Vec::new();
    };
    let pixels = shape.pixels();
    let channels = |features: &[usize]| {
        let mut used: Vec<usize> = features.iter().map(|f| f / pixels).collect();
        used.dedup();
        used
    };
    let (kept, transformed) = (mask.kept(), mask.transformed());
    let (read, written) = (channels(&kept), channels(&transformed));
    let mut image = vec![vec![0.0; pixels]; read.len()];
    for (&feature, &value) in kept.iter().zip(input) {
        let channel = read.iter().position(|&c| c == feature / pixels).unwrap();
        image[channel][feature % pixels] = value;
    }
    image.extend(input[kept.len()..].iter().map(|&value| vec![value; pixels]));
    let count = image.len();
    let active = |image: Image<'_>| -> Vec<Vec<f64>> {
        let map = |v: Vec<f64>| v.into_iter().map(|a| act(activation, a)).collect();
        image.0.into_iter().map(map).collect()
    };
    let first = |o: usize, c: usize, i, j| weight0[o * 9 * count + 9 * c + 3 * i + j];
    let h = active(convolve(&Image(image, &shape), bias0, first));
    let middle = |o, c, i, j| if (i, j) == (1, 1) { weight1[o * HIDDEN + c] } else { 0.0 };
    let g = active(convolve(&Image(h, &shape), bias1, middle));
    // The last taps lead to the pixel written: the kernel turned round.
    let last = |o: usize, c: usize, i, j| weight2[(9 * o + 3 * (2 - i) + 2 - j) * HIDDEN + c];
    let maps = convolve(&Image(g, &shape), &vec![0.0; written.len() * ARITY], last);
    let output = |(place, &feature): (usize, &usize)| {
        let channel = written.iter().position(|&c| c == feature / pixels).unwrap();
        [0, 1].map(|a| maps.0[channel * ARITY + a][feature % pixels] + bias2[place * ARITY + a])
    };
    transformed.iter().enumerate().flat_map(output).collect()
}

fn tensors(network: &Network<f64, ConvKernel>) -> Vec<Batch<f64>> {
    network.tensors().to_vec()
}

fn cases() -> Vec<(Shape, Mask, usize)> {
    let channels = |s, flipped| Mask::channels(s, flipped).unwrap();
    let (wide, small, thin) = (shape(3, 3, 4), shape(2, 2, 2), shape(4, 1, 2));
    vec![
        (wide, channels(wide, false), 0),
        (wide, channels(wide, true), 2),
        (small, channels(small, false), 1),
        (thin, channels(thin, false), 0),
        (shape(2, 1, 1), channels(shape(2, 1, 1), false), 0),
        (shape(1, 1, 1), channels(shape(1, 1, 1), false), 1),
        (wide, Mask::checkerboard(wide, false).unwrap(), 0),
        (small, Mask::checkerboard(small, true).unwrap(), 2),
    ]
}

#[test]
fn values_and_gradients_agree_with_loops() {
    let (mut values, mut slopes) = (0.0_f64, 0.0_f64);
    for (shape, mask, context) in cases() {
        for activation in ACTIVATIONS {
            let mut rng = stream(11, "init");
            let kernel = kernel(shape, &mask, context, activation);
            let (inputs, outputs) =
                (NetworkKernel::<f64>::inputs(&kernel), kernel_outputs(&kernel));
            let mut network = Network::<f64, _>::new(kernel, LastLayer::Random, &mut rng).unwrap();
            perturb(&mut network, 0.2, &mut rng).unwrap();
            let rows = 3;
            let input = batch(normals(rows * inputs, &mut rng), rows, inputs).unwrap();
            let mut all = tensors(&network);
            let parameters: Vec<Vec<f64>> = all.iter().map(Values::values).collect();
            let setting = (shape, &mask, activation);
            let by_loops = |input: &[f64], parameters: &[Vec<f64>]| -> Vec<f64> {
                input.chunks(inputs).flat_map(|row| plain(setting, row, parameters)).collect()
            };
            let mut tape = Tape::recording();
            let value = network.forward(&input, &mut tape).unwrap();
            let expected = by_loops(&input.values(), &parameters);
            assert_eq!(expected.len(), rows * outputs);
            values = values.max(distance_to_scale(&value.values(), &expected));

            let log_det = per_row(vec![0.0; rows]).unwrap();
            let mapped = Mapped::new(value, log_det, Work::default());
            all.push(input.clone());
            let mut exact = objective_gradients(&mapped, tape, &all).unwrap();
            let d_input = exact.pop().unwrap();
            let numerical =
                differences(&input.values(), |moved| objective(&by_loops(moved, &parameters), &[]));
            slopes = slopes.max(distance_to_scale(&d_input, &numerical));
            for (index, exact) in exact.iter().enumerate() {
                let numerical = differences(&parameters[index], |moved| {
                    let mut all = parameters.clone();
                    all[index] = moved.to_vec();
                    objective(&by_loops(&input.values(), &all), &[])
                });
                slopes = slopes.max(distance_to_scale(exact, &numerical));
            }
        }
    }
    assert!(values < 1e-13, "{values:e}");
    // Differences of sums of order 100: 1e-16 * 100 / 1e-5.
    assert!(slopes < 1e-8, "{slopes:e}");
}

fn kernel_outputs(kernel: &ConvKernel) -> usize {
    NetworkKernel::<f64>::outputs(kernel)
}

fn coupling<E: Real>(
    shape: Shape,
    mask: &Mask,
    context: usize,
    activation: Activation,
) -> Layer<E> {
    let make = |inputs, outputs| {
        let (kept, transformed) = (mask.kept(), mask.transformed());
        let Shape { height, width, .. } = shape;
        let split = ImageSplit { height, width, kept: &kept, transformed: &transformed };
        ConvKernel::new(inputs, split, HIDDEN, outputs, activation)
    };
    let affine = Arc::new(Affine::new(Scale::Bounded { bound: 1.5 }).unwrap());
    let map = Coupling::new(mask, context, affine, make).unwrap();
    Layer::new(map, &mut stream(1, "init")).unwrap()
}

#[test]
fn couplings_with_convolutions_are_bijective() {
    let cases = [
        (shape(2, 2, 2), 0, Activation::Tanh),
        (shape(2, 2, 2), 2, Activation::Softplus),
        (shape(1, 4, 4), 0, Activation::Silu),
        (shape(1, 1, 1), 0, Activation::Tanh),
    ];
    for (shape, context, activation) in cases {
        for mask in [Mask::channels(shape, false), Mask::checkerboard(shape, true)] {
            let mut coupling = coupling(shape, &mask.unwrap(), context, activation);
            perturb(&mut coupling, 0.3, &mut stream(2, "perturb")).unwrap();
            check_bijector(&mut coupling, normal_point(1.0), Tolerance::default());
        }
    }
}

#[test]
fn a_coupling_starts_as_the_identity() {
    let shape = shape(4, 3, 3);
    let mask = Mask::channels(shape, false).unwrap();
    let coupling = coupling::<f32>(shape, &mask, 0, Activation::Relu);
    let z = batch(normals(5 * 36, &mut stream(1, "z")), 5, 36).unwrap();
    let x = coupling.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
    assert_eq!((x.value.values(), x.log_det.values()), (z.values(), vec![0.0; 5]));
}

#[test]
fn shapes_of_tensors_and_errors() {
    let wide = shape(3, 3, 4);
    let mask = Mask::channels(wide, false).unwrap();
    let kernel = kernel(wide, &mask, 2, Activation::Relu);
    let network = Network::<f32, _>::new(kernel, LastLayer::Zero, &mut stream(1, "init")).unwrap();
    // One kept channel, two of context; two channels written with two parameters each.
    assert_eq!(network.count(), HIDDEN * (27 + 1 + HIDDEN + 1 + 9 * 4) + 2 * 12 * 2);
    let (kept, transformed) = (mask.kept(), mask.transformed());
    let make = |height, width, inputs, hidden, outputs| {
        let split = ImageSplit { height, width, kept: &kept, transformed: &transformed };
        ConvKernel::new(inputs, split, hidden, outputs, Activation::Relu)
    };
    assert!(make(3, 4, 12, 1, 24).is_ok());
    let size = "size of a convolution must be at least 1, got 0";
    for ((height, width, inputs, hidden, outputs), message) in [
        ((0, 4, 12, 1, 24), size),
        ((3, 0, 12, 1, 24), size),
        ((3, 4, 11, 1, 24), "inputs of a convolution: expected 12 columns, got 11"),
        ((3, 4, 12, 0, 24), size),
        ((3, 4, 12, 1, 25), "outputs of a convolution: expected 24 columns, got 25"),
        ((3, 4, 12, 1, 23), "outputs of a convolution: expected 24 columns, got 23"),
        ((3, 4, 12, 1, 0), size),
    ] {
        let result = make(height, width, inputs, hidden, outputs);
        assert_error!(result, Error::Parameter { .. } | Error::Dimension { .. }, [message]);
    }
}

#[test]
fn edges_are_finite_and_single_precision_is_close_to_double() {
    fn both<E: Real>(z: &[f64], slopes: bool) -> Vec<f64> {
        let shape = shape(2, 2, 2);
        let mask = Mask::channels(shape, false).unwrap();
        let mut coupling = coupling::<E>(shape, &mask, 0, Activation::Relu);
        let mut rng = stream(3, "move");
        coupling
            .visit_mut(&mut |_, _, tensor| {
                let noise = normals::<f64>(tensor.values().len(), &mut rng);
                let values: Vec<E> =
                    tensor.values().iter().zip(noise).map(|(v, n)| *v + E::of(0.1 * n)).collect();
                flows_core::tensor::set_values(tensor, &values)
            })
            .unwrap();
        let z = batch(z.iter().map(|&v| E::of(v)).collect(), z.len() / 8, 8).unwrap();
        let mut tape = Tape::recording();
        let out = coupling.forward(&z, &Context::none(), &mut tape).unwrap();
        let mut all = [out.value.values(), out.log_det.values()].concat();
        if slopes {
            let mut tensors = vec![z];
            coupling.visit(&mut |_, _, tensor| tensors.push(tensor.clone()));
            all.extend(objective_gradients(&out, tape, &tensors).unwrap().concat());
        }
        all.iter().map(|v| v.as_f64()).collect()
    }
    for edge in [0.0, 1.0, -1e6, 1e6, 1e30, -1e30, 1e-40, 1e-310] {
        let z: Vec<f64> = (0..24).map(|i| if i % 3 != 0 { edge } else { 0.3 }).collect();
        let small = edge.abs() <= 1e6;
        for all in [both::<f32>(&z, small), both::<f64>(&z, small)] {
            assert!(all.iter().all(|v| v.is_finite()), "{edge:e}");
        }
    }
    let z: Vec<f64> = normals::<f32>(160, &mut stream(1, "z")).iter().map(|&v| v.into()).collect();
    let worst = distance_to_scale(&both::<f32>(&z, false), &both::<f64>(&z, false));
    assert!(worst < 1e-6, "{worst:e}");
}
