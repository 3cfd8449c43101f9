//! Neural networks: a kernel over blocks of rows, with its tensors.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use crate::layout::{HasLayout, Layout};
use crate::operation::{LANES, Operation, Recorded, apply_with};
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::tape::Tape;
use crate::tensor::{Batch, check_columns};
use crate::tensors::Tensors;
use crate::{Error, Real, Result, Scratch, Stream};

/// A neural network as a formula on one block of [`LANES`] rows, feature by feature. It owns no
/// tensors, so that maps and fused operations can contain it.
pub trait NetworkKernel<E: Real>: HasLayout {
    /// Columns of the input.
    fn inputs(&self) -> usize;
    /// Columns of the output.
    fn outputs(&self) -> usize;

    /// Computes `output`, `(outputs, LANES)`, from `input`, `(inputs, LANES)`.
    fn forward(&self, input: &[E], parameters: &[&[E]], scratch: &mut Scratch, output: &mut [E]);

    /// Backward pass: from the gradient of the output, which may be used as scratch space, writes
    /// that of the input and adds to those of the parameters.
    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
        parameter_gradients: &mut [&mut [E]],
    );
}

/// Initialisation of the last layer of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLayer {
    /// Zero: a conditioner then starts its transformer at the identity.
    Zero,
    /// Like the other layers.
    Random,
}

impl LastLayer {
    /// Initial values of the tensors of a network.
    pub fn start(self, layout: &[Layout], rng: &mut Stream) -> Vec<Vec<f64>> {
        let first = |part: &Layout| match self {
            Self::Zero if part.last => vec![0.0; part.rows * part.columns],
            _ => part.draw(rng),
        };
        layout.iter().map(first).collect()
    }
}

/// Initial values of a conditioner whose output is `offset` for all inputs.
///
/// # Errors
/// [`Error::Dimension`] unless `offset` has a value for each output.
pub fn constant_start(
    layout: &[Layout],
    offset: &[f64],
    rng: &mut Stream,
) -> Result<Vec<Vec<f64>>> {
    offset_start(LastLayer::Zero, layout, offset, rng)
}

/// Initial values of a conditioner whose last layer starts as `last` says, its bias raised by `offset`.
///
/// # Errors
/// [`Error::Dimension`] unless `offset` has a value for each output.
pub fn offset_start(
    last: LastLayer,
    layout: &[Layout],
    offset: &[f64],
    rng: &mut Stream,
) -> Result<Vec<Vec<f64>>> {
    let mut values = last.start(layout, rng);
    let bias = values.last_mut().map_or(&mut [] as &mut [f64], Vec::as_mut_slice);
    if bias.len() != offset.len() {
        let (expected, got) = (bias.len(), offset.len());
        return Err(Error::Dimension { op: "bias of the last layer", expected, got });
    }
    bias.iter_mut().zip(offset).for_each(|(bias, offset)| *bias += offset);
    Ok(values)
}

/// A network kernel with its tensors.
#[derive(Clone, Debug)]
pub struct Network<E: Real, K> {
    kernel: K,
    tensors: Tensors<E>,
    /// Their values, cached until the tensors change.
    values: OnceLock<Arc<Vec<Vec<E>>>>,
}

impl<E: Real, K: HasLayout> Network<E, K> {
    /// Draws the initial values as the layout says.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn new(kernel: K, last: LastLayer, rng: &mut Stream) -> Result<Self> {
        let layout = kernel.layout();
        let cast = |values: Vec<f64>| values.into_iter().map(E::of).collect();
        let values = last.start(&layout, rng).into_iter().map(cast).collect();
        Ok(Self { kernel, tensors: Tensors::new(layout, values)?, values: OnceLock::new() })
    }

    /// The kernel, for use inside a larger fused operation.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    /// The tensors, in the order of [`HasLayout::layout`].
    pub fn tensors(&self) -> &[Batch<E>] {
        self.tensors.all()
    }

    /// The values of the tensors, cached.
    pub fn values(&self) -> Arc<Vec<Vec<E>>> {
        Arc::clone(self.values.get_or_init(|| Arc::new(self.tensors.values())))
    }

    /// The kernel and its tensors.
    pub fn into_parts(self) -> (K, Tensors<E>) {
        (self.kernel, self.tensors)
    }
}

impl<E: Real, K: NetworkKernel<E> + Clone + 'static> Network<E, K> {
    /// Evaluates the network as a differentiable operation: `(rows, inputs)` to `(rows, outputs)`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `input` has as many columns as the network has inputs.
    pub fn forward(&self, input: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        check_columns("network", input, self.kernel.inputs())?;
        let operation = NetworkOperation(self.kernel.clone());
        let values = self.values();
        Ok(apply_with(operation, &[input], self.tensors(), values, tape)?.remove(0))
    }
}

impl<E: Real, K: Debug + Send + Sync> Parameters<E> for Network<E, K> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.tensors.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.values.take();
        self.tensors.visit_mut(f)
    }
}

/// A network as an operation of its own.
struct NetworkOperation<K>(K);

impl<E: Real, K: NetworkKernel<E>> Operation<E> for NetworkOperation<K> {
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
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        self.0.forward(inputs[0], parameters, scratch, outputs[0]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let mut incoming = output_gradients[0].to_vec();
        self.0.backward(block, &mut incoming, input_gradients[0], parameter_gradients);
        Ok(())
    }
}

/// `bias[i] +=` the sum of the first `lanes` values of row i.
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

/// Adds `bias[i]` to the values of row i.
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
