//! A gated recurrent unit with a linear output, step by step over one block of rows.
//!
//! With u the input of a step, h the state, r the reset and s the update gate:
//!
//! ```text
//! r = sigmoid(W_r u + U_r h + b_r)          s = sigmoid(W_s u + U_s h + b_s)
//! c = tanh(W_c u + b_c + r * (U_c h))       h' = (1 - s) * c + s * h
//! ```
//! Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
//! Translation*, EMNLP 2014, <https://arxiv.org/abs/1406.1078>, with the reset after the product, as in
//! cuDNN, so that one product with h serves both gates and nothing waits for r.

use flows_core::elementwise::{sigmoid, tanh, vectorised};
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Real};

/// Indices of the tensors among a layer's parameters.
const INPUT: usize = 0;
const STATE: usize = 1;
const BIAS: usize = 2;
const INITIAL: usize = 3;
const OUTPUT: usize = 4;
const OUTPUT_BIAS: usize = 5;

/// Rows of [`Gru::step`]'s record for each unit: r, s, c and U_c h.
pub(super) const RECORDED: usize = 4;

/// Sizes of a unit; its tensors are `input` `(3 n, inputs)` for W, `state` `(3 n, n)` for U, `bias`,
/// `initial` for the first state, `output` and `output_bias`.
#[derive(Clone, Debug)]
pub(super) struct Gru {
    pub(super) inputs: usize,
    pub(super) units: usize,
    pub(super) outputs: usize,
}

/// Gradients of a step on the way back, for one block.
#[derive(Debug, Default)]
pub(super) struct Backward<E> {
    /// Of the state, `(n, LANES)`: before a step of h', afterwards of h.
    pub(super) state: Vec<E>,
    /// Of the input, `(inputs, LANES)`: written by a step.
    pub(super) input: Vec<E>,
    /// Of the arguments of r, s and c, and of U_c h.
    arguments: Vec<E>,
}

impl HasLayout for Gru {
    fn layout(&self) -> Vec<Layout> {
        let (n, m, k) = (self.units, self.inputs, self.outputs);
        vec![
            Layout::uniform("input", 3 * n, m, n),
            Layout::uniform("state", 3 * n, n, n),
            Layout::uniform("bias", 1, 3 * n, n),
            Layout::uniform("initial", 1, n, n),
            Layout::uniform("output", k, n, n).in_last_layer(true),
            Layout::uniform("output_bias", 1, k, n).in_last_layer(true),
        ]
    }
}

impl Gru {
    /// The learned initial state in every lane.
    pub(super) fn initial<E: Real>(&self, parameters: &[&[E]], state: &mut [E]) {
        fill_rows(state, parameters[INITIAL]);
    }

    /// The next state from `state` and the input `u`; r, s, c and U_c h go to `record`.
    pub(super) fn step<E: Real>(
        &self,
        parameters: &[&[E]],
        u: &[E],
        state: &[E],
        record: &mut [E],
        next: &mut [E],
    ) {
        let n = self.units;
        fill_rows(record, parameters[BIAS]);
        let input = Matrix::new(parameters[INPUT], 3 * n, self.inputs);
        product(input, Matrix::new(u, self.inputs, LANES), record, Destination::Add);
        let (gates, candidate) = parameters[STATE].split_at(2 * n * n);
        let h = Matrix::new(state, n, LANES);
        product(Matrix::new(gates, 2 * n, n), h, record, Destination::Add);
        let (arguments, recalled) = record.split_at_mut(3 * n * LANES);
        product(Matrix::new(candidate, n, n), h, recalled, Destination::Replace);
        let (reset, rest) = arguments.split_at_mut(n * LANES);
        let (update, candidate) = rest.split_at_mut(n * LANES);
        vectorised(
            #[inline(always)]
            || {
                for k in 0..n * LANES {
                    reset[k] = sigmoid(reset[k]);
                    update[k] = sigmoid(update[k]);
                    candidate[k] = tanh(reset[k].mul_add(recalled[k], candidate[k]));
                    next[k] = update[k].mul_add(state[k] - candidate[k], candidate[k]);
                }
            },
        );
    }

    /// W_out h + b_out.
    pub(super) fn output<E: Real>(&self, parameters: &[&[E]], state: &[E], output: &mut [E]) {
        fill_rows(output, parameters[OUTPUT_BIAS]);
        let weight = Matrix::new(parameters[OUTPUT], self.outputs, self.units);
        product(weight, Matrix::new(state, self.units, LANES), output, Destination::Add);
    }

    /// Resizes the buffers of the backward pass; the gradient of the last state starts at zero.
    pub(super) fn start_backward<E: Real>(&self, back: &mut Backward<E>) {
        let Backward { state, input, arguments } = back;
        for (values, rows) in [(&mut *state, self.units), (&mut *input, self.inputs)] {
            values.clear();
            values.resize(rows * LANES, E::zero());
        }
        arguments.resize(RECORDED * self.units * LANES, E::zero());
    }

    /// Backward pass of the output: adds to the gradients of the state and of the output's
    /// parameters.
    pub(super) fn pull_output<E: Real>(
        &self,
        parameters: &[&[E]],
        state: &[E],
        d_output: &[E],
        back: &mut Backward<E>,
        parameter_gradients: &mut [&mut [E]],
    ) {
        let outer = Matrix::new(d_output, self.outputs, LANES);
        let h = Matrix::new(state, self.units, LANES).transposed();
        product(outer, h, parameter_gradients[OUTPUT], Destination::Add);
        add_row_sums(d_output, parameter_gradients[OUTPUT_BIAS]);
        let weight = Matrix::new(parameters[OUTPUT], self.outputs, self.units).transposed();
        product(weight, outer, &mut back.state, Destination::Add);
    }

    /// Backward pass of one step: turns the gradient of h' into that of h and writes that of u.
    pub(super) fn pull_step<E: Real>(
        &self,
        parameters: &[&[E]],
        (u, state, record): (&[E], &[E], &[E]),
        back: &mut Backward<E>,
        parameter_gradients: &mut [&mut [E]],
    ) {
        let n = self.units;
        pull_gates(state, record, &mut back.state, &mut back.arguments);
        let (arguments, recalled) = back.arguments.split_at(3 * n * LANES);
        let outer = Matrix::new(arguments, 3 * n, LANES);
        let source = Matrix::new(u, self.inputs, LANES).transposed();
        product(outer, source, parameter_gradients[INPUT], Destination::Add);
        add_row_sums(arguments, parameter_gradients[BIAS]);
        let input = Matrix::new(parameters[INPUT], 3 * n, self.inputs).transposed();
        product(input, outer, &mut back.input, Destination::Replace);
        let (gates, candidate) = parameters[STATE].split_at(2 * n * n);
        let (d_gates, d_candidate) = parameter_gradients[STATE].split_at_mut(2 * n * n);
        let h = Matrix::new(state, n, LANES).transposed();
        for (weight, d_weight, outer, rows) in
            [(gates, d_gates, arguments, 2 * n), (candidate, d_candidate, recalled, n)]
        {
            let outer = Matrix::new(outer, rows, LANES);
            product(outer, h, d_weight, Destination::Add);
            let weight = Matrix::new(weight, rows, n).transposed();
            product(weight, outer, &mut back.state, Destination::Add);
        }
    }

    /// Adds to the gradient of the initial state.
    pub(super) fn pull_initial<E: Real>(back: &Backward<E>, parameter_gradients: &mut [&mut [E]]) {
        add_row_sums(&back.state, parameter_gradients[INITIAL]);
    }
}

/// Gradients of the arguments of r, s and c and of U_c h; turns `d_state` from the gradient of h'
/// into the part of that of h which bypasses the products.
fn pull_gates<E: Real>(state: &[E], record: &[E], d_state: &mut [E], arguments: &mut [E]) {
    let size = state.len();
    let (reset, rest) = record.split_at(size);
    let (update, rest) = rest.split_at(size);
    let (candidate, recalled) = rest.split_at(size);
    let (d_reset, rest) = arguments.split_at_mut(size);
    let (d_update, rest) = rest.split_at_mut(size);
    let (d_candidate, d_recalled) = rest.split_at_mut(size);
    vectorised(
        #[inline(always)]
        || {
            for k in 0..size {
                let (r, s, c, outer) = (reset[k], update[k], candidate[k], d_state[k]);
                let inner = outer * (E::one() - s) * (E::one() - c * c);
                d_candidate[k] = inner;
                d_recalled[k] = inner * r;
                d_reset[k] = inner * recalled[k] * r * (E::one() - r);
                d_update[k] = outer * (state[k] - c) * s * (E::one() - s);
                d_state[k] = outer * s;
            }
        },
    );
}

/// Row i of the first rows becomes `values[i]`.
fn fill_rows<E: Real>(rows: &mut [E], values: &[E]) {
    for (row, &value) in rows.chunks_exact_mut(LANES).zip(values) {
        row.fill(value);
    }
}

/// Adds to `sums[i]` the sum of row i.
fn add_row_sums<E: Real>(rows: &[E], sums: &mut [E]) {
    for (row, sum) in rows.chunks_exact(LANES).zip(sums) {
        *sum += row.iter().copied().sum();
    }
}
