//! Masked networks (MADE): each output depends on earlier inputs only (review, Section 3.1.2).
//!
//! The degree of an input is the number of its part. A hidden unit of degree m sees degrees up to m,
//! the outputs of part p see degrees up to p - 1. Units are sorted by degree, so that every weight
//! matrix is a staircase: a band of rows ends at the last column that any of its rows may see, and
//! the products beyond are skipped. A network can thus be evaluated degree by degree: the units of
//! degree m are computed once, as soon as the inputs of degree m are known, and all D steps together
//! take the multiplications of a single pass.
//!
//! Reference: Germain, Gregor, Murray, Larochelle, *MADE*, ICML 2015.
//! <https://arxiv.org/abs/1502.03509>

mod backward;
mod dependencies;
mod staircase;

use std::ops::Range;
use std::sync::Arc;

pub use backward::MaskedGradient;
pub use dependencies::Dependencies;
use staircase::Staircase;

use crate::activation::Activation;
use crate::layout::{HasLayout, Layout};
use crate::matmul::{Destination, Matrix, product};
use crate::network::add_bias;
use crate::operation::LANES;
use crate::{Error, Real, Result};

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

/// Input of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Input,
    /// Images of the activation kept in this slot.
    Kept(usize),
    /// The sum that residual blocks add to.
    Stream,
}

/// Output of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Kept(usize),
    /// Adds to the stream; its activation is kept in the slot, if a layer reads it.
    Stream(Option<usize>),
    Output,
}

#[derive(Clone, Debug)]
struct Layer {
    staircase: Staircase,
    source: Source,
    target: Target,
}

/// Values of an evaluation, each `(units, LANES)`.
#[derive(Clone, Debug, Default)]
pub struct MaskedState<E> {
    /// `[context | inputs in order]`; the caller writes it.
    pub input: Vec<E>,
    /// `arity` rows for each input.
    pub output: Vec<E>,
    kept: Vec<Vec<E>>,
    /// Images, if the activation keeps its argument.
    images: Vec<Vec<E>>,
    stream: Vec<E>,
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
    /// [`Error::Parameter`] without inputs or outputs, or if a hidden layer has fewer units than there
    /// are degrees.
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

    /// Zeroes all masked weights, for stored weights.
    pub fn clear_unused<E: Real>(&self, parameters: &mut [Vec<E>]) {
        for (layer, weights) in self.layers.iter().zip(parameters.iter_mut().step_by(2)) {
            layer.staircase.clear_unused(weights);
        }
    }

    /// Zeroes the masked weights within bands and strips, as evaluations require.
    pub fn clear_forbidden<E: Real>(&self, parameters: &mut [Vec<E>]) {
        for (layer, weights) in self.layers.iter().zip(parameters.iter_mut().step_by(2)) {
            layer.staircase.clear_forbidden(weights);
        }
    }

    /// Resizes the buffers of an evaluation; the input is to be written afterwards.
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

    /// The outputs of the part after `degree`, to be called for degree 0 (the context), 1, .. in turn,
    /// each once the inputs of that degree are written.
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

    /// Computes units `units` of a layer.
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
        // Taken out to be written while other buffers of the state are read.
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
}

impl HasLayout for MaskedKernel {
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
