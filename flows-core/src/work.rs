//! Exact counts of what a computation took; clocks are noisy, counts are not.

use std::ops::{Add, AddAssign};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What one call took, in calls of the expensive parts (a call acts on the whole batch).
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

    /// Passes and evaluations together: the work that dominates in either family.
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

/// The largest of the counts that blocks of rows report: blocks run side by side, and a call takes
/// as long as its slowest one. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    /// Notes the count of one block.
    pub fn note(&self, count: u64) {
        self.0.fetch_max(count, Ordering::Relaxed);
    }

    /// The largest count so far.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
