//! Vector fields dz/dt = f(t, z; context) over blocks of rows.

pub(crate) mod bottleneck;
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
use flows_core::{Batch, Layouts, Network, Parameters, Real, Result, Scratch, Tensors};

/// A vector field over one block of [`LANES`] rows, with Jacobian-vector products; each row has its
/// own time.
///
/// A row of a state or velocity block is `[value | tangent 1 | .. | tangent P]`, LANES wide each:
/// the velocity's tangents are J times the state's.
pub trait FieldKernel<E: Real>: Layouts {
    /// Number of features of the state.
    fn dim(&self) -> usize;

    /// Number of conditioning features.
    fn context_dim(&self) -> usize {
        0
    }

    /// Values that an evaluation with so many tangents leaves in its scratch. A solve keeps those of
    /// its stages for the backward pass, as far as there is room, and otherwise, or where this is not
    /// known, evaluates them anew.
    fn left(&self, _tangents: usize, _structure: bool) -> Option<usize> {
        None
    }

    /// What the field knows of its own trace.
    fn structure(&self) -> Structure {
        Structure::General
    }

    /// Writes the velocity, `(dim, (1 + tangents) LANES)`; where the structure is asked for, there
    /// are no tangents and [`Structure::rows`] rows of its own follow the velocity. What the backward
    /// pass needs of the evaluation is left in `scratch`.
    fn forward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    );

    /// Given the gradient of everything that `forward` wrote (used as scratch space), writes that of
    /// the state and adds to those of the time, the context and the parameters.
    fn backward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    );
}

/// A vector field with its weights, whatever the type of its kernel.
#[derive(Clone, Debug)]
pub struct Field<E: Real> {
    kernel: Arc<dyn FieldKernel<E>>,
    tensors: Tensors<E>,
    /// Their values, copied when first asked for, until the tensors change.
    values: OnceLock<Arc<Vec<Vec<E>>>>,
}

impl<E: Real> Field<E> {
    /// The formula.
    pub fn kernel(&self) -> &Arc<dyn FieldKernel<E>> {
        &self.kernel
    }

    /// The tensors, in the order in which the kernel takes them.
    pub fn tensors(&self) -> &[Batch<E>] {
        self.tensors.all()
    }

    /// Their values as the kernel takes them.
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

/// What a field can say of the trace of its Jacobian beside Jacobian-vector products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Nothing.
    General,
    /// The exact trace in closed form: one row.
    Closed,
    /// The field is minus the gradient of a potential and gives the exact trace, and the residual
    /// of the Hamilton-Jacobi-Bellman equation: two rows. It takes no tangents.
    Potential,
    /// A narrow layer of this width, through which probes estimate the trace: one row.
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

    /// Whether the exact trace follows from the structure.
    #[must_use]
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Closed | Self::Potential)
    }
}

/// Where a field is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Instant<'a, E> {
    /// Time of each row, `(LANES)`.
    pub time: &'a [E],
    /// Tangents behind each value.
    pub tangents: usize,
    /// `(dim, (1 + tangents) LANES)`
    pub state: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// Set where the field's structure is asked for: probes of a bottleneck, `(width, LANES)` each,
    /// nothing for an exact trace.
    pub structure: Option<&'a [E]>,
}

impl<E> Instant<'_, E> {
    /// Values in a row of state and velocity.
    #[must_use]
    pub fn stride(&self) -> usize {
        (1 + self.tangents) * LANES
    }
}

/// Gradients of one evaluation.
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
    /// Buffers of backward passes, kept from one to the next.
    pub buffers: &'a mut Scratch,
}
