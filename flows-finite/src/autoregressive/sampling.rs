//! The sampling direction of a masked autoregressive layer: feature by feature, or all at once by
//! Newton's method.

use flows_core::elementwise::{exp, vectorised};
use flows_core::lanes::{add, lanes, lanes_mut};
use flows_core::map::{Block, Pull};
use flows_core::masked::{MaskedGradient, MaskedState};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result, Work};

use super::{Autoregressive, Newton, Sampling};
use crate::transformer::{Inner, Outer};

impl<E: Real> Autoregressive<E> {
    /// x_i = tau^-1(z_i; theta_i(x_<i)); the context is already in the state.
    pub(super) fn sample(&self, at: Block<'_, E>, state: &mut MaskedState<E>) -> Result<Work> {
        let (kernel, parameters) = (&self.kernel, at.parameters);
        match self.sampling {
            Sampling::Incremental => {
                let iterations = self.by_parts(at, state, |degree, state| {
                    kernel.forward_degree(degree, parameters, state);
                })?;
                Ok(Work { iterations, ..Work::passes(1) })
            }
            Sampling::Sequential => {
                state.input[at.context.len()..].fill(E::zero());
                let iterations =
                    self.by_parts(at, state, |_, state| kernel.forward(parameters, state))?;
                Ok(Work { iterations, ..Work::passes(kernel.dependencies().parts() as u64) })
            }
            Sampling::Newton(newton) => self.by_newton(newton, at, state).map(Work::passes),
        }
    }

    /// Part by part; `advance` computes the network's outputs of a part just before. Returns the
    /// iterations of the transformer's inverse.
    fn by_parts(
        &self,
        at: Block<'_, E>,
        state: &mut MaskedState<E>,
        mut advance: impl FnMut(usize, &mut MaskedState<E>),
    ) -> Result<u64> {
        let (dependencies, arity) = (self.kernel.dependencies(), self.kernel.arity() * LANES);
        let mut iterations = 0;
        for part in 1..=dependencies.parts() {
            advance(part - 1, state);
            for place in dependencies.part(part) {
                let feature = self.features[place];
                let theta = &state.output[place * arity..(place + 1) * arity];
                let (z, x) = (lanes(at.input, feature), lanes_mut(at.value, feature));
                iterations += self.transformer.inverse(z, theta, x, at.log_det)?;
                lanes_mut(&mut state.input, dependencies.context() + place).copy_from_slice(x);
            }
        }
        Ok(iterations)
    }

    /// All features at once; converged rows stay as they are. Returns the number of passes.
    fn by_newton(
        &self,
        newton: Newton,
        at: Block<'_, E>,
        state: &mut MaskedState<E>,
    ) -> Result<u64> {
        let Block { input, value, log_det, parameters, .. } = at;
        let (context, arity) = (self.kernel.dependencies().context(), self.kernel.arity() * LANES);
        let (relaxation, tolerance) = (E::of(newton.relaxation), E::of(newton.tolerance));
        value.copy_from_slice(input);
        let mut worst = [E::infinity(); LANES];
        for iteration in 1..=newton.iterations as u64 {
            for (place, &feature) in self.features.iter().enumerate() {
                lanes_mut(&mut state.input, context + place).copy_from_slice(lanes(value, feature));
            }
            self.kernel.forward(parameters, state);
            let done = worst.map(|worst| worst <= tolerance);
            let mut residual = [E::zero(); LANES];
            let mut slopes = [E::zero(); LANES];
            for (&feature, theta) in self.features.iter().zip(state.output.chunks_exact(arity)) {
                let (mut image, mut slope) = ([E::zero(); LANES], [E::zero(); LANES]);
                let (x, z) = (lanes_mut(value, feature), lanes(input, feature));
                self.transformer.forward(x, theta, &mut image, &mut slope)?;
                vectorised(
                    #[inline(always)]
                    || {
                        for lane in 0..LANES {
                            let gap = image[lane] - z[lane];
                            let size = gap.abs() / (E::one() + z[lane].abs());
                            // NaN counts as not converged.
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
                log_det.iter_mut().zip(slopes).for_each(|(total, slope)| *total -= slope);
                return Ok(iteration);
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

    /// Backward pass, from the last feature to the first. With G the gradient of z and everything
    /// at the solution x:
    /// ```text
    /// g_i = d x_i + what later features' theta send back
    /// (G_i, d theta_i) = inverse gradient of tau for (g_i, d log_det)
    /// ```
    /// d theta_i goes back through the network before the features that theta_i depends on.
    pub(super) fn pull_sample(
        &self,
        at: Pull<'_, '_, E>,
        state: &MaskedState<E>,
        gradient: &mut MaskedGradient<E>,
    ) {
        let (kernel, dependencies) = (&self.kernel, self.kernel.dependencies());
        let (context, arity) = (dependencies.context(), kernel.arity() * LANES);
        for part in (1..=dependencies.parts()).rev() {
            kernel.backward_degree(part, at.parameters, state, gradient);
            for place in dependencies.part(part) {
                let feature = self.features[place];
                let mut total = [E::zero(); LANES];
                total.copy_from_slice(lanes(at.d_value, feature));
                add(&mut total, lanes(&gradient.input, context + place));
                let thetas = place * arity..(place + 1) * arity;
                let outer = Outer { value: &total, log_slope: at.d_log_det };
                let inner = Inner {
                    value: lanes_mut(at.d_input, feature),
                    theta: &mut gradient.output()[thetas.clone()],
                };
                let (x, theta) = (lanes(at.value, feature), &state.output[thetas]);
                self.transformer.inverse_gradient(x, theta, outer, inner);
            }
        }
        kernel.backward_degree(0, at.parameters, state, gradient);
        kernel.add_parameter_gradients(state, gradient, at.gradients);
        add(at.d_context, &gradient.input[..context * LANES]);
    }
}
