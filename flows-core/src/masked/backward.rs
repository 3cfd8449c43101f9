//! The backward pass of a masked network.

use std::cell::RefCell;
use std::ops::Range;

use super::{Layer, MaskedKernel, MaskedState, Source, Target, rows, rows_mut};
use crate::matmul::{Destination, Matrix, product};
use crate::network::add_row_sums;
use crate::operation::LANES;
use crate::{Real, Scratch};

thread_local! {
    /// Shared by all layers and blocks of a thread, so that it stays in the cache.
    static GRADIENT: RefCell<Scratch> = RefCell::default();
}

/// The gradients of an evaluation.
#[derive(Debug, Default)]
pub struct MaskedGradient<E> {
    /// Of the input.
    pub input: Vec<E>,
    /// Of each layer before its activation; the last one is the output's, which the caller writes.
    results: Vec<Vec<E>>,
    stream: Vec<E>,
}

impl<E> MaskedGradient<E> {
    /// Of the output.
    pub fn output(&mut self) -> &mut [E] {
        self.results.last_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

impl MaskedKernel {
    /// Runs a backward pass with buffers for its gradients, of arbitrary content at first.
    pub fn with_gradient<E: Real, R>(&self, back: impl FnOnce(&mut MaskedGradient<E>) -> R) -> R {
        // Taken out, so that nothing is borrowed while `back` runs.
        let mut room = GRADIENT.take();
        let gradient: &mut MaskedGradient<E> = room.or_default();
        let size = |values: &mut Vec<E>, units: usize| values.resize(units * LANES, E::zero());
        size(&mut gradient.input, self.layers[0].staircase.columns());
        gradient.results.resize_with(self.layers.len(), Vec::new);
        for (layer, result) in self.layers.iter().zip(&mut gradient.results) {
            size(result, layer.staircase.rows());
            if let Target::Stream(_) = layer.target {
                size(&mut gradient.stream, layer.staircase.rows());
            }
        }
        let result = back(gradient);
        GRADIENT.set(room);
        result
    }

    /// Backward pass: from the gradient of the output to those of the input and of every layer's
    /// result; adds to those of the parameters.
    pub fn backward<E: Real>(
        &self,
        parameters: &[&[E]],
        state: &MaskedState<E>,
        gradient: &mut MaskedGradient<E>,
        parameter_gradients: &mut [&mut [E]],
    ) {
        for layer in (0..self.layers.len()).rev() {
            self.add_layer_gradients(layer, state, gradient, parameter_gradients);
            for strip in self.layers[layer].staircase.strips() {
                self.pull(layer, strip.clone(), parameters, state, gradient);
            }
        }
    }

    /// As [`backward`](Self::backward) for the units and inputs of one degree, to be called from the
    /// last degree down to 0, each once the gradients of all outputs of later parts are written.
    pub fn backward_degree<E: Real>(
        &self,
        degree: usize,
        parameters: &[&[E]],
        state: &MaskedState<E>,
        gradient: &mut MaskedGradient<E>,
    ) {
        for layer in (0..self.layers.len()).rev() {
            let columns = self.layers[layer].staircase.seen_at(degree);
            self.pull(layer, columns, parameters, state, gradient);
        }
    }

    /// Backward pass from a layer's result to columns `columns` of its source.
    fn pull<E: Real>(
        &self,
        index: usize,
        columns: Range<usize>,
        parameters: &[&[E]],
        state: &MaskedState<E>,
        gradient: &mut MaskedGradient<E>,
    ) {
        if columns.is_empty() {
            return;
        }
        let Layer { staircase, source, .. } = &self.layers[index];
        let MaskedGradient { input, results, stream } = gradient;
        let (below, here) = results.split_at_mut(index);
        let all = staircase.rows();
        let first = staircase.first_seeing(&columns);
        let weight = staircase.matrix(parameters[2 * index]).part(first..all, columns.clone());
        let outer = Matrix::new(&here[0], all, LANES).part(first..all, 0..LANES);
        let weight = weight.transposed();
        match *source {
            Source::Input => {
                product(weight, outer, rows_mut(input, columns), Destination::Replace);
            }
            Source::Stream => {
                let sum = rows_mut(stream, columns.clone());
                product(weight, outer, sum, Destination::Replace);
                rows_mut(&mut below[index - 1], columns).copy_from_slice(sum);
            }
            Source::Kept(slot) => {
                let result = rows_mut(&mut below[index - 1], columns.clone());
                product(weight, outer, result, Destination::Replace);
                let kept = rows(&state.kept[slot], columns.clone());
                self.activation.pull(kept, result, LANES, LANES);
                if let Target::Stream(_) = self.layers[index - 1].target {
                    let sum = rows_mut(stream, columns);
                    for (sum, result) in sum.iter_mut().zip(result) {
                        *sum += *result;
                        *result = *sum;
                    }
                }
            }
        }
    }

    /// Adds the gradients of all weights and biases, after [`backward_degree`](Self::backward_degree)
    /// down to degree 0.
    pub fn add_parameter_gradients<E: Real>(
        &self,
        state: &MaskedState<E>,
        gradient: &MaskedGradient<E>,
        parameter_gradients: &mut [&mut [E]],
    ) {
        for layer in 0..self.layers.len() {
            self.add_layer_gradients(layer, state, gradient, parameter_gradients);
        }
    }

    fn add_layer_gradients<E: Real>(
        &self,
        index: usize,
        state: &MaskedState<E>,
        gradient: &MaskedGradient<E>,
        parameter_gradients: &mut [&mut [E]],
    ) {
        let Layer { staircase, source, .. } = &self.layers[index];
        let below: &[E] = match *source {
            Source::Input => &state.input,
            Source::Kept(slot) if self.activation.keeps_argument() => &state.images[slot],
            Source::Kept(slot) => &state.kept[slot],
            Source::Stream => &state.stream,
        };
        let result = &gradient.results[index];
        staircase.add_weight_gradient(result, below, &mut *parameter_gradients[2 * index]);
        add_row_sums(result, LANES, LANES, &mut *parameter_gradients[2 * index + 1]);
    }
}
