//! Coupling layers: part of the features conditions the transformation of the rest (review,
//! Section 3.1.2).

use flows_core::operation::{LANES, Operation, Recorded, apply_with, column};
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::tensor::check_columns;
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, LastLayer, Mapped, Mode, Network, NetworkKernel,
    Parameters, Real, Result, SplitTape, Stream, Tally, Values, Work,
};

use crate::block::{lanes, lanes_mut};
use crate::mask::Mask;
use crate::transformer::{Inner, Outer, Transformer};

/// A coupling layer with conditioner `K` and transformer `T`, one fused operation in either
/// direction.
///
/// ```text
/// x_kept = z_kept,   x_i = tau(z_i; theta_i),   theta = conditioner(z_kept, context)
/// ```
/// It starts as the identity: the last layer of the conditioner is zero, offset by the parameters
/// of the transformer's identity.
///
/// # Reference
/// Dinh, Krueger, Bengio, *NICE*, 2014, <https://arxiv.org/abs/1410.8516>; Real NVP (eq. 7-8)
/// <https://arxiv.org/abs/1605.08803>.
#[derive(Debug)]
pub struct Coupling<E: Real, K: NetworkKernel<E>, T: Transformer<E>> {
    wiring: Wiring,
    conditioner: Network<E, K>,
    transformer: T,
}

#[derive(Clone, Debug)]
struct Wiring {
    kept: Vec<usize>,
    transformed: Vec<usize>,
    context: usize,
}

impl Wiring {
    fn dim(&self) -> usize {
        self.kept.len() + self.transformed.len()
    }

    /// Inputs of the conditioner; where nothing conditions it reads one feature that is always 0.
    fn inputs(&self) -> usize {
        (self.kept.len() + self.context).max(1)
    }
}

impl<E: Real, K: NetworkKernel<E>, T: Transformer<E>> Coupling<E, K, T> {
    /// `kernel` makes the conditioner from its numbers of inputs and outputs.
    ///
    /// # Errors
    /// Whatever `kernel` reports; [`Error::Dimension`] if it makes a network of another size.
    pub fn new(
        mask: &Mask,
        context_dim: usize,
        transformer: T,
        kernel: impl FnOnce(usize, usize) -> Result<K>,
        rng: &mut Stream,
    ) -> Result<Self> {
        let wiring =
            Wiring { kept: mask.kept(), transformed: mask.transformed(), context: context_dim };
        let outputs = wiring.transformed.len() * transformer.arity();
        let kernel = kernel(wiring.inputs(), outputs)?;
        for (expected, got) in [(wiring.inputs(), kernel.inputs()), (outputs, kernel.outputs())] {
            if expected != got {
                return Err(Error::Dimension { op: "conditioner of a coupling", expected, got });
            }
        }
        let mut conditioner = Network::new(kernel, LastLayer::Zero, rng)?;
        conditioner.offset_last_bias(&transformer.identity().repeat(wiring.transformed.len()))?;
        Ok(Self { wiring, conditioner, transformer })
    }

    fn map<M: Mode<E>, const INVERSE: bool>(
        &self,
        input: Batch<E, M>,
        context: &Context<E>,
    ) -> Result<Mapped<E, M>> {
        check_columns("coupling", &input, self.wiring.dim())?;
        context.check("context of a coupling", self.wiring.context, input.rows())?;
        let (input, mut tape) = input.split_tape();
        let mut inputs = vec![&input];
        inputs.extend(context.features());
        let iterations = Tally::default();
        let operation = CouplingOperation::<K, T, INVERSE> {
            wiring: self.wiring.clone(),
            conditioner: self.conditioner.kernel().clone(),
            transformer: self.transformer.clone(),
            iterations: iterations.clone(),
        };
        let tensors = self.conditioner.tensors();
        let mut outputs =
            apply_with(operation, &inputs, tensors, self.conditioner.values(), &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::passes(1) };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real, K: NetworkKernel<E>, T: Transformer<E>> Parameters<E> for Coupling<E, K, T> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.conditioner, "conditioner", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.conditioner, "conditioner", f)
    }
}

impl<E: Real, K: NetworkKernel<E>, T: Transformer<E>> Bijector<E> for Coupling<E, K, T> {
    fn dim(&self) -> usize {
        self.wiring.dim()
    }

    fn costs(&self) -> Costs {
        let closed = self.transformer.closed_inverse();
        let inverse = if closed { Cost::ClosedForm } else { Cost::Iterative };
        Costs { forward: Cost::ClosedForm, inverse }
    }

    fn forward<M: Mode<E>>(&self, z: Batch<E, M>, context: &Context<E>) -> Result<Mapped<E, M>> {
        self.map::<M, false>(z, context)
    }

    fn inverse<M: Mode<E>>(&self, x: Batch<E, M>, context: &Context<E>) -> Result<Mapped<E, M>> {
        self.map::<M, true>(x, context)
    }
}

struct CouplingOperation<K, T, const INVERSE: bool> {
    wiring: Wiring,
    conditioner: K,
    transformer: T,
    iterations: Tally,
}

/// What a block leaves: the conditioner's input and inner state, its output, and the transformed
/// features (the inverse differentiates at its own result).
#[derive(Debug)]
struct CouplingWorkspace<E, W> {
    input: Vec<E>,
    network: W,
    theta: Vec<E>,
    images: Vec<E>,
}

impl<E, W: Default> Default for CouplingWorkspace<E, W> {
    fn default() -> Self {
        Self { input: Vec::new(), network: W::default(), theta: Vec::new(), images: Vec::new() }
    }
}

impl<E, K, T, const INVERSE: bool> Operation<E> for CouplingOperation<K, T, INVERSE>
where
    E: Real,
    K: NetworkKernel<E>,
    T: Transformer<E>,
{
    type Workspace = CouplingWorkspace<E, K::Workspace>;

    fn name(&self) -> &'static str {
        "coupling"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.wiring.dim(), 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let CouplingWorkspace { input, network, theta, images } = workspace;
        input.clear();
        for &feature in &self.wiring.kept {
            input.extend_from_slice(lanes(inputs[0], feature));
            lanes_mut(value, feature).copy_from_slice(lanes(inputs[0], feature));
        }
        if let Some(context) = inputs.get(1) {
            input.extend_from_slice(context);
        }
        input.resize(self.wiring.inputs() * LANES, E::zero());
        theta.resize(self.conditioner.outputs() * LANES, E::zero());
        self.conditioner.forward(input, parameters, network, theta);
        images.clear();
        let arity = self.transformer.arity() * LANES;
        let mut iterations = 0;
        for (&feature, theta) in self.wiring.transformed.iter().zip(theta.chunks_exact(arity)) {
            let source = lanes(inputs[0], feature);
            let target = lanes_mut(value, feature);
            if INVERSE {
                iterations += self.transformer.inverse(source, theta, target, log_det)?;
                images.extend_from_slice(target);
            } else {
                self.transformer.forward(source, theta, target, log_det)?;
            }
        }
        self.iterations.note(iterations);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, Self::Workspace>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_value, d_log_det] = output_gradients else {
            return;
        };
        let CouplingWorkspace { input, network, theta, images } = block.workspace;
        let mut d_theta = vec![E::zero(); theta.len()];
        let arity = self.transformer.arity() * LANES;
        for (index, &feature) in self.wiring.transformed.iter().enumerate() {
            let theta = &theta[index * arity..(index + 1) * arity];
            let outer = Outer { value: lanes(d_value, feature), log_slope: d_log_det };
            let inner = Inner {
                value: lanes_mut(input_gradients[0], feature),
                theta: &mut d_theta[index * arity..(index + 1) * arity],
            };
            if INVERSE {
                self.transformer.inverse_gradient(lanes(images, index), theta, outer, inner);
            } else {
                let x = lanes(block.inputs[0], feature);
                self.transformer.forward_gradient(x, theta, outer, inner);
            }
        }
        let mut d_input = vec![E::zero(); input.len()];
        let recorded = Recorded {
            inputs: &[input.as_slice()],
            parameters: block.parameters,
            workspace: network,
        };
        self.conditioner.backward(recorded, &mut d_theta, &mut d_input, parameter_gradients);
        for (row, &feature) in self.wiring.kept.iter().enumerate() {
            let target = lanes_mut(input_gradients[0], feature);
            let passed = lanes(d_value, feature).iter().zip(lanes(&d_input, row));
            for (gradient, (&direct, &conditioned)) in target.iter_mut().zip(passed) {
                *gradient = direct + conditioned;
            }
        }
        if let Some(d_context) = input_gradients.get_mut(1) {
            let start = self.wiring.kept.len() * LANES;
            d_context.copy_from_slice(&d_input[start..start + d_context.len()]);
        }
    }
}
