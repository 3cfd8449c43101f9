//! Bijectors: the interface that finite and continuous flows share.

use std::sync::Arc;

use crate::parameters::Parameters;
use crate::pass::{Direction, Pass};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, PerRow};
use crate::{Context, Real, Result, Space, Stream, Work};

/// The image of a batch under a bijector, with its log-determinants.
#[derive(Debug)]
pub struct Mapped<E: Real> {
    /// `(rows, dim)`
    pub value: Batch<E>,
    /// `log |det d value / d input|` in nats, `(rows,)`
    pub log_det: PerRow<E>,
    /// Regularisation that the bijector adds to the training loss, nats a row; `None` outside
    /// training.
    pub penalty: Option<PerRow<E>>,
    /// Counted work.
    pub work: Work,
}

impl<E: Real> Mapped<E> {
    /// Without a penalty.
    pub fn new(value: Batch<E>, log_det: PerRow<E>, work: Work) -> Self {
        Self { value, log_det, penalty: None, work }
    }
}

/// Cost class of a direction, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// One pass.
    ClosedForm,
    /// As many passes, one after another, as there are features.
    Sequential,
    /// An ODE solve, accurate to its tolerance.
    Integrated,
    /// A fixed point or a root search, accurate to its tolerance.
    Iterative,
    /// Not available.
    Unavailable,
}

/// The cost classes of both directions, by which a flow is oriented for its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Base to data, for sampling.
    pub forward: Cost,
    /// Data to base, for densities.
    pub inverse: Cost,
}

impl Costs {
    /// One pass in either direction.
    pub const CLOSED_FORM: Self = Self { forward: Cost::ClosedForm, inverse: Cost::ClosedForm };

    /// The costs with the directions exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self { forward: self.inverse, inverse: self.forward }
    }

    /// The costs of a composition: the larger of both in each direction.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        Self { forward: self.forward.max(other.forward), inverse: self.inverse.max(other.inverse) }
    }
}

/// Whether log-determinants are exact or stochastic estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exactness {
    /// Exact but for rounding and the tolerance of a solver.
    Exact,
    /// A stochastic estimate from probes that stay fixed until they are redrawn; unbiased, unless
    /// the bijector says that it truncates a series.
    Estimated,
}

/// What a computation is for: bijectors can trade accuracy for time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Gradients: estimates and looser tolerances, as configured.
    Training,
    /// Reported numbers: exact log-determinants and the tighter tolerance, as configured.
    Reporting,
}

/// A differentiable bijection of R^d with a tractable Jacobian determinant.
///
/// `forward` maps base to data (z to x, the sampling direction); `inverse` maps data to base (x to
/// z, the density direction). [`Inverse`](crate::Inverse) exchanges them. `log_det` belongs to the
/// map just applied, so at matching points the two log-dets are negatives of each other. Both
/// directions are deterministic and, unless [`depends_on_batch`](Self::depends_on_batch) says
/// otherwise, act row by row.
///
/// Operations are recorded on the tape, if it records. A layer that is a formula on rows is a
/// [`Map`](crate::Map), from which [`Layer`](crate::Layer) makes a bijector; a composite implements
/// [`parts`](Self::parts), and the provided methods recurse.
pub trait Bijector<E: Real>: Parameters<E> {
    /// Number of features d.
    fn dim(&self) -> usize;

    /// Number of conditioning features; with 0, any context is refused.
    fn context_dim(&self) -> usize {
        self.parts().iter().map(|part| part.context_dim()).max().unwrap_or(0)
    }

    /// Cost class of each direction.
    fn costs(&self) -> Costs {
        self.parts().iter().fold(Costs::CLOSED_FORM, |worst, part| worst.worst(part.costs()))
    }

    /// Base to data.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension) unless `z` has [`dim`](Self::dim) columns and
    /// the context [`context_dim`](Self::context_dim); numerical failures.
    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>>;

    /// Data to base.
    ///
    /// # Errors
    /// As [`forward`](Self::forward);
    /// [`Error::NotInvertible`](crate::Error::NotInvertible) if the cost is [`Cost::Unavailable`].
    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>>;

    /// Spaces of the features of images, if points in base space lie in `from`; by default the real
    /// line.
    ///
    /// # Errors
    /// [`Error::Space`](crate::Error::Space) where points may lie outside of the space on which the
    /// bijector is injective.
    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        Ok(vec![Space::Line; from.len()])
    }

    /// The parts of a composite bijector.
    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        Vec::new()
    }

    /// As [`parts`](Self::parts), mutably.
    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        Vec::new()
    }

    /// One direction as a pass over blocks of a batch of `rows` rows; `None` if the bijector does
    /// not compute block by block. Chains fuse neighbouring passes.
    ///
    /// # Errors
    /// Parameters for which the map is not defined.
    fn pass(&self, _direction: Direction, _rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        Ok(None)
    }

    /// Base to data without the log-det, where leaving it out saves work.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let mapped = self.forward(z, context, &mut Tape::none())?;
        Ok((mapped.value, mapped.work))
    }

    /// The stages of a batch on its way from base to data: the batch, the points between the parts
    /// of the map or at equal distances of time, and the image.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn stages(&self, z: &Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        Ok(vec![z.clone(), self.image(z, context)?.0])
    }

    /// Whether log-dets are exact for the present purpose.
    fn exactness(&self) -> Exactness {
        self.parts().iter().map(|part| part.exactness()).max().unwrap_or(Exactness::Exact)
    }

    /// Whether, for the present purpose, the image of a row depends on the other rows of its batch,
    /// as in training with batch normalisation.
    fn depends_on_batch(&self) -> bool {
        self.parts().iter().any(|part| part.depends_on_batch())
    }

    /// Sets the purpose and with it the configured accuracy.
    ///
    /// # Errors
    /// Numerical failures of what is recomputed for the purpose.
    fn set_purpose(&mut self, purpose: Purpose) -> Result<()> {
        self.parts_mut().into_iter().try_for_each(|part| part.set_purpose(purpose))
    }

    /// Begins a training step: redraws probes and other random numbers, which then stay fixed, and
    /// updates what depends on the parameters.
    ///
    /// # Errors
    /// Numerical failures.
    fn begin_step(&mut self, rng: &mut Stream) -> Result<()> {
        self.parts_mut().into_iter().try_for_each(|part| part.begin_step(rng))
    }

    /// Ends a training step, after the update of the parameters: takes over the batch statistics
    /// that the backward pass left with the gradients.
    ///
    /// # Errors
    /// Numerical failures.
    fn end_step(&mut self, gradients: &mut Gradients<E>) -> Result<()> {
        self.parts_mut().into_iter().try_for_each(|part| part.end_step(gradients))
    }

    /// Whether training solves what is reported with a coarser discretisation, which
    /// [`refine_training`](Self::refine_training) makes finer.
    fn discretises_training(&self) -> bool {
        self.parts().iter().any(|part| part.discretises_training())
    }

    /// Twice the steps, or half the tolerance, of what training solves.
    fn refine_training(&mut self) {
        self.parts_mut().into_iter().for_each(|part| part.refine_training());
    }

    /// Initialises parameters from data (act-norm) and returns the batch in base space, for the
    /// next part of a chain.
    ///
    /// # Errors
    /// As [`inverse`](Self::inverse).
    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        Ok(self.inverse(x, context, &mut Tape::none())?.value)
    }

    /// The vector field that the bijector integrates, if it is the flow of one.
    fn as_field(&self) -> Option<&dyn FieldFlow<E>> {
        None
    }
}

/// The flow of a vector field, which flow matching trains without solving the ODE.
pub trait FieldFlow<E: Real> {
    /// The velocity at `points`, `(rows, dim)`, each at its own fraction of the way from base to
    /// data, per unit of that fraction.
    ///
    /// # Errors
    /// As [`Bijector::forward`].
    fn velocity(
        &self,
        points: &Batch<E>,
        fractions: &[E],
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Batch<E>>;

    /// The end point of the field's flow for data `x`: `x` mapped back through the bijectors after
    /// it.
    ///
    /// # Errors
    /// As [`Bijector::inverse`].
    fn to_field(&self, x: &Batch<E>, _context: &Context<E>) -> Result<Batch<E>> {
        Ok(x.clone())
    }
}
