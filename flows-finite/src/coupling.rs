//! Coupling layers: part of the features conditions the transformation of the rest (review,
//! Section 3.1.2).

use std::sync::Arc;

use flows_core::lanes::{add, lanes, lanes_mut};
use flows_core::map::{Block, Pull};
use flows_core::operation::{LANES, Recorded};
use flows_core::{
    Cost, Costs, Error, HasLayout, LastLayer, Layout, Map, NetworkKernel, Real, Result, Scratch,
    Space, Stream, Work, image_spaces, offset_start,
};

use crate::mask::Mask;
use crate::transformer::{Inner, Outer, Transformer};

/// A coupling layer: some features condition the transformation of the others.
///
/// ```text
/// x_kept = z_kept,   x_i = tau(z_i; theta_i),   theta = conditioner(z_kept, context)
/// ```
/// It starts at the transformer's [`initial`](Transformer::initial) parameters, the identity or
/// near it: the last layer of the conditioner is zero, offset by these, unless
/// [`starting_from`](Self::starting_from) says otherwise.
///
/// # Reference
/// Dinh, Krueger, Bengio, *NICE*, 2014, <https://arxiv.org/abs/1410.8516>; Real NVP (eq. 7-8)
/// <https://arxiv.org/abs/1605.08803>.
#[derive(Clone, Debug)]
pub struct Coupling<E: Real> {
    kept: Vec<usize>,
    transformed: Vec<usize>,
    context: usize,
    conditioner: Arc<dyn NetworkKernel<E>>,
    transformer: Arc<dyn Transformer<E>>,
    last: LastLayer,
}

/// Input, scratch and output of the conditioner, for the backward pass.
#[derive(Debug, Default)]
struct Conditioned<E> {
    input: Vec<E>,
    network: Scratch,
    theta: Vec<E>,
    /// Buffers of the backward pass.
    d_input: Vec<E>,
    d_theta: Vec<E>,
}

impl<E: Real> Coupling<E> {
    /// A coupling layer; `kernel` makes the conditioner from its numbers of inputs and outputs.
    ///
    /// # Errors
    /// Errors of `kernel`; [`Error::Dimension`] if it makes a network of another size.
    pub fn new<K: NetworkKernel<E> + 'static>(
        mask: &Mask,
        context_dim: usize,
        transformer: Arc<dyn Transformer<E>>,
        kernel: impl FnOnce(usize, usize) -> Result<K>,
    ) -> Result<Self> {
        let (kept, transformed) = (mask.kept(), mask.transformed());
        // Without conditioning features, the network reads a single 0.
        let inputs = (kept.len() + context_dim).max(1);
        let outputs = transformed.len() * transformer.arity();
        let kernel = kernel(inputs, outputs)?;
        for (expected, got) in [(inputs, kernel.inputs()), (outputs, kernel.outputs())] {
            if expected != got {
                return Err(Error::Dimension { op: "conditioner of a coupling", expected, got });
            }
        }
        let conditioner = Arc::new(kernel);
        let last = LastLayer::Zero;
        Ok(Self { kept, transformed, context: context_dim, conditioner, transformer, last })
    }

    /// The same with another start of the conditioner's last layer.
    #[must_use]
    pub fn starting_from(self, last: LastLayer) -> Self {
        Self { last, ..self }
    }

    /// Number of parameters of a transformed feature.
    fn arity(&self) -> usize {
        self.transformer.arity() * LANES
    }

    /// Evaluates the conditioner on a block.
    fn condition(&self, at: &Block<'_, E>, left: &mut Conditioned<E>) {
        let Conditioned { input, network, theta, .. } = left;
        input.clear();
        for &feature in &self.kept {
            input.extend_from_slice(lanes(at.input, feature));
        }
        input.extend_from_slice(at.context);
        input.resize(self.conditioner.inputs() * LANES, E::zero());
        theta.resize(self.conditioner.outputs() * LANES, E::zero());
        self.conditioner.forward(input, at.parameters, network, theta);
    }

    /// Backward pass through the conditioner, from the gradient of its output; adds to the
    /// gradients of the kept features.
    fn pull(&self, at: Pull<'_, '_, E>, left: &mut Conditioned<E>) {
        let Conditioned { input, network, d_input, d_theta, .. } = left;
        d_input.resize(input.len(), E::zero());
        let block =
            Recorded { inputs: &[input.as_slice()], parameters: at.parameters, scratch: network };
        self.conditioner.backward(block, d_theta, d_input, at.gradients);
        for (row, &feature) in self.kept.iter().enumerate() {
            let target = lanes_mut(at.d_input, feature);
            target.copy_from_slice(lanes(at.d_value, feature));
            add(target, lanes(d_input, row));
        }
        add(at.d_context, &d_input[self.kept.len() * LANES..]);
    }

    /// Backward pass through the transformer of each transformed feature, then the conditioner.
    fn gradient(
        &self,
        at: Pull<'_, '_, E>,
        scratch: &mut Scratch,
        transformer: impl Fn(usize, &[E], Outer<'_, E>, Inner<'_, E>),
    ) {
        let left: &mut Conditioned<E> = scratch.left();
        left.d_theta.resize(left.theta.len(), E::zero());
        let arity = self.arity();
        let thetas = left.theta.chunks_exact(arity).zip(left.d_theta.chunks_exact_mut(arity));
        for (&feature, (theta, d_theta)) in self.transformed.iter().zip(thetas) {
            let outer = Outer { value: lanes(at.d_value, feature), log_slope: at.d_log_det };
            let inner = Inner { value: lanes_mut(at.d_input, feature), theta: d_theta };
            transformer(feature, theta, outer, inner);
        }
        self.pull(at, left);
    }
}

impl<E: Real> HasLayout for Coupling<E> {
    fn layout(&self) -> Vec<Layout> {
        let layout = self.conditioner.layout().into_iter();
        layout.map(|tensor| tensor.within("conditioner")).collect()
    }
}

impl<E: Real> Map<E> for Coupling<E> {
    fn name(&self) -> &'static str {
        "coupling"
    }

    fn dim(&self) -> usize {
        self.kept.len() + self.transformed.len()
    }

    fn context_dim(&self) -> usize {
        self.context
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let image = |space| self.transformer.image_space(space);
        image_spaces(self.transformer.name(), from, self.transformed.iter().copied(), image)
    }

    fn costs(&self) -> Costs {
        let closed = self.transformer.closed_inverse();
        let inverse = if closed { Cost::ClosedForm } else { Cost::Iterative };
        Costs { forward: Cost::ClosedForm, inverse }
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        let offset = self.transformer.initial().repeat(self.transformed.len());
        offset_start(self.last, &self.layout(), &offset, rng)
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let left: &mut Conditioned<E> = scratch.or_default();
        self.condition(&at, left);
        at.value.copy_from_slice(at.input);
        for (&feature, theta) in self.transformed.iter().zip(left.theta.chunks_exact(self.arity()))
        {
            let (z, x) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            self.transformer.forward(z, theta, x, at.log_det)?;
        }
        Ok(Work::passes(1))
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let left: &mut Conditioned<E> = scratch.or_default();
        self.condition(&at, left);
        at.value.copy_from_slice(at.input);
        let mut iterations = 0;
        for (&feature, theta) in self.transformed.iter().zip(left.theta.chunks_exact(self.arity()))
        {
            let (x, z) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            iterations += self.transformer.inverse(x, theta, z, at.log_det)?;
        }
        Ok(Work { iterations, ..Work::passes(1) })
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let z = at.input;
        self.gradient(at, scratch, |feature, theta, outer, inner| {
            self.transformer.forward_gradient(lanes(z, feature), theta, outer, inner);
        });
        Ok(())
    }

    /// The kept features are the same on either side, so the transformer's inverse gradient is all
    /// that the implicit function theorem needs.
    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let z = at.value;
        self.gradient(at, scratch, |feature, theta, outer, inner| {
            self.transformer.inverse_gradient(lanes(z, feature), theta, outer, inner);
        });
        Ok(())
    }
}
