//! Memory of gradients over the number of steps, counted by the allocator of this test.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]
#![allow(clippy::print_stdout, reason = "measured bytes are shown with --nocapture")]

use std::num::NonZeroUsize;

use flows_continuous::{
    Accuracy, Adaptive, Checkpoints, Continuous, Divergence, EqualSteps, GradientMethod, MlpField,
    Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, LastLayer, Network, Tape, normals, stream};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most bytes in use, above those before, while a gradient is computed, without a stage kept; and the
/// steps it took.
fn bytes(solver: Solver, gradient: GradientMethod, times: [f64; 2]) -> (usize, u64) {
    bytes_with(0, solver, gradient, times)
}

/// The same with so many bytes for stages.
fn bytes_with(
    stages: usize,
    solver: Solver,
    gradient: GradientMethod,
    times: [f64; 2],
) -> (usize, u64) {
    let field = MlpField::new(2, 0, &[8], Activation::Tanh, TimeInput::Concat).unwrap();
    let field = Network::new(field, LastLayer::Random, &mut stream(1, "init")).unwrap();
    let accuracy = Accuracy { solver, divergence: Divergence::Exact };
    let flow = Continuous::<f64>::new(field, times, accuracy, accuracy).unwrap();
    let flow = flow.with_gradient(gradient).with_stage_memory(stages);
    let z = batch(normals(256, &mut stream(2, "z")), 128, 2).unwrap();
    let run = || {
        let mut tape = Tape::recording();
        let out = flow.forward(&z, &Context::none(), &mut tape).unwrap();
        drop(gradient_of_mean(-1.0, &out.log_det, tape).unwrap());
        out.work.steps_accepted
    };
    run();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let steps = run();
    (MEMORY.peak_usage() - before, steps)
}

fn rk4(steps: usize) -> Solver {
    Solver::Rk4(EqualSteps { steps: NonZeroUsize::new(steps).unwrap() })
}

fn replay(checkpoints: usize) -> GradientMethod {
    let checkpoints = NonZeroUsize::new(checkpoints).unwrap();
    GradientMethod::Replay(Checkpoints { checkpoints })
}

/// One test, because the allocator counts for the whole process.
#[test]
fn memory_is_bounded_as_promised() {
    the_adjoint_needs_the_same_memory_for_any_number_of_steps();
    stages_need_the_memory_that_they_are_given();
}

fn the_adjoint_needs_the_same_memory_for_any_number_of_steps() {
    let counts = [10, 100, 1_000, 10_000];
    let times = [0.0, 1.0];
    let adjoint = counts.map(|steps| bytes(rk4(steps), GradientMethod::Adjoint, times).0);
    let kept = counts.map(|steps| bytes(rk4(steps), replay(10_000), times).0);
    let few = counts.map(|steps| bytes(rk4(steps), replay(10), times).0);
    // The time of each step is written down, and states between two checkpoints come and go.
    println!("adjoint {adjoint:?}\nevery state {kept:?}\nten states {few:?}");
    for bytes in adjoint {
        assert!(bytes <= adjoint[0] + adjoint[0] / 20, "{adjoint:?}");
    }
    assert!(kept[3] > 20 * kept[0], "a state a step shows in the count: {kept:?}");
    // 10,000 steps with ten states: a thousand states at a time instead of ten thousand.
    assert!(few[3] < kept[3] / 5, "{few:?} {kept:?}");

    // The adaptive solvers on a longer interval and at a tighter tolerance.
    type Choice = fn(Adaptive) -> Solver;
    for (choice, least) in
        [(Solver::Dopri5 as Choice, 300), (Solver::RowWise, 300), (Solver::Dop853, 50)]
    {
        let at = |tolerance| choice(Adaptive::new(tolerance, tolerance));
        let short = bytes(at(1e-10), GradientMethod::Adjoint, [0.0, 1.0]);
        let long = bytes(at(1e-13), GradientMethod::Adjoint, [0.0, 40.0]);
        println!("{:?}: {short:?} {long:?} (bytes, steps)", at(1e-10));
        assert!(long.1 >= least, "{long:?} steps");
        // The solver's documentation promises at most some 80 copies of the state: state and adjoint
        // of 128 rows of two features, and the 50 weights.
        let copies = 80 * (2 * 2 * 128 + 50) * 8;
        assert!(long.0 < short.0 + copies, "{short:?} {long:?}");
    }
}

fn stages_need_the_memory_that_they_are_given() {
    let tight = Adaptive::new(1e-13, 1e-13);
    let long = [0.0, 40.0];
    for (solver, times) in [
        (rk4(1_000), [0.0, 1.0]),
        (Solver::Dopri5(tight), long),
        (Solver::Dop853(tight), long),
        (Solver::RowWise(tight), long),
    ] {
        let given = 8 << 20;
        let none = bytes(solver, replay(32), times).0;
        let kept = bytes_with(given, solver, replay(32), times).0;
        println!("{solver:?}: {none} without stages, {kept} with {given} for them");
        // A stage of 128 rows is 42 kB here; those of the step that is taken are not among them.
        assert!(kept > none + given / 2, "{solver:?}: no stages were kept: {none} {kept}");
        assert!(kept < none + given + given / 10, "{solver:?}: {none} {kept}");
    }
}
