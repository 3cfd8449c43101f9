//! The residual network of neural spline flows, as one fused operation.
//!
//! ```text
//! h = W_in x + b_in
//! h = h + W_2 act(W_1 act(h) + b_1) + b_2        for each block
//! y = W_out h + b_out
//! ```
//! Reference: He et al., *Identity mappings in deep residual networks*, ECCV 2016 (activation
//! first); Durkan et al., *Neural Spline Flows*, 2019, appendix B.

use crate::activation::Activation;
use crate::lanes::add;
use crate::layout::{HasLayout, Layout};
use crate::matmul::{Destination, Matrix, product};
use crate::network::{Network, NetworkKernel, add_bias, add_row_sums};
use crate::operation::{LANES, Recorded};
use crate::{Error, Real, Result, Scratch};

/// A residual network of constant width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidualKernel {
    inputs: usize,
    width: usize,
    blocks: usize,
    outputs: usize,
    activation: Activation,
}

/// A residual network with its tensors: `weight_in`, `bias_in`, then four tensors a block, then
/// `weight_out`, `bias_out`.
pub type ResidualNetwork<E> = Network<E, ResidualKernel>;

/// Activations that a forward pass keeps.
#[derive(Debug, Default)]
struct KeptActivations<E> {
    blocks: Vec<BlockState<E>>,
    last: Vec<E>,
}

/// The two kept activations of a block.
#[derive(Debug, Default)]
struct BlockState<E> {
    outer: Vec<E>,
    inner: Vec<E>,
}

impl ResidualKernel {
    /// `blocks` blocks of two layers of `width` units.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there are no inputs, outputs or units.
    pub fn new(
        inputs: usize,
        (width, blocks): (usize, usize),
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        if [inputs, width, outputs].contains(&0) {
            let name = "width of a layer";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        Ok(Self { inputs, width, blocks, outputs, activation })
    }

    /// The images of a kept activation.
    fn images<E: Real>(&self, kept: &[E]) -> Vec<E> {
        let mut images = vec![E::zero(); kept.len()];
        self.activation.images(kept, &mut images, LANES, LANES);
        images
    }

    /// Backward pass of an activation, in place.
    fn pull<E: Real>(&self, kept: &[E], gradient: &mut [E]) {
        self.activation.pull(kept, gradient, LANES, LANES);
    }
}

/// `out = W source + b`
fn layer<E: Real>(weight: &[E], bias: &[E], source: &[E], out: &mut Vec<E>) {
    let (units, fan_in) = (bias.len(), source.len() / LANES);
    out.resize(units * LANES, E::zero());
    let weight = Matrix::new(weight, units, fan_in);
    product(weight, Matrix::new(source, fan_in, LANES), out, Destination::Replace);
    add_bias(out, bias, LANES, LANES);
}

/// Backward pass of a layer: adds to the gradients of weight and bias and returns that of the
/// source.
fn pull_layer<E: Real>(
    weight: &[E],
    source: &[E],
    gradient: &[E],
    [d_weight, d_bias]: [&mut &mut [E]; 2],
) -> Vec<E> {
    let (units, fan_in) = (d_bias.len(), source.len() / LANES);
    let rows = Matrix::new(gradient, units, LANES);
    product(rows, Matrix::new(source, fan_in, LANES).transposed(), d_weight, Destination::Add);
    add_row_sums(gradient, LANES, LANES, d_bias);
    let mut below = vec![E::zero(); source.len()];
    product(
        Matrix::new(weight, units, fan_in).transposed(),
        rows,
        &mut below,
        Destination::Replace,
    );
    below
}

fn pair<'a, 'b, E>(gradients: &'a mut [&'b mut [E]], first: usize) -> [&'a mut &'b mut [E]; 2] {
    let (weight, rest) = gradients[first..].split_at_mut(1);
    [&mut weight[0], &mut rest[0]]
}

impl HasLayout for ResidualKernel {
    fn layout(&self) -> Vec<Layout> {
        let layer = |name: &str, units: usize, fan_in: usize, last: bool| {
            let part = |kind: &str, rows, columns| {
                let name = format!("{kind}_{name}");
                Layout::uniform(name, rows, columns, fan_in).in_last_layer(last)
            };
            [part("weight", units, fan_in), part("bias", 1, units)]
        };
        let mut layout = layer("in", self.width, self.inputs, false).to_vec();
        for block in 0..self.blocks {
            for inner in ["a", "b"] {
                let name = format!("{block}{inner}");
                layout.extend(layer(&name, self.width, self.width, false));
            }
        }
        layout.extend(layer("out", self.outputs, self.width, true));
        layout
    }
}

impl<E: Real> NetworkKernel<E> for ResidualKernel {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn forward(&self, input: &[E], parameters: &[&[E]], scratch: &mut Scratch, output: &mut [E]) {
        let none = vec![E::zero(); self.width];
        let KeptActivations { blocks, last } = scratch.or_default();
        blocks.resize_with(self.blocks, BlockState::default);
        layer(parameters[0], parameters[1], input, last);
        let mut step = Vec::new();
        for (block, p) in blocks.iter_mut().zip(parameters[2..].chunks_exact(4)) {
            block.outer.clone_from(last);
            self.activation.keep(&mut block.outer, &none, LANES, LANES);
            layer(p[0], &none, &self.images(&block.outer), &mut block.inner);
            self.activation.keep(&mut block.inner, p[1], LANES, LANES);
            layer(p[2], p[3], &self.images(&block.inner), &mut step);
            add(last, &step);
        }
        let p = &parameters[2 + 4 * self.blocks..];
        let mut out = Vec::new();
        layer(p[0], p[1], last, &mut out);
        output.copy_from_slice(&out);
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let KeptActivations { blocks, last } = block.scratch.left();
        let p = block.parameters;
        let end = 2 + 4 * self.blocks;
        let target = pair(parameter_gradients, end);
        let mut gradient = pull_layer(p[end], last, output_gradient, target);
        for (index, state) in blocks.iter().enumerate().rev() {
            let first = 2 + 4 * index;
            let inner = self.images(&state.inner);
            let target = pair(parameter_gradients, first + 2);
            let mut below = pull_layer(p[first + 2], &inner, &gradient, target);
            self.pull(&state.inner, &mut below);
            let outer = self.images(&state.outer);
            let target = pair(parameter_gradients, first);
            let mut below = pull_layer(p[first], &outer, &below, target);
            self.pull(&state.outer, &mut below);
            add(&mut gradient, &below);
        }
        let target = pair(parameter_gradients, 0);
        let below = pull_layer(p[0], block.inputs[0], &gradient, target);
        input_gradient.copy_from_slice(&below);
    }
}
