//! Base to data: feature after feature, or all at once by iteration.

use flows_core::elementwise::{exp, vectorised};
use flows_core::masked::MaskedState;
use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Error, Real, Result, Tally};

use super::{Newton, Sampling, Wiring};
use crate::block::{lanes, lanes_mut};
use crate::transformer::{Inner, Outer, Transformer};

/// x_i = tau^-1(z_i; theta_i(x_<i))
///
/// With G the gradient of z and everything at the solution x, from the last feature to the first:
/// ```text
/// g_i = d x_i + what later features' theta send back
/// (G_i, d theta_i) = inverse gradient of tau for (g_i, d log_det)
/// ```
/// d theta_i goes back through the network before the features it depends on have their turn.
pub(super) struct SamplingOperation<T> {
    pub(super) wiring: Wiring<T>,
    pub(super) sampling: Sampling,
    pub(super) passes: Tally,
    pub(super) iterations: Tally,
}

impl<T> SamplingOperation<T> {
    /// Part by part, the network's outputs for a part computed by `advance` just before.
    fn by_parts<E: Real>(
        &self,
        z: &[E],
        state: &mut MaskedState<E>,
        outputs: &mut [&mut [E]],
        mut advance: impl FnMut(usize, &mut MaskedState<E>),
    ) -> Result<()>
    where
        T: Transformer<E>,
    {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let Wiring { features, kernel, transformer } = &self.wiring;
        let (dependencies, arity) = (kernel.dependencies(), kernel.arity() * LANES);
        let mut iterations = 0;
        for part in 1..=dependencies.parts() {
            advance(part - 1, state);
            for place in dependencies.part(part) {
                let feature = features[place];
                let theta = &state.output[place * arity..(place + 1) * arity];
                let x = lanes_mut(value, feature);
                iterations += transformer.inverse(lanes(z, feature), theta, x, log_det)?;
                lanes_mut(&mut state.input, dependencies.context() + place).copy_from_slice(x);
            }
        }
        self.iterations.note(iterations);
        Ok(())
    }

    /// All features at once; a row that has converged stays as it is.
    fn by_newton<E: Real>(
        &self,
        newton: Newton,
        (z, parameters): (&[E], &[&[E]]),
        state: &mut MaskedState<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()>
    where
        T: Transformer<E>,
    {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let Wiring { features, kernel, transformer } = &self.wiring;
        let (context, arity) = (kernel.dependencies().context(), kernel.arity() * LANES);
        let (relaxation, tolerance) = (E::of(newton.relaxation), E::of(newton.tolerance));
        value.copy_from_slice(z);
        let mut worst = [E::infinity(); LANES];
        for iteration in 1..=newton.iterations as u64 {
            for (place, &feature) in features.iter().enumerate() {
                lanes_mut(&mut state.input, context + place).copy_from_slice(lanes(value, feature));
            }
            kernel.forward(parameters, state);
            let done = worst.map(|worst| worst <= tolerance);
            let mut residual = [E::zero(); LANES];
            let mut slopes = [E::zero(); LANES];
            for (&feature, theta) in features.iter().zip(state.output.chunks_exact(arity)) {
                let (mut image, mut slope) = ([E::zero(); LANES], [E::zero(); LANES]);
                let (x, z) = (lanes_mut(value, feature), lanes(z, feature));
                transformer.forward(x, theta, &mut image, &mut slope)?;
                vectorised(
                    #[inline(always)]
                    || {
                        for lane in 0..LANES {
                            let gap = image[lane] - z[lane];
                            let size = gap.abs() / (E::one() + z[lane].abs());
                            // NaN counts as far away.
                            let larger = size > residual[lane] || size.is_nan();
                            residual[lane] = if larger { size } else { residual[lane] };
                            slopes[lane] += slope[lane];
                            let moved = x[lane] - relaxation * gap * exp(-slope[lane]);
                            let near = size <= tolerance || done[lane];
                            x[lane] = if near { x[lane] } else { moved };
                        }
                    },
                );
            }
            worst = residual;
            if worst.iter().all(|&worst| worst <= tolerance) {
                for (total, &slope) in log_det.iter_mut().zip(&slopes) {
                    *total = -slope;
                }
                self.passes.note(iteration);
                return Ok(());
            }
        }
        let row = worst.iter().position(|&w| w > tolerance || w.is_nan()).unwrap_or(0);
        Err(Error::NotConverged {
            method: "Newton sampling of an autoregressive layer",
            row,
            residual: worst[row].as_f64(),
            iterations: newton.iterations as u64,
            advice: "use relaxation between 0 and 2, more iterations, a larger tolerance, or \
                     incremental sampling",
        })
    }
}

impl<E: Real, T: Transformer<E>> Operation<E> for SamplingOperation<T> {
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
        let kernel = &self.wiring.kernel;
        kernel.start(state);
        if let Some(context) = inputs.get(1) {
            state.input[..context.len()].copy_from_slice(context);
        }
        match self.sampling {
            Sampling::Incremental => {
                self.passes.note(1);
                self.by_parts(inputs[0], state, outputs, |degree, state| {
                    kernel.forward_degree(degree, parameters, state);
                })
            }
            Sampling::Sequential => {
                self.passes.note(kernel.dependencies().parts() as u64);
                let context = kernel.dependencies().context() * LANES;
                state.input[context..].fill(E::zero());
                self.by_parts(inputs[0], state, outputs, |_, state| {
                    kernel.forward(parameters, state);
                })
            }
            Sampling::Newton(newton) => {
                self.by_newton(newton, (inputs[0], parameters), state, outputs)
            }
        }
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
        let (state, dependencies) = (block.workspace, kernel.dependencies());
        let (context, arity) = (dependencies.context(), kernel.arity() * LANES);
        let mut gradient = kernel.start_gradient();
        for part in (1..=dependencies.parts()).rev() {
            kernel.backward_degree(part, block.parameters, state, &mut gradient);
            for place in dependencies.part(part) {
                let feature = features[place];
                let mut total = [E::zero(); LANES];
                let sent_back = lanes(&gradient.input, context + place);
                let terms = lanes(d_value, feature).iter().zip(sent_back);
                for (total, (&direct, &later)) in total.iter_mut().zip(terms) {
                    *total = direct + later;
                }
                let x = lanes(&state.input, context + place);
                let thetas = place * arity..(place + 1) * arity;
                let outer = Outer { value: &total, log_slope: d_log_det };
                let inner = Inner {
                    value: lanes_mut(input_gradients[0], feature),
                    theta: &mut gradient.output()[thetas.clone()],
                };
                transformer.inverse_gradient(x, &state.output[thetas], outer, inner);
            }
        }
        kernel.backward_degree(0, block.parameters, state, &mut gradient);
        kernel.add_parameter_gradients(state, &gradient, parameter_gradients);
        if let Some(target) = input_gradients.get_mut(1) {
            target.copy_from_slice(&gradient.input[..context * LANES]);
        }
    }
}
