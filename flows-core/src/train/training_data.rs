//! Training data: rows, an unnormalised density, or a loss that brings its own.

use super::source::Source;
use crate::{Flow, Loss, Real, Result, Stream, Target};

/// A training objective from outside of this crate, with whatever it is evaluated on.
pub trait StepLoss<E: Real>: std::fmt::Debug {
    /// Number of features.
    fn dim(&self) -> usize;

    /// The loss of one step, over `rows` draws or rows, `fraction` of the budget from 0 to 1 being used.
    /// All randomness is from `rng`, a stream of the step, so that a resumed run goes on as if it had
    /// not stopped.
    ///
    /// # Errors
    /// [`Error::Caller`](crate::Error::Caller), [`Error::Parameter`](crate::Error::Parameter) and
    /// [`Error::Unavailable`](crate::Error::Unavailable) end the run; any other is a divergence.
    fn loss(&self, flow: &Flow<E>, rows: usize, fraction: f64, rng: &mut Stream)
    -> Result<Loss<E>>;

    /// The value that flows are compared by in validation, less is better, with the same `rng` every
    /// time; `None`, unless given, if only rows validate.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    fn validation(&self, _flow: &Flow<E>, _rows: usize, _rng: &mut Stream) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// Rows, an unnormalised density or a loss; a reference to rows or to a density converts into it.
#[derive(Clone, Copy)]
pub enum TrainingData<'a, E: Real> {
    /// Minibatches, for every objective but reverse KL.
    Rows(&'a dyn Source<E>),
    /// An unnormalised density, for reverse KL.
    Density(&'a dyn Target),
    /// A loss, which takes the place of the config's objective.
    Loss(&'a dyn StepLoss<E>),
}

impl<E: Real> std::fmt::Debug for TrainingData<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(source) => f.debug_struct("Rows").field("dim", &source.dim()).finish(),
            Self::Density(target) => f.debug_tuple("Density").field(target).finish(),
            Self::Loss(loss) => f.debug_tuple("Loss").field(loss).finish(),
        }
    }
}

impl<E: Real> TrainingData<'_, E> {
    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Rows(source) => source.dim(),
            Self::Density(target) => target.dim(),
            Self::Loss(loss) => loss.dim(),
        }
    }
}

impl<'a, E: Real, S: Source<E>> From<&'a S> for TrainingData<'a, E> {
    fn from(source: &'a S) -> Self {
        Self::Rows(source)
    }
}

impl<'a, E: Real> From<&'a dyn Source<E>> for TrainingData<'a, E> {
    fn from(source: &'a dyn Source<E>) -> Self {
        Self::Rows(source)
    }
}

impl<'a, E: Real> From<&'a dyn Target> for TrainingData<'a, E> {
    fn from(target: &'a dyn Target) -> Self {
        Self::Density(target)
    }
}
