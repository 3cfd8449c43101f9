//! The density direction of a masked autoregressive layer: one pass for all features.

use flows_core::lanes::{add, lanes, lanes_mut};
use flows_core::map::{Block, Pull};
use flows_core::masked::{MaskedGradient, MaskedState};
use flows_core::operation::LANES;
use flows_core::{Real, Result, Work};

use super::Autoregressive;
use crate::transformer::{Inner, Outer};

impl<E: Real> Autoregressive<E> {
    /// z_i = tau(x_i; theta_i(x_<i))
    pub(super) fn evaluate(&self, at: Block<'_, E>, state: &mut MaskedState<E>) -> Result<Work> {
        let ordered = &mut state.input[at.context.len()..];
        for (place, &feature) in self.features.iter().enumerate() {
            lanes_mut(ordered, place).copy_from_slice(lanes(at.input, feature));
        }
        self.kernel.forward(at.parameters, state);
        let thetas = state.output.chunks_exact(self.kernel.arity() * LANES);
        for (&feature, theta) in self.features.iter().zip(thetas) {
            let (x, z) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            self.transformer.forward(x, theta, z, at.log_det)?;
        }
        Ok(Work::passes(1))
    }

    pub(super) fn pull_evaluate(
        &self,
        at: Pull<'_, '_, E>,
        state: &MaskedState<E>,
        gradient: &mut MaskedGradient<E>,
    ) {
        let arity = self.kernel.arity() * LANES;
        let thetas = state.output.chunks_exact(arity);
        let d_thetas = gradient.output().chunks_exact_mut(arity);
        for ((&feature, theta), d_theta) in self.features.iter().zip(thetas).zip(d_thetas) {
            let outer = Outer { value: lanes(at.d_value, feature), log_slope: at.d_log_det };
            let inner = Inner { value: lanes_mut(at.d_input, feature), theta: d_theta };
            self.transformer.forward_gradient(lanes(at.input, feature), theta, outer, inner);
        }
        self.kernel.backward(at.parameters, state, gradient, at.gradients);
        let (d_context, d_ordered) = gradient.input.split_at(at.context.len());
        for (place, &feature) in self.features.iter().enumerate() {
            add(lanes_mut(at.d_input, feature), lanes(d_ordered, place));
        }
        add(at.d_context, d_context);
    }
}
