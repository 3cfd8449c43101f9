//! What is integrated: the velocity, the trace of its Jacobian, and penalties, over one block.
//!
//! Rows of the rates are `[velocity (dim) | trace | penalties]`, LANES wide each; without a trace
//! there is the velocity only.

use std::marker::PhantomData;

use flows_core::Real;
use flows_core::operation::LANES;

use crate::divergence::{Divergence, HutchPlusPlus};
use crate::field::{FieldGradients, FieldKernel, Instant};
use crate::penalty::Penalty;

/// A field with the integrands asked for.
#[derive(Clone, Debug)]
pub(crate) struct Rates<E, K> {
    pub(crate) kernel: K,
    /// None where only the velocity is wanted.
    pub(crate) divergence: Option<Divergence>,
    pub(crate) penalties: Vec<Penalty>,
    pub(crate) precision: PhantomData<E>,
}

/// What one block's rows bring along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a, E> {
    pub(crate) parameters: &'a [&'a [E]],
    /// `(context dim, LANES)`
    pub(crate) context: &'a [E],
    /// `(noise, LANES)`
    pub(crate) probes: &'a [E],
}

/// Buffers of one evaluation, and what its backward pass needs.
#[derive(Debug)]
pub(crate) struct RatesWorkspace<E, W> {
    /// State with directions behind it, `(dim, (1 + P) LANES)`.
    state: Vec<E>,
    velocity: Vec<E>,
    gradients: [Vec<E>; 2],
    field: W,
}

impl<E, W: Default> Default for RatesWorkspace<E, W> {
    fn default() -> Self {
        let gradients = [Vec::new(), Vec::new()];
        Self { state: Vec::new(), velocity: Vec::new(), gradients, field: W::default() }
    }
}

impl<E: Real, W> RatesWorkspace<E, W> {
    /// Takes over the directions of another workspace.
    pub(crate) fn share_directions(&mut self, other: &Self) {
        self.state.clone_from(&other.state);
    }

    /// Takes over one lane of another's directions.
    pub(crate) fn take_lane(&mut self, other: &Self, from: usize, to: usize) {
        self.state.resize(other.state.len(), E::zero());
        crate::lanes::move_lane(&other.state, from, &mut self.state, to);
    }
}

/// Gradients of one evaluation of the rates.
pub(crate) struct RateGradients<'a, 'b, E> {
    /// Of the state; added to.
    pub(crate) state: &'a mut [E],
    /// Of the time of each row; added to.
    pub(crate) time: &'a mut [E],
    /// Of the context; added to.
    pub(crate) context: &'a mut [E],
    /// Of the parameters; added to.
    pub(crate) parameters: &'a mut [&'b mut [E]],
}

impl<E: Real, K: FieldKernel<E>> Rates<E, K> {
    /// Rows of the rates.
    pub(crate) fn width(&self) -> usize {
        self.kernel.dim() + usize::from(self.divergence.is_some()) + self.penalties.len()
    }

    fn tangents(&self) -> usize {
        self.divergence.map_or(0, |d| d.tangents(self.kernel.dim()))
    }

    /// Rows that the field gives of its own.
    fn own_rows(&self) -> usize {
        match self.divergence {
            Some(divergence) if divergence.is_structural() => self.kernel.structure().rows(),
            _ => 0,
        }
    }

    /// Readies a workspace for a solve that starts at `state`, `(dim, LANES)`, and `time`: writes
    /// the directions. Returns the evaluations that this took.
    pub(crate) fn start(
        &self,
        (time, state): (&[E], &[E]),
        given: Given<'_, E>,
        workspace: &mut RatesWorkspace<E, K::Workspace>,
    ) -> u64 {
        let dim = self.kernel.dim();
        let stride = (1 + self.tangents()) * LANES;
        workspace.state.clear();
        workspace.state.resize(dim * stride, E::zero());
        let Some(divergence) = self.divergence else { return 0 };
        let mut evaluations = 0;
        let sketched = |sketch: &[E]| {
            evaluations += 1;
            self.images(sketch, (time, state), given)
        };
        divergence.write_directions(dim, given.probes, &mut workspace.state, sketched);
        evaluations
    }

    /// Images of directions, `(P dim, LANES)`, under the Jacobian at a state.
    fn images(&self, directions: &[E], (time, state): (&[E], &[E]), given: Given<'_, E>) -> Vec<E> {
        let dim = self.kernel.dim();
        let tangents = directions.len() / (dim * LANES);
        let stride = (1 + tangents) * LANES;
        let mut wide = vec![E::zero(); dim * stride];
        for (feature, row) in wide.chunks_exact_mut(stride).enumerate() {
            row[..LANES].copy_from_slice(&state[feature * LANES..(feature + 1) * LANES]);
        }
        // A divergence with as many directions as the sketch writes them as they are.
        let plain = Divergence::HutchPlusPlus(HutchPlusPlus {
            sketch: 0,
            probes: tangents,
            ..HutchPlusPlus::default()
        });
        plain.write_directions(dim, directions, &mut wide, |_| Vec::new());
        let mut velocity = wide.clone();
        let at = Instant { time, tangents, state: &wide, context: given.context, structure: None };
        let mut field = K::Workspace::default();
        self.kernel.forward(at, given.parameters, &mut field, &mut velocity);
        let mut images = vec![E::zero(); directions.len()];
        for (p, image) in images.chunks_exact_mut(dim * LANES).enumerate() {
            for (feature, target) in image.chunks_exact_mut(LANES).enumerate() {
                let source = feature * stride + (1 + p) * LANES;
                target.copy_from_slice(&velocity[source..source + LANES]);
            }
        }
        images
    }

    /// Writes the rates at a state, `(dim, LANES)`.
    pub(crate) fn forward(
        &self,
        time: &[E],
        values: &[E],
        given: Given<'_, E>,
        workspace: &mut RatesWorkspace<E, K::Workspace>,
        rates: &mut [E],
    ) {
        let dim = self.kernel.dim();
        let stride = (1 + self.tangents()) * LANES;
        let RatesWorkspace { state, velocity, field, .. } = workspace;
        for (row, values) in state.chunks_exact_mut(stride).zip(values.chunks_exact(LANES)) {
            row[..LANES].copy_from_slice(values);
        }
        velocity.resize((dim + self.own_rows()) * stride, E::zero());
        let at = self.instant(time, state, given);
        self.kernel.forward(at, given.parameters, field, velocity);
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
                    rows.for_each(|row| crate::field::add_product(rate, row, row));
                }
                Penalty::Frobenius => divergence.frobenius(dim, velocity, rate),
                Penalty::HamiltonJacobi => {
                    let residual = &velocity[(dim + 1) * LANES..(dim + 2) * LANES];
                    rate.iter_mut().zip(residual).for_each(|(rate, r)| *rate = r.abs());
                }
            }
        }
    }

    /// The backward pass of the latest [`forward`](Self::forward) on this workspace: with gradients
    /// G of velocity, a of the trace and b of the penalties, the field's output gets
    /// ```text
    /// velocity G + 2 b f,   tangents w (a u + 2 b J u),   own rows a, b sign(residual)
    /// ```
    pub(crate) fn backward(
        &self,
        time: &[E],
        given: Given<'_, E>,
        workspace: &mut RatesWorkspace<E, K::Workspace>,
        d_rates: &[E],
        gradients: RateGradients<'_, '_, E>,
    ) {
        let dim = self.kernel.dim();
        let stride = (1 + self.tangents()) * LANES;
        let RatesWorkspace { state, velocity, gradients: [d_velocity, d_state], field } = workspace;
        d_velocity.clear();
        d_velocity.resize(velocity.len(), E::zero());
        d_state.resize(state.len(), E::zero());
        let rows = d_velocity.chunks_exact_mut(stride).take(dim);
        for (row, outer) in rows.zip(d_rates.chunks_exact(LANES)) {
            row[..LANES].copy_from_slice(outer);
        }
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
        let field_gradients = FieldGradients {
            velocity: d_velocity,
            time: gradients.time,
            state: d_state,
            context: gradients.context,
            parameters: gradients.parameters,
        };
        let at = self.instant(time, state, given);
        self.kernel.backward(at, given.parameters, field, field_gradients);
        let rows = d_state.chunks_exact(stride).zip(gradients.state.chunks_exact_mut(LANES));
        rows.for_each(|(row, target)| crate::field::add(target, &row[..LANES]));
    }

    fn instant<'a>(&self, time: &'a [E], state: &'a [E], given: Given<'a, E>) -> Instant<'a, E> {
        let asked = self.divergence.is_some_and(Divergence::is_structural);
        let structure = asked.then_some(given.probes);
        Instant { time, tangents: self.tangents(), state, context: given.context, structure }
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
