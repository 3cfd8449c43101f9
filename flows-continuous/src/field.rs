//! Vector fields dz/dt = f(t, z; context) over blocks of rows.

use std::fmt::Debug;

use flows_core::operation::LANES;
use flows_core::{Layouts, Real};

/// A vector field over one block of [`LANES`] rows, with Jacobian-vector products; each row has its
/// own time.
///
/// A row of a state or velocity block is `[value | tangent 1 | .. | tangent P]`, LANES wide each:
/// the velocity's tangents are J times the state's.
pub trait FieldKernel<E: Real>: Layouts {
    /// What an evaluation leaves for its backward pass.
    type Workspace: Default + Send + Debug;

    /// Number of features of the state.
    fn dim(&self) -> usize;

    /// Number of conditioning features.
    fn context_dim(&self) -> usize;

    /// What the field knows of its own trace.
    fn structure(&self) -> Structure {
        Structure::General
    }

    /// Writes the velocity, `(dim, (1 + tangents) LANES)`; where the structure is asked for, there
    /// are no tangents and [`Structure::rows`] rows of its own follow the velocity.
    fn forward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        velocity: &mut [E],
    );

    /// Given the gradient of everything that `forward` wrote (used as scratch space), writes that of
    /// the state and adds to those of the time, the context and the parameters.
    fn backward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        gradients: FieldGradients<'_, '_, E>,
    );
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
}

/// `sum += terms`
pub(crate) fn add<E: Real>(sum: &mut [E], terms: &[E]) {
    for (sum, &term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// `sum += factors * terms`
pub(crate) fn add_product<E: Real>(sum: &mut [E], factors: &[E], terms: &[E]) {
    for ((sum, &factor), &term) in sum.iter_mut().zip(factors).zip(terms) {
        *sum += factor * term;
    }
}
