//! Masked networks against dense matrix products whose weights are multiplied by the mask.
//!
//! All numbers are multiples of a quarter and far below 2^53, so that sums are exact in any order.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::HasLayout;
use flows_core::activation::Activation;
use flows_core::masked::{Dependencies, Hidden, MaskedGradient, MaskedKernel, MaskedState};
use flows_core::operation::LANES;

const CONTEXT: usize = 3;
const INPUTS: usize = 6;
const ARITY: usize = 15;
/// Units of the hidden layers: so many that the products of a layer are divided into several.
const WIDTHS: [usize; 2] = [90, 70];

/// Networks by parts and by a graph, each with a table of which input an output may see.
fn cases() -> [(MaskedKernel, Vec<Vec<bool>>); 2] {
    let parts = vec![1, 2, 2, 3, 4, 5];
    let earlier: Vec<Vec<bool>> =
        parts.iter().map(|own| parts.iter().map(|part| part < own).collect()).collect();
    // Two chains with a common end.
    let parents: [&[usize]; INPUTS] = [&[], &[], &[0], &[1], &[0, 2], &[1, 3, 4]];
    let parents: Vec<Vec<bool>> =
        parents.iter().map(|own| (0..INPUTS).map(|j| own.contains(&j)).collect()).collect();
    let kernel = |dependencies| {
        let hidden = Hidden::Perceptron(WIDTHS.to_vec());
        MaskedKernel::new(dependencies, &hidden, ARITY, Activation::Relu).unwrap()
    };
    [
        (kernel(Dependencies::parts_of(parts, CONTEXT).unwrap()), earlier),
        (kernel(Dependencies::graph(parents.clone(), CONTEXT).unwrap()), parents),
    ]
}

/// Whole numbers from -3 to 3.
fn whole(count: usize, salt: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 37 + salt) % 101 % 7) as f64 - 3.0).collect()
}

/// Weights and biases; a bias is no whole number, so that no unit stands at the kink of its
/// activation.
fn parameters(kernel: &MaskedKernel) -> Vec<Vec<f64>> {
    let fraction = [0.5, 0.25, 0.0];
    let layout = kernel.layout();
    let values = layout.iter().enumerate().map(|(place, part)| {
        let mut values = whole(part.rows * part.columns, 5 * place);
        if place % 2 == 1 {
            values.iter_mut().for_each(|value| *value += fraction[place / 2]);
        }
        values
    });
    values.collect()
}

/// 1 where a weight is used, 0 elsewhere; 1 for biases.
fn masks(kernel: &MaskedKernel) -> Vec<Vec<f64>> {
    let layout = kernel.layout();
    let mut masks: Vec<_> = layout.iter().map(|part| vec![1.0; part.rows * part.columns]).collect();
    kernel.clear_unused(&mut masks);
    masks
}

fn times(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let each = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a * b).collect();
    a.iter().zip(b).map(each).collect()
}

/// a b for matrices stored row by row, where a has `inner` columns.
fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let columns = b.len() / inner;
    let mut out = vec![0.0; a.len() / inner * columns];
    for (out, a) in out.chunks_mut(columns).zip(a.chunks(inner)) {
        for (a, b) in a.iter().zip(b.chunks(columns)) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

fn transposed(a: &[f64], columns: usize) -> Vec<f64> {
    let rows = a.len() / columns;
    (0..a.len()).map(|e| a[e % rows * columns + e / rows]).collect()
}

/// What a network gives, and gives back.
struct StopReason {
    output: Vec<f64>,
    d_input: Vec<f64>,
    d_parameters: Vec<Vec<f64>>,
}

/// The perceptron of dense matrices, without a mask of its own.
fn dense(parameters: &[Vec<f64>], input: &[f64], outer: &[f64]) -> StopReason {
    let layers: Vec<_> = parameters.chunks(2).collect();
    let mut images = vec![input.to_vec()];
    for (index, layer) in layers.iter().enumerate() {
        let below = &images[index];
        let mut image = product(&layer[0], below, below.len() / LANES);
        for (image, bias) in image.chunks_mut(LANES).zip(&layer[1]) {
            image.iter_mut().for_each(|value| *value += bias);
        }
        if index + 1 < layers.len() {
            image.iter_mut().for_each(|value| *value = value.max(0.0));
        }
        images.push(image);
    }
    let mut d = outer.to_vec();
    let mut d_parameters: Vec<Vec<f64>> = Vec::new();
    for (index, layer) in layers.iter().enumerate().rev() {
        let below = &images[index];
        d_parameters.push(d.chunks(LANES).map(|row| row.iter().sum()).collect());
        d_parameters.push(product(&d, &transposed(below, LANES), LANES));
        let (units, columns) = (d.len() / LANES, below.len() / LANES);
        d = product(&transposed(&layer[0], columns), &d, units);
        if index > 0 {
            let idle = d.iter_mut().zip(below).filter(|(_, image)| **image == 0.0);
            idle.for_each(|(d, _)| *d = 0.0);
        }
    }
    d_parameters.reverse();
    let output = images.swap_remove(layers.len());
    StopReason { output, d_input: d, d_parameters }
}

/// The network itself, all at once or degree by degree.
fn masked(
    kernel: &MaskedKernel,
    parameters: &[Vec<f64>],
    (input, outer): (&[f64], &[f64]),
    by_degree: bool,
) -> StopReason {
    let mut sums: Vec<Vec<f64>> = parameters.iter().map(|part| vec![0.0; part.len()]).collect();
    let parameters: Vec<&[f64]> = parameters.iter().map(Vec::as_slice).collect();
    let parts = kernel.dependencies().parts();
    let mut state = MaskedState::<f64>::default();
    kernel.start(&mut state);
    state.input.copy_from_slice(input);
    if by_degree {
        (0..parts).for_each(|degree| kernel.forward_degree(degree, &parameters, &mut state));
    } else {
        kernel.forward(&parameters, &mut state);
    }
    let d_input = kernel.with_gradient(|gradient: &mut MaskedGradient<f64>| {
        let mut sums: Vec<&mut [f64]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
        gradient.output().copy_from_slice(outer);
        if by_degree {
            for degree in (0..=parts).rev() {
                kernel.backward_degree(degree, &parameters, &state, gradient);
            }
            kernel.add_parameter_gradients(&state, gradient, &mut sums);
        } else {
            kernel.backward(&parameters, &state, gradient, &mut sums);
        }
        gradient.input.clone()
    });
    StopReason { output: state.output, d_input, d_parameters: sums }
}

#[test]
fn an_output_depends_on_what_it_may_see_and_on_nothing_else() {
    for (kernel, allowed) in cases() {
        let masks = masks(&kernel);
        let lower = product(&masks[2], &masks[0], WIDTHS[0]);
        let paths = product(&masks[4], &lower, WIDTHS[1]);
        for (output, paths) in paths.chunks(CONTEXT + INPUTS).enumerate() {
            let (context, inputs) = paths.split_at(CONTEXT);
            assert!(context.iter().all(|&count| count > 0.0), "context of output {output}");
            let seen: Vec<bool> = inputs.iter().map(|&count| count > 0.0).collect();
            assert_eq!(seen, allowed[output / ARITY], "output {output}");
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_dense_products_where_the_mask_allows_them() {
    for (case, (kernel, _)) in cases().into_iter().enumerate() {
        let masks = masks(&kernel);
        let mut own = parameters(&kernel);
        let plain = times(&own, &masks);
        assert_ne!(own, plain, "no weight is forbidden");
        kernel.clear_forbidden(&mut own);
        let input = whole((CONTEXT + INPUTS) * LANES, 1);
        let outer = whole(INPUTS * ARITY * LANES, 2);
        let mut expected = dense(&plain, &input, &outer);
        expected.d_parameters = times(&expected.d_parameters, &masks);
        for by_degree in [false, true] {
            let got = masked(&kernel, &own, (&input, &outer), by_degree);
            assert!(got.output == expected.output, "values, case {case}, {by_degree}");
            assert!(got.d_input == expected.d_input, "input, case {case}, {by_degree}");
            for (place, sums) in got.d_parameters.iter().zip(&expected.d_parameters).enumerate() {
                assert!(sums.0 == sums.1, "parameter {place}, case {case}, {by_degree}");
            }
        }
    }
}
