//! A continuous flow that is small enough to be trained in seconds.

use std::num::NonZeroUsize;

use flows_continuous::{
    Accuracy, ContinuousFlow, Divergence, EqualSteps, FieldConfig, PerceptronField, Solver,
};

/// Equal RK4 steps of a training solve, four evaluations each.
pub(crate) const STEPS: usize = 8;

/// A perceptron field with two hidden layers of `width`, exact traces, and `reporting` for numbers
/// that are reported.
pub(crate) fn small_field(width: usize, reporting: Solver) -> ContinuousFlow {
    let equal = EqualSteps { steps: NonZeroUsize::MIN.saturating_add(STEPS - 1) };
    let divergence = Divergence::Exact;
    let hidden = vec![width; 2];
    ContinuousFlow {
        field: FieldConfig::Perceptron(PerceptronField { hidden, ..PerceptronField::default() }),
        training: Accuracy { solver: Solver::Rk4(equal), divergence },
        reporting: Accuracy { solver: reporting, divergence },
        act_norm: false,
        ..ContinuousFlow::default()
    }
}
