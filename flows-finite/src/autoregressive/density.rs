//! Data to base: one pass of the masked network for all features.

use flows_core::masked::MaskedState;
use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Real, Result};

use super::Wiring;
use crate::block::{lanes, lanes_mut};
use crate::transformer::{Inner, Outer, Transformer};

/// z_i = tau(x_i; theta_i(x_<i))
pub(super) struct Density<T> {
    pub(super) wiring: Wiring<T>,
}

impl<E: Real, T: Transformer<E>> Operation<E> for Density<T> {
    type Workspace = MaskedState<E>;

    fn name(&self) -> &'static str {
        "autoregressive layer"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.wiring.features.len(), 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        state: &mut MaskedState<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let Wiring { features, kernel, transformer } = &self.wiring;
        kernel.start(state);
        let context = inputs.get(1).map_or(0, |context| context.len());
        let (before, ordered) = state.input.split_at_mut(context);
        if let Some(context) = inputs.get(1) {
            before.copy_from_slice(context);
        }
        for (place, &feature) in features.iter().enumerate() {
            lanes_mut(ordered, place).copy_from_slice(lanes(inputs[0], feature));
        }
        kernel.forward(parameters, state);
        let thetas = state.output.chunks_exact(kernel.arity() * LANES);
        for (&feature, theta) in features.iter().zip(thetas) {
            let z = lanes_mut(value, feature);
            transformer.forward(lanes(inputs[0], feature), theta, z, log_det)?;
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, MaskedState<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_value, d_log_det] = output_gradients else {
            return;
        };
        let Wiring { features, kernel, transformer } = &self.wiring;
        let state = block.workspace;
        let mut gradient = kernel.start_gradient();
        let arity = kernel.arity() * LANES;
        let d_thetas = gradient.output().chunks_exact_mut(arity);
        let thetas = state.output.chunks_exact(arity);
        for ((&feature, theta), d_theta) in features.iter().zip(thetas).zip(d_thetas) {
            let outer = Outer { value: lanes(d_value, feature), log_slope: d_log_det };
            let inner = Inner { value: lanes_mut(input_gradients[0], feature), theta: d_theta };
            transformer.forward_gradient(lanes(block.inputs[0], feature), theta, outer, inner);
        }
        kernel.backward(block.parameters, state, &mut gradient);
        kernel.add_parameter_gradients(state, &gradient, parameter_gradients);
        let context = kernel.dependencies().context() * LANES;
        let (d_context, d_ordered) = gradient.input.split_at(context);
        for (place, &feature) in features.iter().enumerate() {
            let total = lanes_mut(input_gradients[0], feature);
            for (total, &term) in total.iter_mut().zip(lanes(d_ordered, place)) {
                *total += term;
            }
        }
        if let Some(target) = input_gradients.get_mut(1) {
            target.copy_from_slice(d_context);
        }
    }
}
