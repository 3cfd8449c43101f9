//! Vector fields dz/dt = f(t, z; context), as formulas on blocks of rows.

pub(crate) mod bottleneck;
pub(crate) mod config;
pub(crate) mod conv;
pub(crate) mod dense;
pub(crate) mod equivariant;
pub(crate) mod mlp;
pub(crate) mod planar;
pub(crate) mod potential;
pub(crate) mod potential_gradient;
pub(crate) mod potential_trace;
pub(crate) mod radial_functions;
pub(crate) mod time_gate;
pub(crate) mod time_input;
pub(crate) mod velocity;

use std::sync::{Arc, OnceLock};

use flows_core::operation::LANES;
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::{Batch, HasLayout, Network, Parameters, Real, Result, Scratch, Tensors};

/// A vector field on one block of [`LANES`] rows, with Jacobian-vector products; each row has its
/// own time.
///
/// A row of a state or velocity block is `[value | tangent 1 | .. | tangent P]`, LANES wide each;
/// the tangents of the velocity are J times those of the state.
pub trait FieldKernel<E: Real>: HasLayout {
    /// Number of features of the state.
    fn dim(&self) -> usize;

    /// Number of conditioning features.
    fn context_dim(&self) -> usize {
        0
    }

    /// Number of values that an evaluation with this many tangents leaves in its scratch; `None` if
    /// not known. A solve keeps the scratch of its stages for the backward pass while there is
    /// room, and otherwise evaluates them again.
    fn left(&self, _tangents: usize, _structure: bool) -> Option<usize> {
        None
    }

    /// How the field gives the trace of its Jacobian.
    fn structure(&self) -> Structure {
        Structure::General
    }

    /// Writes the velocity, `(dim, (1 + tangents) LANES)`. If the structure is asked for, there are
    /// no tangents, and [`Structure::rows`] rows follow the velocity. `scratch` keeps what the
    /// backward pass needs.
    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    );

    /// Backward pass: from the gradient of everything that `forward` wrote (used as scratch space),
    /// writes that of the state and adds to those of time, context and parameters.
    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    );
}

/// A vector field with its weights.
#[derive(Clone, Debug)]
pub struct Field<E: Real> {
    kernel: Arc<dyn FieldKernel<E>>,
    tensors: Tensors<E>,
    /// Their values, cached until the tensors change.
    values: OnceLock<Arc<Vec<Vec<E>>>>,
}

impl<E: Real> Field<E> {
    /// The kernel.
    pub fn kernel(&self) -> &Arc<dyn FieldKernel<E>> {
        &self.kernel
    }

    /// The tensors, in the order in which the kernel takes them.
    pub fn tensors(&self) -> &[Batch<E>] {
        self.tensors.all()
    }

    /// The values of the tensors, cached.
    pub fn values(&self) -> Arc<Vec<Vec<E>>> {
        Arc::clone(self.values.get_or_init(|| Arc::new(self.tensors.values())))
    }
}

impl<E: Real, K: FieldKernel<E> + 'static> From<Network<E, K>> for Field<E> {
    fn from(network: Network<E, K>) -> Self {
        let (kernel, tensors) = network.into_parts();
        Self { kernel: Arc::new(kernel), tensors, values: OnceLock::new() }
    }
}

impl<E: Real> Parameters<E> for Field<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.tensors.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.values.take();
        self.tensors.visit_mut(f)
    }
}

/// How a field gives the trace of its Jacobian, besides Jacobian-vector products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// In no other way.
    General,
    /// Exactly, in closed form: one row.
    Closed,
    /// As minus the gradient of a potential: the exact trace and the residual of the
    /// Hamilton-Jacobi-Bellman equation, two rows. It takes no tangents.
    Potential,
    /// By probes of a narrow layer of this width: one row.
    Bottleneck(usize),
}

impl Structure {
    /// Rows that follow the velocity when the structure is asked for.
    #[must_use]
    pub fn rows(self) -> usize {
        match self {
            Self::General => 0,
            Self::Closed | Self::Bottleneck(_) => 1,
            Self::Potential => 2,
        }
    }

    /// Whether the trace is exact.
    #[must_use]
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Closed | Self::Potential)
    }
}

/// Inputs of an evaluation of a vector field.
#[derive(Clone, Copy, Debug)]
pub struct FieldInput<'a, E> {
    /// Time of each row, `(LANES)`.
    pub time: &'a [E],
    /// Number of tangents after each value.
    pub tangents: usize,
    /// `(dim, (1 + tangents) LANES)`
    pub state: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// If the structure is asked for: probes of a bottleneck, `(width, LANES)` each; empty for an
    /// exact trace.
    pub structure: Option<&'a [E]>,
}

impl<E> FieldInput<'_, E> {
    /// Values in a row of state or velocity.
    #[must_use]
    pub fn stride(&self) -> usize {
        (1 + self.tangents) * LANES
    }
}

/// Gradients of an evaluation of a vector field.
#[derive(Debug)]
pub struct FieldGradients<'a, 'b, E> {
    /// Of the velocity and what follows it; used as scratch space.
    pub velocity: &'a mut [E],
    /// Of the time of each row; added to.
    pub time: &'a mut [E],
    /// Of the state; written.
    pub state: &'a mut [E],
    /// Of the context; added to.
    pub context: &'a mut [E],
    /// Of the parameters; added to.
    pub parameters: &'a mut [&'b mut [E]],
    /// Buffers of backward passes, reused.
    pub buffers: &'a mut Scratch,
}
