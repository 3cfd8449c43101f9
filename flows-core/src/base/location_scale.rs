//! What bases of independent features share: z = m + e^s u with u from a standard density of one
//! dimension, differentiable as a log-density and as a draw.

use crate::elementwise::vectorised;
use crate::operation::{LANES, Operation, Recorded};
use crate::{Real, Result};

/// A density of one dimension, log f(u) = -cost(u) - constant.
pub(super) trait Standard: Clone + Send + Sync + 'static {
    /// Name for error messages.
    const NAME: &'static str;

    /// Minus the log-density up to the constant.
    fn cost<E: Real>(&self, u: E) -> E;

    /// The derivative of [`cost`](Self::cost).
    fn slope<E: Real>(&self, u: E) -> E;

    /// Log of the integral of exp(-cost).
    fn constant(&self) -> f64;
}

/// Sum over features of log f(u) - s, u = e^-s (z - m); m = s = 0 without parameters.
///
/// With c = cost'(u): d/dz = -c e^-s, d/dm = c e^-s, d/ds = c u - 1.
pub(super) struct LogDensity<S>(pub(super) S);

/// Location and log-scale of feature `i`.
fn moments<E: Real>(parameters: &[&[E]], i: usize) -> (E, E) {
    match parameters {
        [location, log_scale] => (location[i], log_scale[i]),
        _ => (E::zero(), E::zero()),
    }
}

impl<E: Real, S: Standard> Operation<E> for LogDensity<S> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        S::NAME
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let sums = &mut *outputs[0];
        for (i, z) in inputs[0].chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(parameters, i);
            let inverse = (-log_scale).exp();
            let constant = log_scale + E::of(self.0.constant());
            vectorised(
                #[inline(always)]
                || {
                    for (sum, &z) in sums.iter_mut().zip(z) {
                        *sum -= self.0.cost((z - location) * inverse) + constant;
                    }
                },
            );
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let outer = output_gradients[0];
        for (i, z) in block.inputs[0].chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(block.parameters, i);
            let inverse = (-log_scale).exp();
            let inner = &mut input_gradients[0][i * LANES..(i + 1) * LANES];
            let (mut d_location, mut d_log_scale) = (E::zero(), E::zero());
            vectorised(
                #[inline(always)]
                || {
                    for ((gradient, &z), &outer) in inner.iter_mut().zip(z).zip(outer) {
                        let u = (z - location) * inverse;
                        let slope = self.0.slope(u);
                        *gradient = -(slope * inverse * outer);
                        d_location += slope * inverse * outer;
                        d_log_scale += (slope * u - E::one()) * outer;
                    }
                },
            );
            if let [locations, log_scales] = parameter_gradients {
                locations[i] += d_location;
                log_scales[i] += d_log_scale;
            }
        }
    }
}

/// z = m + e^s u for fixed u: d/dm = 1, d/ds = z - m.
pub(super) struct Draw {
    pub(super) dim: usize,
}

impl<E: Real> Operation<E> for Draw {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "draws of a base"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let blocks = inputs[0].chunks_exact(LANES).zip(outputs[0].chunks_exact_mut(LANES));
        for (i, (noise, z)) in blocks.enumerate() {
            let (location, scale) = (parameters[0][i], parameters[1][i].exp());
            for (z, &noise) in z.iter_mut().zip(noise) {
                *z = noise * scale + location;
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        _: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let noise = block.inputs[0].chunks_exact(LANES);
        for (i, (noise, outer)) in noise.zip(output_gradients[0].chunks_exact(LANES)).enumerate() {
            let scale = block.parameters[1][i].exp();
            for (&noise, &outer) in noise.iter().zip(outer) {
                parameter_gradients[0][i] += outer;
                parameter_gradients[1][i] += outer * noise * scale;
            }
        }
    }
}
