//! Training data: rows, or an unnormalised density.

use super::source::Source;
use crate::{Real, Target};

/// Rows or an unnormalised density; a reference to either converts into it.
#[derive(Clone, Copy)]
pub enum TrainingData<'a, E: Real> {
    /// Minibatches, for every objective but reverse KL.
    Rows(&'a dyn Source<E>),
    /// An unnormalised density, for reverse KL.
    Density(&'a dyn Target),
}

impl<E: Real> std::fmt::Debug for TrainingData<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(source) => f.debug_struct("Rows").field("dim", &source.dim()).finish(),
            Self::Density(target) => f.debug_tuple("Density").field(target).finish(),
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
