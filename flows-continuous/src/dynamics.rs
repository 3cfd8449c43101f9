//! The augmented dynamics of a continuous flow: the velocity, the trace of its Jacobian, and
//! penalties, over one block.
//!
//! Rows are `[velocity (dim) | trace | penalties]`, LANES wide each; without a trace, the velocity
//! only.

pub(crate) mod divergence;
pub(crate) mod orthogonal;
pub(crate) mod penalty;

use std::sync::Arc;

use flows_core::operation::LANES;
use flows_core::{Real, Scratch};

use crate::dynamics::divergence::{Divergence, Hutchinson, Probe};
use crate::dynamics::penalty::Penalty;
use crate::field::{FieldGradients, FieldInput, FieldKernel};

/// The augmented dynamics of a vector field.
#[derive(Clone, Debug)]
pub(crate) struct Dynamics<E> {
    pub(crate) kernel: Arc<dyn FieldKernel<E>>,
    /// `None` if only the velocity is wanted.
    pub(crate) divergence: Option<Divergence>,
    pub(crate) penalties: Vec<Penalty>,
}

/// Inputs that stay fixed along the solve of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedInputs<'a, E> {
    pub(crate) parameters: &'a [&'a [E]],
    /// `(context dim, LANES)`
    pub(crate) context: &'a [E],
    /// `(noise, LANES)`
    pub(crate) probes: &'a [E],
}

/// An evaluation of the augmented dynamics, with what its backward pass needs.
#[derive(Debug, Default)]
pub(crate) struct Evaluation<E> {
    /// Time of each row, `(LANES)`.
    pub(crate) time: Vec<E>,
    /// `(width, LANES)`
    pub(crate) rates: Vec<E>,
    /// State followed by directions, `(dim, (1 + P) LANES)`.
    state: Vec<E>,
    stride: usize,
    /// Output of the field.
    velocity: Vec<E>,
    field: Scratch,
}

impl<E: Real> Evaluation<E> {
    /// Another evaluation, not yet computed, with the same directions.
    pub(crate) fn another(&self) -> Self {
        let (time, rates) = (self.time.clone(), vec![E::zero(); self.rates.len()]);
        let state = self.state.clone();
        Self { time, rates, state, stride: self.stride, ..Self::default() }
    }

    /// The state, feature by feature.
    pub(crate) fn state(&mut self) -> impl Iterator<Item = &mut [E]> {
        self.state.chunks_exact_mut(self.stride).map(|row| &mut row[..LANES])
    }

    /// One tangent of the velocity, feature by feature.
    pub(crate) fn tangent(&self, direction: usize) -> impl Iterator<Item = &[E]> {
        let first = (1 + direction) * LANES;
        self.velocity.chunks_exact(self.stride).map(move |row| &row[first..first + LANES])
    }

    /// Sets the state to the first `dim` rows of `values`.
    pub(crate) fn move_to(&mut self, values: &[E]) {
        for (row, values) in self.state().zip(values.chunks_exact(LANES)) {
            row.copy_from_slice(values);
        }
    }

    /// Whether the field has been evaluated.
    pub(crate) fn is_evaluated(&self) -> bool {
        !self.velocity.is_empty()
    }

    /// Copies one lane of the directions of another evaluation.
    pub(crate) fn take_lane(&mut self, other: &Self, from: usize, to: usize) {
        crate::lane_sums::move_lane(&other.state, from, &mut self.state, to);
    }
}

/// Buffers of backward passes.
#[derive(Debug, Default)]
pub(crate) struct Buffers<E> {
    velocity: Vec<E>,
    state: Vec<E>,
    field: Scratch,
}

impl<E: Real> Buffers<E> {
    /// The gradient of the field's output: that of the velocity, the rest zero.
    fn start(&mut self, evaluation: &Evaluation<E>, d_values: &[E]) -> &mut [E] {
        self.velocity.clear();
        self.velocity.resize(evaluation.velocity.len(), E::zero());
        let rows = self.velocity.chunks_exact_mut(evaluation.stride);
        for (row, outer) in rows.zip(d_values.chunks_exact(LANES)) {
            row[..LANES].copy_from_slice(outer);
        }
        &mut self.velocity
    }
}

/// Gradients of an evaluation of the augmented dynamics.
pub(crate) struct DynamicsGradients<'a, 'b, E> {
    /// Of the state; added to.
    pub(crate) state: &'a mut [E],
    /// Of the time of each row; added to.
    pub(crate) time: &'a mut [E],
    /// Of the context; added to.
    pub(crate) context: &'a mut [E],
    /// Of the parameters; added to.
    pub(crate) parameters: &'a mut [&'b mut [E]],
}

impl<E: Real> Dynamics<E> {
    /// Without penalties.
    pub(crate) fn new(kernel: &Arc<dyn FieldKernel<E>>, divergence: Option<Divergence>) -> Self {
        Self { kernel: Arc::clone(kernel), divergence, penalties: Vec::new() }
    }

    /// Number of rows.
    pub(crate) fn width(&self) -> usize {
        self.kernel.dim() + usize::from(self.divergence.is_some()) + self.penalties.len()
    }

    fn tangents(&self) -> usize {
        self.divergence.map_or(0, |d| d.tangents(self.kernel.dim()))
    }

    /// Number of rows from the field's structure.
    fn own_rows(&self) -> usize {
        match self.divergence {
            Some(divergence) if divergence.is_structural() => self.kernel.structure().rows(),
            _ => 0,
        }
    }

    /// An evaluation with the directions for a solve from `state`, `(dim, LANES)`, at `time`, and
    /// the number of field evaluations that the directions took.
    pub(crate) fn start(
        &self,
        time: f64,
        state: &[E],
        fixed: FixedInputs<'_, E>,
    ) -> (Evaluation<E>, u64) {
        let dim = self.kernel.dim();
        let stride = (1 + self.tangents()) * LANES;
        let mut evaluation = Evaluation {
            time: vec![E::of(time); LANES],
            rates: vec![E::zero(); self.width() * LANES],
            state: vec![E::zero(); dim * stride],
            stride,
            ..Evaluation::default()
        };
        let mut evaluations = 0;
        if let Some(divergence) = self.divergence {
            let sketched = |sketch: &[E]| {
                evaluations += 1;
                self.images(sketch, time, state, fixed)
            };
            divergence.write_directions(dim, fixed.probes, &mut evaluation.state, sketched);
        }
        evaluation.move_to(state);
        (evaluation, evaluations)
    }

    /// Bytes of an evaluation; `None` if not known.
    pub(crate) fn bytes(&self) -> Option<usize> {
        let tangents = self.tangents();
        let asked = self.divergence.is_some_and(Divergence::is_structural);
        let rows = (2 * self.kernel.dim() + self.own_rows()) * (1 + tangents) + self.width() + 1;
        let left = self.kernel.left(tangents, asked)?;
        Some((rows * LANES + left) * E::BYTES)
    }

    /// Jacobian-vector products of directions, `(P dim, LANES)`, at a time and a state.
    fn images(
        &self,
        directions: &[E],
        time: f64,
        state: &[E],
        fixed: FixedInputs<'_, E>,
    ) -> Vec<E> {
        // Hutchinson's estimator uses its probes as directions.
        let probes = directions.len() / (self.kernel.dim() * LANES);
        let along = Hutchinson { probes, distribution: Probe::Gaussian };
        let dynamics = Self::new(&self.kernel, Some(Divergence::Hutchinson(along)));
        let fixed = FixedInputs { probes: directions, ..fixed };
        let (mut evaluation, _) = dynamics.start(time, state, fixed);
        dynamics.evaluate(&mut evaluation, fixed);
        (0..probes).flat_map(|p| evaluation.tangent(p)).flatten().copied().collect()
    }

    /// Computes the rows at the time and state of an evaluation.
    pub(crate) fn evaluate(&self, evaluation: &mut Evaluation<E>, fixed: FixedInputs<'_, E>) {
        let dim = self.kernel.dim();
        let Evaluation { time, rates, state, stride, velocity, field } = evaluation;
        let stride = *stride;
        velocity.resize((dim + self.own_rows()) * stride, E::zero());
        let at = self.instant(time, state, fixed);
        self.kernel.forward(at, fixed.parameters, field, velocity);
        for (row, rate) in
            velocity.chunks_exact(stride).take(dim).zip(rates.chunks_exact_mut(LANES))
        {
            rate.copy_from_slice(&row[..LANES]);
        }
        let Some(divergence) = self.divergence else { return };
        let (values, others) = rates.split_at_mut(dim * LANES);
        let (trace, penalties) = others.split_at_mut(LANES);
        if divergence.is_structural() {
            trace.copy_from_slice(&velocity[dim * LANES..(dim + 1) * LANES]);
        } else {
            divergence.trace(dim, state, velocity, trace);
        }
        for (penalty, rate) in self.penalties.iter().zip(penalties.chunks_exact_mut(LANES)) {
            rate.fill(E::zero());
            match penalty {
                Penalty::Kinetic => {
                    let rows = values.chunks_exact(LANES);
                    rows.for_each(|row| flows_core::lanes::add_product(rate, row, row));
                }
                Penalty::Frobenius => divergence.frobenius(dim, velocity, rate),
                Penalty::HamiltonJacobi => {
                    let residual = &velocity[(dim + 1) * LANES..(dim + 2) * LANES];
                    rate.iter_mut().zip(residual).for_each(|(rate, r)| *rate = r.abs());
                }
            }
        }
    }

    /// Backward pass of [`evaluate`](Self::evaluate): with gradients G of the velocity, a of the
    /// trace and b of the penalties, the field's output has the gradient
    /// ```text
    /// velocity G + 2 b f,   tangents w (a u + 2 b J u),   own rows a, b sign(residual)
    /// ```
    pub(crate) fn backward(
        &self,
        evaluation: &mut Evaluation<E>,
        fixed: FixedInputs<'_, E>,
        d_rates: &[E],
        gradients: DynamicsGradients<'_, '_, E>,
        buffers: &mut Buffers<E>,
    ) {
        let (dim, stride) = (self.kernel.dim(), evaluation.stride);
        let d_velocity = buffers.start(evaluation, &d_rates[..dim * LANES]);
        let Evaluation { state, velocity, .. } = &*evaluation;
        if let Some(divergence) = self.divergence {
            let (d_trace, d_penalties) = d_rates[dim * LANES..].split_at(LANES);
            if divergence.is_structural() {
                d_velocity[dim * LANES..(dim + 1) * LANES].copy_from_slice(d_trace);
            } else {
                divergence.pull(dim, state, d_trace, d_velocity);
            }
            for (penalty, outer) in self.penalties.iter().zip(d_penalties.chunks_exact(LANES)) {
                match penalty {
                    Penalty::Kinetic => pull_kinetic(dim, stride, velocity, outer, d_velocity),
                    Penalty::Frobenius => {
                        divergence.pull_frobenius(dim, velocity, outer, d_velocity);
                    }
                    Penalty::HamiltonJacobi => {
                        let own = (dim + 1) * LANES..(dim + 2) * LANES;
                        let pairs = d_velocity[own.clone()].iter_mut().zip(&velocity[own]);
                        for ((target, residual), &outer) in pairs.zip(outer) {
                            *target = outer * residual.signum();
                        }
                    }
                }
            }
        }
        self.pull(evaluation, fixed, gradients, buffers);
    }

    /// Backward pass from the gradients of the velocity, `(dim, LANES)`, and of its tangents along
    /// all axes, `(dim dim, LANES)`; either may be empty. It uses up the evaluation.
    pub(crate) fn pull_jacobian(
        &self,
        evaluation: &mut Evaluation<E>,
        fixed: FixedInputs<'_, E>,
        (d_velocity, d_jacobian): (&[E], &[E]),
        gradients: DynamicsGradients<'_, '_, E>,
        buffers: &mut Buffers<E>,
    ) {
        let stride = evaluation.stride;
        let rows = buffers.start(evaluation, d_velocity).chunks_exact_mut(stride);
        if !d_jacobian.is_empty() {
            let outer = d_jacobian.chunks_exact(stride - LANES);
            rows.zip(outer).for_each(|(row, outer)| row[LANES..].copy_from_slice(outer));
        }
        self.pull(evaluation, fixed, gradients, buffers);
    }

    /// Backward pass from the gradient of the field's output, in the buffers.
    fn pull(
        &self,
        evaluation: &mut Evaluation<E>,
        fixed: FixedInputs<'_, E>,
        gradients: DynamicsGradients<'_, '_, E>,
        buffers: &mut Buffers<E>,
    ) {
        let Evaluation { time, state, stride, field, .. } = evaluation;
        let Buffers { velocity, state: d_state, field: field_buffers } = buffers;
        d_state.resize(state.len(), E::zero());
        let field_gradients = FieldGradients {
            velocity,
            time: gradients.time,
            state: d_state,
            context: gradients.context,
            parameters: gradients.parameters,
            buffers: field_buffers,
        };
        let at = self.instant(time, state, fixed);
        self.kernel.backward(at, fixed.parameters, field, field_gradients);
        let rows = d_state.chunks_exact(*stride).zip(gradients.state.chunks_exact_mut(LANES));
        rows.for_each(|(row, target)| flows_core::lanes::add(target, &row[..LANES]));
    }

    fn instant<'a>(
        &self,
        time: &'a [E],
        state: &'a [E],
        fixed: FixedInputs<'a, E>,
    ) -> FieldInput<'a, E> {
        let asked = self.divergence.is_some_and(Divergence::is_structural);
        let structure = asked.then_some(fixed.probes);
        FieldInput { time, tangents: self.tangents(), state, context: fixed.context, structure }
    }
}

fn pull_kinetic<E: Real>(
    dim: usize,
    stride: usize,
    velocity: &[E],
    outer: &[E],
    d_velocity: &mut [E],
) {
    let rows = velocity.chunks_exact(stride).zip(d_velocity.chunks_exact_mut(stride));
    for (row, target) in rows.take(dim) {
        for ((target, &v), &outer) in target[..LANES].iter_mut().zip(row).zip(outer) {
            *target += (v + v) * outer;
        }
    }
}
