//! Masked networks: outputs that depend on earlier inputs only (review, Section 3.1.2).
//!
//! Inputs have degrees, the number of the part they belong to; a hidden unit of degree m sees what
//! has degree m or less, and the outputs of part p see what has degree p - 1 or less. Units are
//! sorted by degree, so that every weight matrix is a staircase: a band of rows ends at the last
//! column that any of its rows may see, and the multiplications beyond never happen. The same
//! staircase lets a network be evaluated degree by degree: the units of degree m are computed as
//! soon as the inputs of degree m are known, once, and kept. All D steps together then take the
//! multiplications of a single pass.
//!
//! Reference: Germain, Gregor, Murray, Larochelle, *MADE*, ICML 2015.
//! <https://arxiv.org/abs/1502.03509>

mod dependencies;
mod staircase;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

pub use dependencies::Dependencies;
use staircase::Staircase;

use crate::activation::Activation;
use crate::layout::{Layout, Layouts};
use crate::matmul::{Destination, Matrix, product};
use crate::network::{add_bias, add_row_sums};
use crate::operation::LANES;
use crate::{Error, Real, Result, Scratch};

/// The hidden layers of a masked network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// Layers of these widths, each followed by the activation.
    Perceptron(Vec<usize>),
    /// `blocks` residual blocks of two layers of `width` units, activation first.
    Residual {
        /// Units of each layer.
        width: usize,
        /// Number of blocks.
        blocks: usize,
    },
}

/// A masked perceptron or residual network over blocks of LANES rows.
///
/// Its input is `[context | inputs in order]`, its output `arity` rows for each input, in the same
/// order.
#[derive(Clone, Debug)]
pub struct MaskedKernel {
    layers: Arc<[Layer]>,
    dependencies: Arc<Dependencies>,
    activation: Activation,
    arity: usize,
}

/// Where a layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Input,
    /// Images of the activation whose arguments (or images) are kept in this slot.
    Kept(usize),
    /// The sum that residual blocks add to.
    Stream,
}

/// Where a layer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Kept(usize),
    /// Adds to the stream, whose activation is kept in the slot, if anything reads it.
    Stream(Option<usize>),
    Output,
}

#[derive(Clone, Debug)]
struct Layer {
    staircase: Staircase,
    source: Source,
    target: Target,
}

/// What an evaluation holds, each `(units, LANES)`.
#[derive(Clone, Debug, Default)]
pub struct MaskedState<E> {
    /// `[context | inputs in order]`; the caller writes it.
    pub input: Vec<E>,
    /// `arity` rows for each input.
    pub output: Vec<E>,
    kept: Vec<Vec<E>>,
    /// Images where the activation keeps its argument.
    images: Vec<Vec<E>>,
    stream: Vec<E>,
}

thread_local! {
    /// One for all layers and blocks of a thread, so that it stays in the cache.
    static GRADIENT: RefCell<Scratch> = RefCell::default();
}

/// The gradients of an evaluation.
#[derive(Debug, Default)]
pub struct MaskedGradient<E> {
    /// Of the input.
    pub input: Vec<E>,
    /// Of the result of each layer before its activation; the last one is the output's, which the
    /// caller writes.
    results: Vec<Vec<E>>,
    stream: Vec<E>,
}

impl<E> MaskedGradient<E> {
    /// Of the output.
    pub fn output(&mut self) -> &mut [E] {
        self.results.last_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

fn rows<E>(values: &[E], range: Range<usize>) -> &[E] {
    &values[range.start * LANES..range.end * LANES]
}

fn rows_mut<E>(values: &mut [E], range: Range<usize>) -> &mut [E] {
    &mut values[range.start * LANES..range.end * LANES]
}

impl MaskedKernel {
    /// A network with `arity` outputs for each input.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a hidden layer has fewer units than there are degrees to be present,
    /// or there are no inputs or outputs.
    pub fn new(
        dependencies: Dependencies,
        hidden: &Hidden,
        arity: usize,
        activation: Activation,
    ) -> Result<Self> {
        if arity == 0 {
            let name = "parameters of a masked network";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let inputs = dependencies.inputs();
        let outputs = dependencies.outputs(arity);
        let mut layers = Vec::new();
        let mut add = |fed: &_, seen: &_, source, target| {
            layers.push(Layer { staircase: Staircase::new(fed, seen), source, target });
        };
        match hidden {
            Hidden::Perceptron(widths) => {
                let (mut below, mut source) = (inputs, Source::Input);
                for (slot, &width) in widths.iter().enumerate() {
                    let units = dependencies.hidden(width)?;
                    add(&units, &below, source, Target::Kept(slot));
                    (below, source) = (units, Source::Kept(slot));
                }
                add(&outputs, &below, source, Target::Output);
            }
            Hidden::Residual { width, blocks } => {
                let units = dependencies.hidden(*width)?;
                let next = |block: usize| (block < *blocks).then_some(2 * block);
                add(&units, &inputs, Source::Input, Target::Stream(next(0)));
                for block in 0..*blocks {
                    let (outer, inner) = (2 * block, 2 * block + 1);
                    add(&units, &units, Source::Kept(outer), Target::Kept(inner));
                    add(&units, &units, Source::Kept(inner), Target::Stream(next(block + 1)));
                }
                add(&outputs, &units, Source::Stream, Target::Output);
            }
        }
        let dependencies = Arc::new(dependencies);
        Ok(Self { layers: layers.into(), dependencies, activation, arity })
    }

    /// Which outputs depend on which inputs.
    #[must_use]
    pub fn dependencies(&self) -> &Dependencies {
        &self.dependencies
    }

    /// Outputs of each input.
    #[must_use]
    pub fn arity(&self) -> usize {
        self.arity
    }

    /// Sets every weight that no dependency uses to zero, so that stored weights hold nothing that
    /// means nothing.
    pub fn clear_unused<E: Real>(&self, parameters: &mut [Vec<E>]) {
        for (layer, weights) in self.layers.iter().zip(parameters.iter_mut().step_by(2)) {
            layer.staircase.clear_unused(weights);
        }
    }

    /// Zeroes what bands and strips would multiply with and no dependency uses; evaluations take
    /// parameters after this only.
    pub fn clear_forbidden<E: Real>(&self, parameters: &mut [Vec<E>]) {
        for (layer, weights) in self.layers.iter().zip(parameters.iter_mut().step_by(2)) {
            layer.staircase.clear_forbidden(weights);
        }
    }

    /// Makes room for an evaluation; the input is to be written afterwards.
    pub fn start<E: Real>(&self, state: &mut MaskedState<E>) {
        let MaskedState { input, output, kept, images, stream } = state;
        let size = |values: &mut Vec<E>, units: usize| values.resize(units * LANES, E::zero());
        for layer in self.layers.iter() {
            let (units, columns) = (layer.staircase.rows(), layer.staircase.columns());
            match layer.target {
                Target::Output => size(output, units),
                Target::Stream(_) => size(stream, units),
                Target::Kept(_) => {}
            }
            let slot = match layer.target {
                Target::Kept(slot) | Target::Stream(Some(slot)) => Some(slot),
                _ => None,
            };
            if let Some(slot) = slot {
                kept.resize_with(kept.len().max(slot + 1), Vec::new);
                size(&mut kept[slot], units);
                images.resize_with(images.len().max(slot + 1), Vec::new);
                if self.activation.keeps_argument() {
                    size(&mut images[slot], units);
                }
            }
            if layer.source == Source::Input {
                size(input, columns);
            }
        }
    }

    /// All outputs from all inputs.
    pub fn forward<E: Real>(&self, parameters: &[&[E]], state: &mut MaskedState<E>) {
        for layer in 0..self.layers.len() {
            for band in self.layers[layer].staircase.bands() {
                self.push(layer, band.clone(), parameters, state);
            }
        }
    }

    /// The outputs of the part after `degree`, once the inputs of that degree (0: the context alone)
    /// are written; to be called for degree 0, 1, .. in turn.
    pub fn forward_degree<E: Real>(
        &self,
        degree: usize,
        parameters: &[&[E]],
        state: &mut MaskedState<E>,
    ) {
        for layer in 0..self.layers.len() {
            let units = self.layers[layer].staircase.fed_at(degree);
            self.push(layer, units, parameters, state);
        }
    }

    /// Computes units `units` of a layer from what they see.
    fn push<E: Real>(
        &self,
        index: usize,
        units: Range<usize>,
        parameters: &[&[E]],
        state: &mut MaskedState<E>,
    ) {
        if units.is_empty() {
            return;
        }
        let Layer { staircase, source, target } = &self.layers[index];
        let seen = staircase.seen_by(&units);
        let weight = staircase.matrix(parameters[2 * index]).part(units.clone(), 0..seen);
        let bias = &parameters[2 * index + 1][units.clone()];
        let keeps_argument = self.activation.keeps_argument();
        let MaskedState { input, output, kept, images, stream } = state;
        let slot = match *target {
            Target::Kept(slot) | Target::Stream(Some(slot)) => Some(slot),
            _ => None,
        };
        // What is written is taken out, since its neighbour is read.
        let mut held = slot.map(|slot| std::mem::take(&mut kept[slot]));
        let mut summed = match target {
            Target::Stream(_) => std::mem::take(stream),
            _ => Vec::new(),
        };
        let below: &[E] = match *source {
            Source::Input => input,
            Source::Kept(slot) if keeps_argument => &images[slot],
            Source::Kept(slot) => &kept[slot],
            Source::Stream => stream,
        };
        let below = Matrix::new(below, staircase.columns(), LANES).part(0..seen, 0..LANES);
        match (*target, &mut held) {
            (Target::Kept(_), Some(kept)) => {
                let kept = rows_mut(kept, units.clone());
                product(weight, below, kept, Destination::Replace);
                self.activation.keep(kept, bias, LANES, LANES);
            }
            (Target::Stream(_), held) => {
                let first = *source == Source::Input;
                let into = if first { Destination::Replace } else { Destination::Add };
                let sum = rows_mut(&mut summed, units.clone());
                product(weight, below, sum, into);
                if let Some(held) = held {
                    let kept = rows_mut(held, units.clone());
                    kept.copy_from_slice(sum);
                    self.activation.keep(kept, bias, LANES, LANES);
                }
                add_bias(sum, bias, LANES, LANES);
            }
            _ => {
                let out = rows_mut(output, units.clone());
                product(weight, below, out, Destination::Replace);
                add_bias(out, bias, LANES, LANES);
            }
        }
        if let Target::Stream(_) = target {
            *stream = summed;
        }
        if let (Some(slot), Some(held)) = (slot, held) {
            if keeps_argument {
                let images = rows_mut(&mut images[slot], units.clone());
                self.activation.images(rows(&held, units), images, LANES, LANES);
            }
            kept[slot] = held;
        }
    }

    /// Runs a way back with room for its gradients, which hold anything at first.
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

    /// From the gradient of the output to those of the input and of every layer's result; adds those
    /// of the parameters on the way.
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

    /// As [`backward`](Self::backward) for the units and inputs of one degree, once the gradients of
    /// all outputs of later parts are written; to be called in turn from the last degree to 0.
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

    /// From the gradient of a layer's result to that of columns `columns` of its source.
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

impl Layouts for MaskedKernel {
    fn layout(&self) -> Vec<Layout> {
        let last = self.layers.len() - 1;
        self.layers
            .iter()
            .enumerate()
            .flat_map(|(index, layer)| {
                let (rows, columns) = (layer.staircase.rows(), layer.staircase.columns());
                let part = |name: &str, rows, width| {
                    let name = format!("{name}{index}");
                    Layout::uniform(name, rows, width, columns).in_last_layer(index == last)
                };
                [part("weight", rows, columns), part("bias", 1, rows)]
            })
            .collect()
    }
}
