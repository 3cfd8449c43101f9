//! The gradient of a solve: the accepted steps are taken once more, backwards.
//!
//! For a step y' = y + h sum b_i k_i with stages k_i = f(t_i, Y_i), Y_i = y + h sum a_ij k_j, and the
//! gradient L of y',
//! ```text
//! dk_i = h b_i L + h sum over m > i of a_mi dY_m,    dY_i = (df/dY_i)^T dk_i
//! dy = L + sum of dY_i
//! ```
//! The states between steps come from the solve; stages are recomputed, a step at a time, so that
//! memory does not grow with the number of steps but for one state each.

use flows_core::Real;
use flows_core::Result;
use flows_core::operation::{LANES, Operation, Recorded};

use crate::divergence::Divergence;
use crate::field::{FieldGradients, FieldKernel, Instant};
use crate::tableau::Tableau;

/// A solve that has happened, as a differentiable operation.
///
/// Inputs: start `(dim)`, trajectory `((dim + 1) mesh points)`: at each point the state and the
/// log-det so far; then probes and context where there are any. Outputs: the last state, and the
/// log-det.
#[derive(Debug)]
pub(crate) struct Replay<K> {
    pub(crate) kernel: K,
    pub(crate) tableau: &'static Tableau,
    pub(crate) mesh: Vec<f64>,
    pub(crate) divergence: Divergence,
}

/// One stage as it was evaluated.
#[derive(Debug)]
struct Stage<E, W> {
    /// State with directions.
    state: Vec<E>,
    velocity: Vec<E>,
    workspace: W,
}

impl<K> Replay<K> {
    fn split<'a, E>(&self, inputs: &[&'a [E]]) -> (&'a [E], &'a [E]) {
        let (exact, rest) = (self.divergence == Divergence::Exact, &inputs[2..]);
        let probes = if exact { &[][..] } else { rest[0] };
        let context = rest.get(usize::from(!exact)).copied().unwrap_or(&[]);
        (probes, context)
    }
}

impl<E: Real, K: FieldKernel<E>> Operation<E> for Replay<K> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "continuous flow"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.kernel.dim(), 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let dim = self.kernel.dim();
        let last = &inputs[1][inputs[1].len() - (dim + 1) * LANES..];
        outputs[0].copy_from_slice(&last[..dim * LANES]);
        outputs[1].copy_from_slice(&last[dim * LANES..]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let dim = self.kernel.dim();
        let (probes, context) = self.split(block.inputs);
        let size = dim * (1 + self.divergence.tangents(dim)) * LANES;
        let mut stages: Vec<Stage<E, K::Workspace>> = (0..self.tableau.stages())
            .map(|_| {
                let mut state = vec![E::zero(); size];
                self.divergence.write_directions(dim, probes, &mut state);
                let workspace = K::Workspace::default();
                Stage { state, velocity: vec![E::zero(); size], workspace }
            })
            .collect();
        let mut gradient = output_gradients[0].to_vec();
        let mut d_context = vec![E::zero(); context.len()];
        let points = block.inputs[1].chunks_exact((dim + 1) * LANES);
        for (ends, point) in self.mesh.windows(2).zip(points).rev() {
            let step = Step { start: ends[0], length: ends[1] - ends[0], context };
            self.stages(&step, &point[..dim * LANES], block.parameters, &mut stages);
            let gradients = StepGradients {
                state: &mut gradient,
                log_det: output_gradients[1],
                context: &mut d_context,
                parameters: parameter_gradients,
            };
            self.pull_step(&step, block.parameters, &mut stages, gradients);
        }
        input_gradients[0].copy_from_slice(&gradient);
        if let (false, Some(target)) = (context.is_empty(), input_gradients.last_mut()) {
            target.copy_from_slice(&d_context);
        }
    }
}

struct Step<'a, E> {
    start: f64,
    length: f64,
    context: &'a [E],
}

struct StepGradients<'a, 'b, E> {
    state: &'a mut [E],
    log_det: &'a [E],
    context: &'a mut [E],
    parameters: &'a mut [&'b mut [E]],
}

impl<K> Replay<K> {
    fn at<'a, E: Real>(
        &self,
        stage: usize,
        step: &Step<'a, E>,
        state: &'a [E],
        tangents: usize,
    ) -> Instant<'a, E> {
        let time = E::of(step.start + self.tableau.c[stage] * step.length);
        Instant { time, tangents, state, context: step.context }
    }

    /// Evaluates all stages of a step from state `y`.
    fn stages<E: Real>(
        &self,
        step: &Step<'_, E>,
        y: &[E],
        parameters: &[&[E]],
        stages: &mut [Stage<E, K::Workspace>],
    ) where
        K: FieldKernel<E>,
    {
        let tangents = self.divergence.tangents(self.kernel.dim());
        let stride = (1 + tangents) * LANES;
        for (i, row) in self.tableau.a.iter().enumerate() {
            let (before, rest) = stages.split_at_mut(i);
            let Some(stage) = rest.first_mut() else {
                return;
            };
            for (feature, target) in stage.state.chunks_exact_mut(stride).enumerate() {
                let lanes = &mut target[..LANES];
                lanes.copy_from_slice(&y[feature * LANES..(feature + 1) * LANES]);
                for (weight, stage) in row.iter().zip(before.iter()) {
                    let factor = E::of(step.length * weight);
                    let velocity = &stage.velocity[feature * stride..feature * stride + LANES];
                    add_scaled(lanes, factor, velocity);
                }
            }
            let Stage { state, velocity, workspace } = stage;
            let at = self.at(i, step, state, tangents);
            self.kernel.forward(at, parameters, workspace, velocity);
        }
    }

    /// From the gradient of the state after a step to that of the state before it.
    fn pull_step<E: Real>(
        &self,
        step: &Step<'_, E>,
        parameters: &[&[E]],
        stages: &mut [Stage<E, K::Workspace>],
        gradients: StepGradients<'_, '_, E>,
    ) where
        K: FieldKernel<E>,
    {
        let dim = self.kernel.dim();
        let tangents = self.divergence.tangents(dim);
        let stride = (1 + tangents) * LANES;
        let StepGradients { state: outer, log_det, context, parameters: sums } = gradients;
        let after = outer.to_vec();
        // dY_m of the stages behind the current one.
        let mut pulled: Vec<Vec<E>> = vec![Vec::new(); stages.len()];
        let mut d_trace = vec![E::zero(); LANES];
        for (i, stage) in stages.iter_mut().enumerate().rev() {
            let mut d_velocity = vec![E::zero(); dim * stride];
            let b = E::of(step.length * self.tableau.b[i]);
            for (feature, target) in d_velocity.chunks_exact_mut(stride).enumerate() {
                let lanes = feature * LANES..(feature + 1) * LANES;
                add_scaled(&mut target[..LANES], b, &after[lanes]);
                for (later, row) in self.tableau.a.iter().enumerate().skip(i + 1) {
                    let factor = E::of(step.length * row[i]);
                    let source = &pulled[later][feature * stride..feature * stride + LANES];
                    add_scaled(&mut target[..LANES], factor, source);
                }
            }
            for (target, &log_det) in d_trace.iter_mut().zip(log_det) {
                *target = b * log_det;
            }
            self.divergence.pull(dim, &stage.state, &d_trace, &mut d_velocity);
            let mut d_state = vec![E::zero(); dim * stride];
            let at = self.at(i, step, &stage.state, tangents);
            let field = FieldGradients {
                velocity: &mut d_velocity,
                state: &mut d_state,
                context: &mut *context,
                parameters: &mut *sums,
            };
            self.kernel.backward(at, parameters, &mut stage.workspace, field);
            for (feature, row) in d_state.chunks_exact(stride).enumerate() {
                let lanes = feature * LANES..(feature + 1) * LANES;
                add_scaled(&mut outer[lanes], E::one(), &row[..LANES]);
            }
            pulled[i] = d_state;
        }
    }
}

fn add_scaled<E: Real>(sum: &mut [E], factor: E, terms: &[E]) {
    for (sum, &term) in sum.iter_mut().zip(terms) {
        *sum += factor * term;
    }
}
