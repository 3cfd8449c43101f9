//! A stack of residual layers as one operation, in either direction.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::lanes::{add_product, named};
use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Direction, Error, Real, Result, Scratch, Tally, Work};

use crate::dynamics::divergence::Divergence;
use crate::dynamics::{Buffers, Dynamics, DynamicsGradients, Evaluation, FixedInputs};
use crate::field::FieldKernel;
use crate::residual_steps::elimination::eliminate;
use crate::residual_steps::fixed_point::solve;

/// The layers z' = z + h f(t, z) between the times of a mesh, with the log-det of all, or their
/// inverses, last to first.
///
/// Inputs: start `(dim)`, and the context if there is one. Outputs: the end and, if wanted, the
/// log-det. With M = I + h J at z and gradients g of z, g' of z', a of the log-det of the map,
/// ```text
/// d log |det M| = tr(M^-1 dM),   so that the gradient of J is h M^-T
/// forward:  g = M^T g' + a d log |det M| / dz
///           dtheta = h (df/dtheta)^T g' + a d log |det M| / dtheta
/// inverse:  g' = M^-T (g - a d log |det M| / dz)
///           dtheta = -h (df/dtheta)^T g' - a d log |det M| / dtheta
/// ```
/// the inverse by the implicit function theorem. A layer leaves its z; the backward pass evaluates
/// the field there again, for the inverse twice.
#[derive(Debug)]
pub(crate) struct ResidualOperation<E: Real> {
    pub(crate) kernel: Arc<dyn FieldKernel<E>>,
    pub(crate) mesh: Arc<[f64]>,
    pub(crate) direction: Direction,
    pub(crate) with_log_det: bool,
    /// Whether a backward pass may follow.
    pub(crate) recorded: bool,
    pub(crate) iterations: Tally,
}

/// z of each layer, `(dim, LANES)`, in the order of computation.
#[derive(Debug, Default)]
pub(crate) struct ResidualWorkspace<E>(Vec<E>);

/// Time and step length of a layer.
#[derive(Clone, Copy)]
struct Layer {
    time: f64,
    length: f64,
}

impl<E: Real> ResidualOperation<E> {
    /// The layers in the order of computation.
    fn layers(&self) -> Vec<Layer> {
        let layer = |ends: &[f64]| Layer { time: ends[0], length: ends[1] - ends[0] };
        let forward = self.mesh.windows(2).map(layer);
        match self.direction {
            Direction::Forward => forward.collect(),
            Direction::Inverse => forward.rev().collect(),
        }
    }

    /// Turns the log-det of the layers into that of the map.
    fn finish(&self, value: &[E], log_det: Option<&mut &mut [E]>) -> Result<()> {
        check_finite("value of the residual steps", value)?;
        let Some(log_det) = log_det else { return Ok(()) };
        if self.direction == Direction::Inverse {
            log_det.iter_mut().for_each(|log_det| *log_det = -*log_det);
        }
        check_finite("log-det of the residual steps", log_det)
    }
}

impl<E: Real> Operation<E> for ResidualOperation<E> {
    fn name(&self) -> &'static str {
        "residual steps"
    }

    fn output_widths(&self) -> Vec<usize> {
        if self.with_log_det { vec![self.kernel.dim(), 1] } else { vec![self.kernel.dim()] }
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let (z, log_det) = outputs.split_at_mut(1);
        let z = &mut *z[0];
        let fixed = fixed_inputs(inputs, parameters);
        let mut plain = Pass::new(&self.kernel, None, fixed, z);
        let mut full = log_det.first_mut().map(|log_det| {
            (log_det, Pass::new(&self.kernel, Some(Divergence::Exact), fixed, inputs[0]))
        });
        let mut matrix = Vec::new();
        let mut iterations = 0;
        let ResidualWorkspace(states) = scratch.or_default();
        states.clear();
        z.copy_from_slice(inputs[0]);
        for Layer { time, length } in self.layers() {
            let h = E::of(length);
            if self.direction == Direction::Inverse {
                iterations += solve(z, |z, shift| {
                    let velocity = plain.evaluate(time, z);
                    shift.iter_mut().zip(velocity).for_each(|(shift, &v)| *shift = h * v);
                })?;
            }
            if self.recorded {
                states.extend_from_slice(z);
            }
            let velocity = match &mut full {
                Some((log_det, pass)) => {
                    pass.evaluate(time, z);
                    write_matrix(pass, h, 1, &mut matrix);
                    eliminate(self.kernel.dim(), &mut matrix, log_det);
                    &pass.at.rates
                }
                None => plain.evaluate(time, z),
            };
            if self.direction == Direction::Forward {
                z.iter_mut().zip(velocity).for_each(|(z, &v)| *z += h * v);
            }
        }
        self.iterations.note(Work::iterations(iterations));
        self.finish(z, full.map(|(log_det, _)| log_det))
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let [d_value, d_log_det] = named(output_gradients);
        let (own, others) = input_gradients.split_at_mut(1);
        let (d_state, mut none): (_, &mut [E]) = (&mut *own[0], &mut []);
        let context = others.first_mut().unwrap_or(&mut none);
        d_state.copy_from_slice(d_value);
        let fixed = fixed_inputs(block.inputs, block.parameters);
        let mut backward = Backward {
            plain: Pass::new(&self.kernel, None, fixed, d_state),
            full: Pass::new(&self.kernel, Some(Divergence::Exact), fixed, d_state),
            matrix: Vec::new(),
            scaled: vec![E::zero(); d_state.len()],
            d_log_det,
        };
        let ResidualWorkspace(states) = block.scratch.left();
        // Gradient of the layers' times, which are not learned.
        let mut time = [E::zero(); LANES];
        let states = states.chunks_exact(d_state.len());
        for (layer, z) in self.layers().into_iter().zip(states).rev() {
            let parameters = &mut *parameter_gradients;
            let into = DynamicsGradients { state: d_state, time: &mut time, context, parameters };
            match self.direction {
                Direction::Forward => backward.pull_forward(layer, z, into),
                Direction::Inverse => backward.pull_inverse(layer, z, into),
            }
        }
        Ok(())
    }
}

fn fixed_inputs<'a, E>(inputs: &[&'a [E]], parameters: &'a [&'a [E]]) -> FixedInputs<'a, E> {
    FixedInputs { parameters, context: inputs.get(1).copied().unwrap_or(&[]), probes: &[] }
}

fn check_finite<E: Real>(quantity: &'static str, values: &[E]) -> Result<()> {
    let advice = "take more steps, or check the input and the weights";
    match (0..values.len()).filter(|&i| !values[i].is_finite()).map(|i| i % LANES).min() {
        Some(row) => Err(Error::NonFinite { quantity, row, advice }),
        None => Ok(()),
    }
}

/// A field at its last point of evaluation, with the Jacobian if the divergence is exact.
struct Pass<'a, E: Real> {
    dynamics: Dynamics<E>,
    fixed: FixedInputs<'a, E>,
    at: Evaluation<E>,
    buffers: Buffers<E>,
}

impl<'a, E: Real> Pass<'a, E> {
    fn new(
        kernel: &Arc<dyn FieldKernel<E>>,
        divergence: Option<Divergence>,
        fixed: FixedInputs<'a, E>,
        z: &[E],
    ) -> Self {
        let dynamics = Dynamics::new(kernel, divergence);
        let (at, _) = dynamics.start(0.0, z, fixed);
        Self { dynamics, fixed, at, buffers: Buffers::default() }
    }

    /// Evaluates the field at `z`; returns the velocity and the rows after it.
    fn evaluate(&mut self, time: f64, z: &[E]) -> &[E] {
        self.at.time.fill(E::of(time));
        self.at.move_to(z);
        self.dynamics.evaluate(&mut self.at, self.fixed);
        &self.at.rates
    }

    /// Backward pass from the gradients of the velocity and of the Jacobian; either may be empty.
    fn pull(&mut self, outer: (&[E], &[E]), into: DynamicsGradients<'_, '_, E>) {
        self.dynamics.pull_jacobian(&mut self.at, self.fixed, outer, into, &mut self.buffers);
    }
}

/// Writes M^T = I + h J^T, followed by the identity if there are two `blocks`.
fn write_matrix<E: Real>(pass: &Pass<'_, E>, h: E, blocks: usize, matrix: &mut Vec<E>) {
    matrix.clear();
    for i in 0..pass.dynamics.kernel.dim() {
        let first = matrix.len();
        for entry in pass.at.tangent(i) {
            matrix.extend(entry.iter().map(|&entry| h * entry));
        }
        let width = matrix.len() - first;
        matrix.resize(first + blocks * width, E::zero());
        for block in 0..blocks {
            let diagonal = first + block * width + i * LANES;
            matrix[diagonal..diagonal + LANES].iter_mut().for_each(|entry| *entry += E::one());
        }
    }
}

/// Buffers of the backward pass.
struct Backward<'a, E: Real> {
    plain: Pass<'a, E>,
    full: Pass<'a, E>,
    matrix: Vec<E>,
    /// A gradient times a length, `(dim, LANES)`.
    scaled: Vec<E>,
    d_log_det: &'a [E],
}

impl<E: Real> Backward<'_, E> {
    fn pull_forward(&mut self, layer: Layer, z: &[E], into: DynamicsGradients<'_, '_, E>) {
        let h = E::of(layer.length);
        let mut inverse = self.inverse(layer, z);
        scale(&mut inverse, self.d_log_det, h);
        self.scaled.iter_mut().zip(&*into.state).for_each(|(scaled, &d)| *scaled = h * d);
        self.full.pull((&self.scaled, &inverse), into);
        self.matrix = inverse;
    }

    fn pull_inverse(&mut self, layer: Layer, z: &[E], into: DynamicsGradients<'_, '_, E>) {
        let h = E::of(layer.length);
        let inverse = self.inverse(layer, z);
        let DynamicsGradients { state, time, context, parameters } = into;
        let mut d_jacobian = inverse.clone();
        scale(&mut d_jacobian, self.d_log_det, -h);
        let log_det = DynamicsGradients {
            state: &mut *state,
            time: &mut *time,
            context: &mut *context,
            parameters: &mut *parameters,
        };
        self.full.pull((&[], &d_jacobian), log_det);
        multiply(&inverse, state, &mut self.scaled);
        state.copy_from_slice(&self.scaled);
        self.scaled.iter_mut().for_each(|d| *d = -h * *d);
        self.plain.evaluate(layer.time, z);
        // M^-T already contains the gradient of the state.
        d_jacobian.truncate(state.len());
        let implicit = DynamicsGradients { state: &mut d_jacobian, time, context, parameters };
        self.plain.pull((&self.scaled, &[]), implicit);
        self.matrix = inverse;
    }

    /// Evaluates a layer and returns M^-T, `(dim, dim, LANES)`.
    fn inverse(&mut self, layer: Layer, z: &[E]) -> Vec<E> {
        self.full.evaluate(layer.time, z);
        let mut matrix = std::mem::take(&mut self.matrix);
        write_matrix(&self.full, E::of(layer.length), 2, &mut matrix);
        let mut log_det = [E::zero(); LANES];
        eliminate(z.len() / LANES, &mut matrix, &mut log_det);
        // The second block of each row, moved to the front.
        for row in 0..z.len() / LANES {
            let source = (2 * row + 1) * z.len();
            matrix.copy_within(source..source + z.len(), row * z.len());
        }
        matrix.truncate(z.len() / LANES * z.len());
        matrix
    }
}

/// Multiplies each row by `factors` and `h`.
fn scale<E: Real>(rows: &mut [E], factors: &[E], h: E) {
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(LANES) {
                for (value, &factor) in row.iter_mut().zip(factors) {
                    *value *= h * factor;
                }
            }
        },
    );
}

/// The matrix-vector product of each lane.
fn multiply<E: Real>(matrix: &[E], vector: &[E], product: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            let rows = matrix.chunks_exact(vector.len());
            for (sum, row) in product.chunks_exact_mut(LANES).zip(rows) {
                sum.fill(E::zero());
                for (entries, values) in row.chunks_exact(LANES).zip(vector.chunks_exact(LANES)) {
                    add_product(sum, entries, values);
                }
            }
        },
    );
}
