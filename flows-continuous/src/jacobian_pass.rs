//! Value and Jacobian of a vector field, reusable across points.

use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Real, Scratch};

use crate::field::{FieldGradients, FieldKernel, Instant};
use crate::rates::Given;

/// The field at the place that was evaluated last, with buffers for both passes.
pub(crate) struct JacobianPass<'a, E: Real> {
    kernel: &'a dyn FieldKernel<E>,
    given: Given<'a, E>,
    tangents: usize,
    time: Vec<E>,
    state: Vec<E>,
    /// What the field wrote; in the backward pass its gradient.
    velocity: Vec<E>,
    d_state: Vec<E>,
    scratch: Scratch,
    buffers: Scratch,
}

/// Gradients of an evaluation; added to.
pub(crate) struct PassGradients<'a, 'b, E> {
    /// `(dim, LANES)`
    pub(crate) state: &'a mut [E],
    pub(crate) context: &'a mut [E],
    pub(crate) parameters: &'a mut [&'b mut [E]],
}

impl<'a, E: Real> JacobianPass<'a, E> {
    pub(crate) fn new(kernel: &'a dyn FieldKernel<E>, given: Given<'a, E>) -> Self {
        Self {
            kernel,
            given,
            tangents: 0,
            time: vec![E::zero(); LANES],
            state: Vec::new(),
            velocity: Vec::new(),
            d_state: Vec::new(),
            scratch: Scratch::new(),
            buffers: Scratch::new(),
        }
    }

    /// Evaluates the field at `z`, `(dim, LANES)`.
    pub(crate) fn evaluate(&mut self, time: f64, z: &[E]) {
        self.run(time, z, 0);
    }

    /// The same, with the derivatives along all axes.
    pub(crate) fn evaluate_jacobian(&mut self, time: f64, z: &[E]) {
        self.run(time, z, self.kernel.dim());
    }

    fn run(&mut self, time: f64, z: &[E], tangents: usize) {
        self.tangents = tangents;
        self.time.fill(E::of(time));
        let stride = (1 + tangents) * LANES;
        let size = self.kernel.dim() * stride;
        self.state.clear();
        self.state.resize(size, E::zero());
        let rows = self.state.chunks_exact_mut(stride).zip(z.chunks_exact(LANES));
        for (axis, (row, z)) in rows.enumerate() {
            let (values, unit) = row.split_at_mut(LANES);
            values.copy_from_slice(z);
            unit.chunks_exact_mut(LANES).skip(axis).take(1).for_each(|one| one.fill(E::one()));
        }
        self.velocity.resize(size, E::zero());
        let at = instant(&self.time, tangents, &self.state, self.given);
        let Self { kernel, given, velocity, scratch, .. } = self;
        kernel.forward(at, given.parameters, scratch, velocity);
    }

    /// Writes `factor f`, `(dim, LANES)`.
    pub(crate) fn scaled_velocity(&self, factor: E, out: &mut [E]) {
        let rows = self.velocity.chunks_exact((1 + self.tangents) * LANES);
        for (out, row) in out.chunks_exact_mut(LANES).zip(rows) {
            out.iter_mut().zip(row).for_each(|(out, &v)| *out = factor * v);
        }
    }

    /// The transposed Jacobian, row by row: its entries, `(LANES)` each.
    pub(crate) fn transposed(&self) -> impl Iterator<Item = impl Iterator<Item = &[E]>> {
        let stride = (1 + self.tangents) * LANES;
        (1..=self.tangents).map(move |axis| {
            self.velocity.chunks_exact(stride).map(move |row| &row[axis * LANES..][..LANES])
        })
    }

    /// From the gradients of the velocity, `(dim, LANES)`, and of the Jacobian, `(dim dim, LANES)`,
    /// either of which may be none, to those of what the latest evaluation took. The evaluation is
    /// spent by that.
    pub(crate) fn pull(
        &mut self,
        (d_velocity, d_jacobian): (&[E], &[E]),
        into: PassGradients<'_, '_, E>,
    ) {
        let stride = (1 + self.tangents) * LANES;
        self.velocity.fill(E::zero());
        let rows = self.velocity.chunks_exact_mut(stride).zip(d_velocity.chunks_exact(LANES));
        rows.for_each(|(row, outer)| row[..LANES].copy_from_slice(outer));
        if !d_jacobian.is_empty() {
            let outer = d_jacobian.chunks_exact(stride - LANES);
            let rows = self.velocity.chunks_exact_mut(stride).zip(outer);
            rows.for_each(|(row, outer)| row[LANES..].copy_from_slice(outer));
        }
        self.d_state.resize(self.state.len(), E::zero());
        let mut d_time = [E::zero(); LANES];
        let at = instant(&self.time, self.tangents, &self.state, self.given);
        let gradients = FieldGradients {
            velocity: &mut self.velocity,
            time: &mut d_time,
            state: &mut self.d_state,
            context: into.context,
            parameters: into.parameters,
            buffers: &mut self.buffers,
        };
        self.kernel.backward(at, self.given.parameters, &mut self.scratch, gradients);
        let rows = into.state.chunks_exact_mut(LANES).zip(self.d_state.chunks_exact(stride));
        rows.for_each(|(sum, row)| add(sum, &row[..LANES]));
    }
}

fn instant<'a, E>(
    time: &'a [E],
    tangents: usize,
    state: &'a [E],
    given: Given<'a, E>,
) -> Instant<'a, E> {
    Instant { time, tangents, state, context: given.context, structure: None }
}
