//! Gradient fields: minus the gradient of a potential.

use flows_core::lanes::{add, named, named_mut};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Real, Result, Scratch};

use crate::field::potential_gradient::{Potential, PotentialGradient};
use crate::field::potential_trace::HessianTrace;
use crate::field::{FieldGradients, FieldInput, FieldKernel, Structure};
use crate::requirement::require_positive;

/// The field of OT-Flow, v = -grad_z Phi(s) with s = (z, t, context) and the potential
/// ```text
/// Phi(s) = w . u1 + |A s|^2 / 2 + b . s
/// u0 = sigma(K0 s + b0),   u1 = u0 + sigma(K1 u0 + b1),   sigma(x) = ln(e^x + e^-x)
/// ```
/// a residual network of two layers with step h = 1 beside a quadratic form of low rank.
///
/// Tensors: `weight0` K0 `(width, dim + 1 + context)`, `bias0` b0 `(1, width)`, `weight1` K1
/// `(width, width)`, `bias1` b1 `(1, width)`, `output` w `(1, width)`, `quadratic` A `(rank, dim +
/// 1 + context)`, `linear` b `(1, dim + 1)`; a term linear in the context would move nothing. A
/// last layer of zeros means w and b: A stays random, because A = 0 would be stationary.
///
/// Extra rows: the exact trace of the Jacobian, and the signed residual of the
/// Hamilton-Jacobi-Bellman equation,
/// ```text
/// -lap_z Phi,   d_t Phi - |grad_z Phi|^2 / 2
/// ```
/// The second is zero for an optimal potential, for either direction of time: its gradient in z is
/// minus the acceleration of a particle, so that paths are straight where it vanishes.
///
/// It takes no tangents. Cost of a row: O(width^2 + width inputs), with the structure
/// O(width^2 dim); the error of the trace is rounding.
///
/// # Reference
/// Onken, Fung, Li, Ruthotto, *OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal
/// Transport*, AAAI 2021, equations 9 to 15. <https://arxiv.org/abs/2006.00104>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PotentialField {
    dim: usize,
    context_dim: usize,
    width: usize,
    rank: usize,
}

/// Scratch of an evaluation.
#[derive(Debug, Default)]
struct PotentialWorkspace<E> {
    gradient: PotentialGradient<E>,
    trace: HessianTrace<E>,
}

impl PotentialField {
    /// A potential of two layers of `width` units and a quadratic form of rank `rank`, in the paper
    /// min(10, dim).
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) if `dim`, `width` or `rank` is 0.
    pub fn new(dim: usize, context_dim: usize, width: usize, rank: usize) -> Result<Self> {
        require_positive(&[("dimension", dim), ("width", width), ("rank", rank)])?;
        Ok(Self { dim, context_dim, width, rank })
    }

    /// Features of s.
    fn inputs(&self) -> usize {
        self.dim + 1 + self.context_dim
    }

    fn potential<T>(
        &self,
        [inner, inner_bias, outer, outer_bias, output, quadratic, linear]: [T; 7],
    ) -> Potential<T> {
        let (dim, inputs) = (self.dim, self.inputs());
        Potential { dim, inputs, inner, inner_bias, outer, outer_bias, output, quadratic, linear }
    }
}

impl HasLayout for PotentialField {
    fn layout(&self) -> Vec<Layout> {
        let (width, inputs) = (self.width, self.inputs());
        let part = |name: &str, rows: usize, columns: usize, fan_in: usize| {
            Layout::uniform(name, rows, columns, fan_in)
                .in_last_layer(matches!(name, "output" | "linear"))
        };
        vec![
            part("weight0", width, inputs, inputs),
            part("bias0", 1, width, inputs),
            part("weight1", width, width, width),
            part("bias1", 1, width, width),
            part("output", 1, width, width),
            part("quadratic", self.rank, inputs, inputs),
            part("linear", 1, self.dim + 1, inputs),
        ]
    }
}

impl<E: Real> FieldKernel<E> for PotentialField {
    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn structure(&self) -> Structure {
        Structure::Potential
    }

    fn left(&self, _: usize, structure: bool) -> Option<usize> {
        let spread = if structure { (2 * self.dim + 1) * self.width } else { 0 };
        let others = 2 * (self.rank + self.inputs() + self.dim + 1);
        Some((10 * self.width + others + spread) * LANES)
    }

    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    ) {
        let potential = self.potential(named(parameters));
        let PotentialWorkspace { gradient, trace } = scratch.or_default::<PotentialWorkspace<E>>();
        gradient.forward(&potential, [at.state, at.time, at.context]);
        let (velocity, rows) = velocity.split_at_mut(self.dim * LANES);
        for (velocity, &slope) in velocity.iter_mut().zip(&gradient.slope) {
            *velocity = -slope;
        }
        if at.structure.is_some() {
            let (row, residual) = rows.split_at_mut(LANES);
            trace.forward(&potential, &gradient.units, row);
            residual.copy_from_slice(&gradient.slope[self.dim * LANES..]);
            for part in velocity.chunks_exact(LANES) {
                for (residual, &v) in residual.iter_mut().zip(part) {
                    *residual -= E::of(0.5) * v * v;
                }
            }
        }
    }

    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let FieldGradients { velocity, time, state, context, parameters: sums, .. } = gradients;
        let mut sums = self.potential(named_mut(sums));
        let potential = self.potential(named(parameters));
        let PotentialWorkspace { gradient, trace } = scratch.left::<PotentialWorkspace<E>>();
        let (velocity, rows) = velocity.split_at(self.dim * LANES);
        gradient.clear_gradients();
        let mut residual = &[E::zero(); LANES][..];
        if at.structure.is_some() {
            let (row, rest) = rows.split_at(LANES);
            residual = rest;
            let (units, d_units) = (&gradient.units, &mut gradient.d_units);
            trace.backward(&potential, units, row, d_units, &mut sums);
        }
        let d_inputs = gradient.backward(&potential, velocity, residual, &mut sums);
        let (d_state, rest) = d_inputs.split_at(self.dim * LANES);
        let (d_time, d_context) = rest.split_at(LANES);
        state.copy_from_slice(d_state);
        add(time, d_time);
        add(context, d_context);
    }
}
