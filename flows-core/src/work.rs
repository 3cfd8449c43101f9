//! Exact counts of computational work; clocks are noisy, counts are not.

use std::ops::{Add, AddAssign};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Work of one call, in calls of the expensive parts (a call acts on the whole batch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Passes through conditioner networks.
    pub network_passes: u64,
    /// Evaluations of vector fields.
    pub field_evaluations: u64,
    /// Solver steps that were kept.
    pub steps_accepted: u64,
    /// Solver steps that were tried again with a smaller step.
    pub steps_rejected: u64,
    /// Iterations of root finders and fixed points.
    pub iterations: u64,
}

impl Work {
    /// `passes` through a conditioner network.
    #[must_use]
    pub fn passes(passes: u64) -> Self {
        Self { network_passes: passes, ..Self::default() }
    }

    /// `iterations` of a root finder or a fixed point.
    #[must_use]
    pub fn iterations(iterations: u64) -> Self {
        Self { iterations, ..Self::default() }
    }

    /// The larger of each of the counts.
    #[must_use]
    pub fn largest(self, other: Self) -> Self {
        Self {
            network_passes: self.network_passes.max(other.network_passes),
            field_evaluations: self.field_evaluations.max(other.field_evaluations),
            steps_accepted: self.steps_accepted.max(other.steps_accepted),
            steps_rejected: self.steps_rejected.max(other.steps_rejected),
            iterations: self.iterations.max(other.iterations),
        }
    }

    /// Passes and evaluations together, the dominant work in either family.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        self.network_passes + self.field_evaluations
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            network_passes: self.network_passes + other.network_passes,
            field_evaluations: self.field_evaluations + other.field_evaluations,
            steps_accepted: self.steps_accepted + other.steps_accepted,
            steps_rejected: self.steps_rejected + other.steps_rejected,
            iterations: self.iterations + other.iterations,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The largest counts that blocks of rows report: blocks run side by side, and a call takes as long
/// as its slowest one. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Work>>);

impl Tally {
    /// Adds the work of one block.
    pub fn note(&self, work: Work) {
        let mut largest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *largest = largest.largest(work);
    }

    /// The largest counts so far.
    #[must_use]
    pub fn largest(&self) -> Work {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
