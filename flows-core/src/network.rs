//! Networks: a kernel over blocks of rows, and the tensors it works with.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use rand::RngExt;

use crate::operation::{LANES, Operation, Recorded, apply_with};
use crate::parameters::{Parameters, Role, Visitor, VisitorMut};
use crate::tensor::{Batch, Mode, PutTape, SplitTape, Values, batch, check_columns};
use crate::{Error, Real, Result, Stream};

/// Name and shape of one tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name within the network, such as `weight0`.
    pub name: String,
    /// Rows; for a weight, the units it feeds.
    pub rows: usize,
    /// Columns; for a weight, the units it reads.
    pub columns: usize,
    /// Number of inputs of a unit, which sets the size of the initial values.
    pub fan_in: usize,
    /// Whether the tensor belongs to the last layer.
    pub last: bool,
}

/// What a kernel is parametrised by.
pub trait Layouts: Clone + Debug + Send + Sync + 'static {
    /// The tensors, in the order in which the kernel takes them.
    fn layout(&self) -> Vec<Layout>;

    /// Adjusts a copy of the values before they are used: a mask sets to zero what it forbids.
    fn prepare<E: Real>(&self, _values: &mut [Vec<E>]) {}
}

/// A network over one block of [`LANES`] rows, feature by feature; it owns no tensors, so that
/// fused operations can be built from it.
pub trait NetworkKernel<E: Real>: Layouts {
    /// What the forward pass leaves for the backward pass.
    type Workspace: Default + Send + Debug;

    /// Columns of the input.
    fn inputs(&self) -> usize;
    /// Columns of the output.
    fn outputs(&self) -> usize;

    /// Computes `output`, `(outputs, LANES)`, from `input`, `(inputs, LANES)`.
    fn forward(
        &self,
        input: &[E],
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        output: &mut [E],
    );

    /// Given the gradient of the output, writes that of the input and adds to those of the
    /// parameters. `output_gradient` may be used as scratch space.
    fn backward(
        &self,
        block: Recorded<'_, E, Self::Workspace>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
        parameter_gradients: &mut [&mut [E]],
    );
}

/// How the last layer of a network starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLayer {
    /// All zero: a conditioner then leaves its transformer at the identity.
    Zero,
    /// Like the other layers.
    Random,
}

/// A kernel with its tensors.
#[derive(Clone, Debug)]
pub struct Network<E: Real, K: Layouts> {
    kernel: K,
    parameters: Vec<Batch<E>>,
    /// Their values, prepared by the kernel when first asked for, until the parameters change.
    values: OnceLock<Arc<Vec<Vec<E>>>>,
}

impl<E: Real, K: Layouts> Network<E, K> {
    /// Draws every weight and bias from U(-1, 1) / sqrt(fan in).
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn new(kernel: K, last: LastLayer, rng: &mut Stream) -> Result<Self> {
        let mut parameters = Vec::new();
        for part in kernel.layout() {
            let bound = 1.0 / (part.fan_in.max(1) as f64).sqrt();
            let zero = part.last && last == LastLayer::Zero;
            let values = (0..part.rows * part.columns)
                .map(|_| if zero { E::zero() } else { E::of(rng.random_range(-bound..bound)) })
                .collect();
            parameters.push(batch(values, part.rows, part.columns)?);
        }
        Ok(Self { kernel, parameters, values: OnceLock::new() })
    }

    /// The kernel, for use inside a larger fused operation.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    /// The tensors, in the order of [`Layouts::layout`].
    pub fn tensors(&self) -> &[Batch<E>] {
        &self.parameters
    }

    /// The values of the tensors as the kernel takes them.
    pub fn values(&self) -> Arc<Vec<Vec<E>>> {
        let prepared = || {
            let mut values = self.parameters.iter().map(Values::values).collect::<Vec<_>>();
            self.kernel.prepare(&mut values);
            Arc::new(values)
        };
        Arc::clone(self.values.get_or_init(prepared))
    }

    /// Adds `offset` to the bias of the last layer, one value an output.
    ///
    /// # Errors
    /// [`Error::Dimension`] if there are not as many values as outputs.
    pub fn offset_last_bias(&mut self, offset: &[f64]) -> Result<()> {
        self.values.take();
        let Some(bias) = self.parameters.last_mut() else {
            return Ok(());
        };
        let mut values = bias.values();
        if values.len() != offset.len() {
            let (expected, got) = (values.len(), offset.len());
            return Err(Error::Dimension { op: "bias of the last layer", expected, got });
        }
        for (value, &shift) in values.iter_mut().zip(offset) {
            *value += E::of(shift);
        }
        crate::tensor::set_values(bias, &values)
    }
}

impl<E: Real, K: NetworkKernel<E>> Network<E, K> {
    /// The network as a differentiable function on its own: `(rows, inputs)` to `(rows, outputs)`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `input` has as many columns as the network has inputs.
    pub fn forward<T: Mode<E>>(&self, input: Batch<E, T>) -> Result<Batch<E, T>> {
        check_columns("network", &input, self.kernel.inputs())?;
        let (input, mut tape) = input.split_tape();
        let operation = Alone(self.kernel.clone());
        let mut outputs =
            apply_with(operation, &[&input], &self.parameters, self.values(), &mut tape)?;
        Ok(outputs.remove(0).put_tape(tape))
    }
}

impl<E: Real, K: Layouts> Parameters<E> for Network<E, K> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        for (part, tensor) in self.kernel.layout().iter().zip(&self.parameters) {
            f(&part.name, Role::Learned, tensor);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.values.take();
        for (part, tensor) in self.kernel.layout().iter().zip(&mut self.parameters) {
            f(&part.name, Role::Learned, tensor)?;
        }
        Ok(())
    }
}

/// A network as a whole operation.
struct Alone<K>(K);

impl<E: Real, K: NetworkKernel<E>> Operation<E> for Alone<K> {
    type Workspace = K::Workspace;

    fn name(&self) -> &'static str {
        "network"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.0.outputs()]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        self.0.forward(inputs[0], parameters, workspace, outputs[0]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, Self::Workspace>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let mut incoming = output_gradients[0].to_vec();
        self.0.backward(block, &mut incoming, input_gradients[0], parameter_gradients);
    }
}

/// Adds to `bias[i]` the sum of the first `lanes` values of row i.
pub(crate) fn add_row_sums<E: Real>(rows: &[E], lanes: usize, stride: usize, bias: &mut [E]) {
    const ABREAST: usize = 16;
    debug_assert!(lanes.is_multiple_of(ABREAST) && LANES.is_multiple_of(ABREAST));
    crate::elementwise::vectorised(
        #[inline(always)]
        || {
            for (row, total) in rows.chunks_exact(stride).zip(bias) {
                let mut sums = [E::zero(); ABREAST];
                for chunk in row[..lanes].chunks_exact(ABREAST) {
                    for (sum, &value) in sums.iter_mut().zip(chunk) {
                        *sum += value;
                    }
                }
                *total += sums.iter().copied().sum();
            }
        },
    );
}

/// Adds to row i of `rows` the value `bias[i]`.
pub(crate) fn add_bias<E: Real>(rows: &mut [E], bias: &[E], lanes: usize, stride: usize) {
    crate::elementwise::vectorised(
        #[inline(always)]
        || {
            for (row, &bias) in rows.chunks_exact_mut(stride).zip(bias) {
                for value in &mut row[..lanes] {
                    *value += bias;
                }
            }
        },
    );
}
