//! The multilayer perceptron, with or without tangents, as one fused operation.
//!
//! With tangents, a row of each block is `[value | tangent 1 | .. | tangent P]`, LANES wide each,
//! and a layer is one product for all of them: h = act(W h + b) and h' = act'(W h + b) * (W h').

use crate::activation::Activation;
use crate::lanes::named_mut;
use crate::layout::{HasLayout, Layout};
use crate::matmul::{Destination, Matrix, product};
use crate::network::{Network, NetworkKernel, add_bias, add_row_sums};
use crate::operation::{LANES, Operation, Recorded, apply_with};
use crate::tape::Tape;
use crate::tensor::{Batch, check_columns, columns};
use crate::{Error, Real, Result, Scratch};

/// A multilayer perceptron without an activation after its last layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpKernel {
    widths: Vec<usize>,
    activation: Activation,
}

/// A multilayer perceptron with its tensors: `weight0` `(h1, inputs)`, `bias0` `(1, h1)`, ..
pub type Mlp<E> = Network<E, MlpKernel>;

/// Hidden layer as a forward pass keeps it.
#[derive(Debug, Default)]
struct Hidden<E> {
    kept: Vec<Vec<E>>,
    images: Vec<E>,
}

impl MlpKernel {
    /// A perceptron from `inputs` through `hidden` layers to `outputs`.
    ///
    /// # Errors
    /// [`Error::Parameter`] if any width is 0.
    pub fn new(
        inputs: usize,
        hidden: &[usize],
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        let mut widths = vec![inputs];
        widths.extend_from_slice(hidden);
        widths.push(outputs);
        if widths.contains(&0) {
            let name = "width of a layer";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        Ok(Self { widths, activation })
    }

    /// Widths of input, hidden layers and output.
    #[must_use]
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// The forward pass with `tangents` tangents after each value: `input` is `(inputs, (1 +
    /// tangents) LANES)`, `output` `(outputs, (1 + tangents) LANES)`.
    pub fn forward_with_tangents<E: Real>(
        &self,
        tangents: usize,
        input: &[E],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        output: &mut [E],
    ) {
        let stride = (1 + tangents) * LANES;
        let Hidden { kept, images } = scratch.or_default();
        kept.resize_with(self.layers() - 1, Vec::new);
        for layer in 0..self.layers() {
            let (fan_in, units) = (self.widths[layer], self.widths[layer + 1]);
            let weight = Matrix::new(parameters[2 * layer], units, fan_in);
            let bias = parameters[2 * layer + 1];
            let (before, here) = kept.split_at_mut(layer);
            let source = match before.last() {
                None => input,
                Some(kept) => self.activation.images_in(kept, images, LANES, stride),
            };
            let source = Matrix::new(source, fan_in, stride);
            if let Some(kept) = here.first_mut() {
                kept.resize(units * stride, E::zero());
                product(weight, source, kept, Destination::Replace);
                self.activation.keep(kept, bias, LANES, stride);
            } else {
                product(weight, source, output, Destination::Replace);
                add_bias(output, bias, LANES, stride);
            }
        }
    }

    /// The backward pass of [`forward_with_tangents`](Self::forward_with_tangents);
    /// `output_gradient` is used as scratch space, `input_gradient` written.
    pub fn backward_with_tangents<E: Real>(
        &self,
        tangents: usize,
        block: Recorded<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let stride = (1 + tangents) * LANES;
        let Hidden { kept, images } = block.scratch.left();
        let mut current: Vec<E> = Vec::new();
        for layer in (0..self.layers()).rev() {
            let (fan_in, units) = (self.widths[layer], self.widths[layer + 1]);
            let gradient: &mut [E] =
                if layer + 1 == self.layers() { &mut *output_gradient } else { &mut current };
            if layer + 1 < self.layers() {
                self.activation.pull(&kept[layer], gradient, LANES, stride);
            }
            let source = match layer.checked_sub(1) {
                None => block.inputs[0],
                Some(below) => self.activation.images_in(&kept[below], images, LANES, stride),
            };
            let gradient = Matrix::new(gradient, units, stride);
            let source = Matrix::new(source, fan_in, stride).transposed();
            product(gradient, source, parameter_gradients[2 * layer], Destination::Add);
            let bias = &mut *parameter_gradients[2 * layer + 1];
            add_row_sums(gradient.values(), LANES, stride, bias);
            let weight = Matrix::new(block.parameters[2 * layer], units, fan_in).transposed();
            if layer == 0 {
                product(weight, gradient, input_gradient, Destination::Replace);
            } else {
                let mut below = vec![E::zero(); fan_in * stride];
                product(weight, gradient, &mut below, Destination::Replace);
                current = below;
            }
        }
    }
}

impl HasLayout for MlpKernel {
    fn layout(&self) -> Vec<Layout> {
        (0..self.layers())
            .flat_map(|layer| {
                let (fan_in, units) = (self.widths[layer], self.widths[layer + 1]);
                let last = layer + 1 == self.layers();
                let part = |name: &str, rows, columns| {
                    let name = format!("{name}{layer}");
                    Layout::uniform(name, rows, columns, fan_in).in_last_layer(last)
                };
                [part("weight", units, fan_in), part("bias", 1, units)]
            })
            .collect()
    }
}

impl<E: Real> NetworkKernel<E> for MlpKernel {
    fn inputs(&self) -> usize {
        self.widths[0]
    }

    fn outputs(&self) -> usize {
        self.widths[self.layers()]
    }

    fn forward(&self, input: &[E], parameters: &[&[E]], scratch: &mut Scratch, output: &mut [E]) {
        self.forward_with_tangents(0, input, parameters, scratch, output);
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
        parameter_gradients: &mut [&mut [E]],
    ) {
        self.backward_with_tangents(0, block, output_gradient, input_gradient, parameter_gradients);
    }
}

/// Value and Jacobian-vector products of a perceptron.
#[derive(Debug)]
pub struct Tangents<E: Real> {
    /// `(rows, outputs)`
    pub value: Batch<E>,
    /// `(rows, outputs * P)`: output i of tangent p in column `p * outputs + i`.
    pub tangent: Batch<E>,
}

impl<E: Real> Mlp<E> {
    /// The perceptron and its Jacobian-vector products, in one differentiable operation.
    ///
    /// # Shape
    /// `input` `(rows, inputs)`; `directions` `(rows, inputs * P)`, input j of direction p in
    /// column `p * inputs + j`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the columns do not fit.
    pub fn forward_with_tangents(
        &self,
        input: &Batch<E>,
        directions: &Batch<E>,
        tape: &mut Tape<E>,
    ) -> Result<Tangents<E>> {
        let inputs = NetworkKernel::<E>::inputs(self.kernel());
        check_columns("perceptron", input, inputs)?;
        let got = columns(directions);
        if got == 0 || !got.is_multiple_of(inputs) {
            return Err(Error::Dimension {
                op: "directions of a perceptron",
                expected: inputs,
                got,
            });
        }
        let operation = WithTangents { kernel: self.kernel().clone(), tangents: got / inputs };
        let mut outputs =
            apply_with(operation, &[input, directions], self.tensors(), self.values(), tape)?;
        let tangent = outputs.remove(1);
        Ok(Tangents { value: outputs.remove(0), tangent })
    }
}

struct WithTangents {
    kernel: MlpKernel,
    tangents: usize,
}

#[derive(Default)]
struct Stacked<E> {
    mlp: Scratch,
    input: Vec<E>,
}

/// Copies `groups` blocks of `width` rows each side by side: row i becomes `[block 0 | block 1 ..]`.
fn stack<E: Real>(value: &[E], tangent: &[E], width: usize, out: &mut Vec<E>) {
    out.clear();
    for i in 0..width {
        out.extend_from_slice(&value[i * LANES..(i + 1) * LANES]);
        for group in tangent.chunks_exact(width * LANES) {
            out.extend_from_slice(&group[i * LANES..(i + 1) * LANES]);
        }
    }
}

fn unstack<E: Real>(stacked: &[E], width: usize, value: &mut [E], tangent: &mut [E]) {
    let stride = stacked.len() / width;
    for (i, row) in stacked.chunks_exact(stride).enumerate() {
        value[i * LANES..(i + 1) * LANES].copy_from_slice(&row[..LANES]);
        for (p, group) in tangent.chunks_exact_mut(width * LANES).enumerate() {
            group[i * LANES..(i + 1) * LANES]
                .copy_from_slice(&row[(p + 1) * LANES..(p + 2) * LANES]);
        }
    }
}

impl<E: Real> Operation<E> for WithTangents {
    fn name(&self) -> &'static str {
        "perceptron with tangents"
    }

    fn output_widths(&self) -> Vec<usize> {
        let outputs = NetworkKernel::<E>::outputs(&self.kernel);
        vec![outputs, outputs * self.tangents]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let Stacked { mlp, input } = scratch.or_default();
        stack(inputs[0], inputs[1], inputs[0].len() / LANES, input);
        let width = NetworkKernel::<E>::outputs(&self.kernel);
        let mut stacked = vec![E::zero(); width * (1 + self.tangents) * LANES];
        self.kernel.forward_with_tangents(self.tangents, input, parameters, mlp, &mut stacked);
        let [value, tangent] = named_mut(outputs);
        unstack(&stacked, width, value, tangent);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let Stacked { mlp, input } = block.scratch.left::<Stacked<E>>();
        let mut outer = Vec::new();
        let width = NetworkKernel::<E>::outputs(&self.kernel);
        stack(output_gradients[0], output_gradients[1], width, &mut outer);
        let mut inner = vec![E::zero(); input.len()];
        let recorded =
            Recorded { inputs: &[input.as_slice()], parameters: block.parameters, scratch: mlp };
        self.kernel.backward_with_tangents(
            self.tangents,
            recorded,
            &mut outer,
            &mut inner,
            parameter_gradients,
        );
        let [value, tangent] = named_mut(input_gradients);
        unstack(&inner, NetworkKernel::<E>::inputs(&self.kernel), value, tangent);
        Ok(())
    }
}
