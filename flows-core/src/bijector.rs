//! The interface that finite and continuous flows share.

use std::sync::Arc;

use crate::parameters::Parameters;
use crate::pass::{Direction, Pass};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, PerRow};
use crate::{Context, Real, Result, Stream, Work};

/// The image of a batch.
#[derive(Debug)]
pub struct Mapped<E: Real> {
    /// `(rows, dim)`
    pub value: Batch<E>,
    /// `log |det d value / d input|` in nats, `(rows,)`
    pub log_det: PerRow<E>,
    /// What the bijector adds to the training loss, nats a row; nothing outside training.
    pub penalty: Option<PerRow<E>>,
    /// What the computation took.
    pub work: Work,
}

impl<E: Real> Mapped<E> {
    /// Without a penalty.
    pub fn new(value: Batch<E>, log_det: PerRow<E>, work: Work) -> Self {
        Self { value, log_det, penalty: None, work }
    }
}

/// How a direction is computed, from cheap to unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// One pass.
    ClosedForm,
    /// As many dependent passes as there are features.
    Sequential,
    /// An ODE solve, accurate to its tolerance.
    Integrated,
    /// A fixed point or a root search, accurate to its tolerance.
    Iterative,
    /// There is no way.
    Unavailable,
}

/// The cost class of both directions, so that a flow can be oriented for its use.
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

    /// The same map with its directions exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self { forward: self.inverse, inverse: self.forward }
    }

    /// What doing both of two maps costs.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        Self { forward: self.forward.max(other.forward), inverse: self.inverse.max(other.inverse) }
    }
}

/// Whether log-determinants are exact or estimates, as set at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogDet {
    /// Exact but for rounding and, where there is one, a solver's tolerance.
    Exact,
    /// With noise from probes that stay fixed until they are drawn again; unbiased, unless the
    /// bijector says that it cuts off a series.
    Estimate,
}

/// What a computation is for, for bijectors that can trade accuracy for time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Gradients: estimates and looser tolerances are welcome, as the config says.
    Training,
    /// Numbers that people read: exact log-determinants and the tighter tolerance of the config.
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
/// What happens is recorded on the tape that comes in, if it records. A layer that is a formula on
/// rows is a [`Map`](crate::Map), and [`Layer`](crate::Layer) implements all of this for it; a
/// composite implements [`parts`](Self::parts), and the provided methods recurse.
pub trait Bijector<E: Real>: Parameters<E> {
    /// Number of features d.
    fn dim(&self) -> usize;

    /// Number of conditioning features; 0 if it takes none, and then it refuses them.
    fn context_dim(&self) -> usize {
        self.parts().iter().map(|part| part.context_dim()).max().unwrap_or(0)
    }

    /// How each direction is computed.
    fn costs(&self) -> Costs {
        self.parts().iter().fold(Costs::CLOSED_FORM, |worst, part| worst.worst(part.costs()))
    }

    /// Base to data.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension) unless `z` has [`dim`](Self::dim) columns and
    /// the context [`context_dim`](Self::context_dim); numerical events.
    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>>;

    /// Data to base.
    ///
    /// # Errors
    /// As [`forward`](Self::forward);
    /// [`Error::NotInvertible`](crate::Error::NotInvertible) where the cost is
    /// [`Cost::Unavailable`].
    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>>;

    /// The bijectors that this one is made of.
    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        Vec::new()
    }

    /// As [`parts`](Self::parts), for change.
    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        Vec::new()
    }

    /// One direction over blocks of a batch of so many rows, where the bijector computes block by
    /// block: what chains are fused of.
    ///
    /// # Errors
    /// Parameters that no map belongs to.
    fn pass(&self, _direction: Direction, _rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        Ok(None)
    }

    /// Base to data without the log-det, for bijectors that save work by leaving it out.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let mapped = self.forward(z, context, &mut Tape::none())?;
        Ok((mapped.value, mapped.work))
    }

    /// The path of a batch from base to data: where it starts, what stands between the parts of the
    /// map or at equal distances of time, and its image.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn stages(&self, z: &Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        Ok(vec![z.clone(), self.image(z, context)?.0])
    }

    /// Whether log-dets are exact for the purpose set at present.
    fn exactness(&self) -> LogDet {
        self.parts().iter().map(|part| part.exactness()).max().unwrap_or(LogDet::Exact)
    }

    /// Whether, for the purpose set at present, the image of a row depends on its batch mates, as with
    /// batch normalisation in training.
    fn depends_on_batch(&self) -> bool {
        self.parts().iter().any(|part| part.depends_on_batch())
    }

    /// Chooses between the accuracies that the bijector was configured with.
    ///
    /// # Errors
    /// Numerical events of what is computed anew for the purpose.
    fn set_purpose(&mut self, purpose: Purpose) -> Result<()> {
        self.parts_mut().into_iter().try_for_each(|part| part.set_purpose(purpose))
    }

    /// Begins a training step: draws probes and whatever else is random anew, which then stays
    /// fixed, and brings up to date what follows the parameters.
    ///
    /// # Errors
    /// Numerical events.
    fn begin_step(&mut self, rng: &mut Stream) -> Result<()> {
        self.parts_mut().into_iter().try_for_each(|part| part.begin_step(rng))
    }

    /// Ends a training step, after the update of the parameters: takes over what the step saw of its
    /// batch (running statistics), which its backward pass left with the gradients.
    ///
    /// # Errors
    /// Numerical events.
    fn end_step(&mut self, gradients: &mut Gradients<E>) -> Result<()> {
        self.parts_mut().into_iter().try_for_each(|part| part.end_step(gradients))
    }

    /// Sets parameters that are initialised from data (act-norm) and returns the batch in base
    /// space, so that the next part of a chain can do the same.
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

/// The flow of a vector field, which can be trained without solving it (flow matching).
pub trait FieldFlow<E: Real> {
    /// The velocity at `points`, `(rows, dim)`, a fraction of the way from base to data each, per
    /// unit of that fraction.
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

    /// Data as the vector field sees them at its end: mapped back through what stands between.
    ///
    /// # Errors
    /// As [`Bijector::inverse`].
    fn to_field(&self, x: &Batch<E>, _context: &Context<E>) -> Result<Batch<E>> {
        Ok(x.clone())
    }
}
