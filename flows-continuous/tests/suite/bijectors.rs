//! Continuous flows pass the one check of the workspace.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::num::NonZeroUsize;

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, EqualSteps, Hutchinson, MlpField, Probe, Solver,
    TimeInput,
};
use flows_core::activation::Activation;
use flows_core::testing::{Tolerance, check_bijector, normal_point};
use flows_core::{Bijector, Context, Exactness, LastLayer, Network, Tape, Values, normals, stream};

fn flow(
    (dim, context): (usize, usize),
    activation: Activation,
    time: TimeInput,
    accuracy: Accuracy,
) -> Continuous<f64> {
    let kernel = MlpField::new(dim, context, &[7, 5], activation, time).unwrap();
    let mut rng = stream(5, "init");
    let field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let mut flow = Continuous::new(field, [0.0, 0.8], accuracy, accuracy).unwrap();
    flows_core::testing::perturb(&mut flow, 0.2, &mut rng).unwrap();
    flow
}

fn dopri5(tolerance: f64) -> Solver {
    Solver::Dopri5(Adaptive::new(tolerance, tolerance))
}

#[test]
fn adaptive_flows_are_bijective() {
    let accuracy = Accuracy { solver: dopri5(1e-9), divergence: Divergence::Exact };
    for time in [TimeInput::Concat, TimeInput::ConcatSquash] {
        for activation in [Activation::Tanh, Activation::Softplus, Activation::Silu] {
            for dims in [(1, 0), (2, 0), (3, 2)] {
                let mut flow = flow(dims, activation, time, accuracy);
                check_bijector(&mut flow, normal_point(1.0), Tolerance::integrated(1e-9));
            }
        }
    }
}

#[test]
fn estimated_log_dets_have_exact_gradients_of_their_own() {
    for distribution in [Probe::Rademacher, Probe::Gaussian] {
        let divergence = Divergence::Hutchinson(Hutchinson { probes: 2, distribution });
        let accuracy = Accuracy { solver: dopri5(1e-9), divergence };
        let mut flow = flow((3, 1), Activation::Tanh, TimeInput::ConcatSquash, accuracy);
        assert_eq!(flow.exactness(), Exactness::Estimated);
        check_bijector(&mut flow, normal_point(1.0), Tolerance::integrated(1e-9));
    }
}

#[test]
fn fixed_steps_have_the_gradients_of_the_discrete_map() {
    // Round trip and log-det are off by the truncation error: order 1, 2 and 4 of a step of 0.8/40
    // times derivatives of order one; gradients are those of the discrete solve, to differences.
    let steps = EqualSteps { steps: NonZeroUsize::new(40).unwrap() };
    for (solver, error) in
        [(Solver::Euler(steps), 0.2), (Solver::Midpoint(steps), 4e-3), (Solver::Rk4(steps), 2e-6)]
    {
        let accuracy = Accuracy { solver, divergence: Divergence::Exact };
        let mut flow = flow((2, 0), Activation::Tanh, TimeInput::Concat, accuracy);
        let tolerance = Tolerance { round_trip: error, log_det: error, ..Tolerance::default() };
        check_bijector(&mut flow, normal_point(1.0), tolerance);
    }
}

#[test]
fn hutchinson_is_unbiased_for_the_log_det() {
    let exact = Accuracy { solver: dopri5(1e-8), divergence: Divergence::Exact };
    let hutchinson = Divergence::Hutchinson(Hutchinson::default());
    let estimate = Accuracy { solver: dopri5(1e-8), divergence: hutchinson };
    let build = |accuracy| flow((3, 0), Activation::Tanh, TimeInput::Concat, accuracy);
    let (exact, mut estimate) = (build(exact), build(estimate));
    // The same point in every row, so that rows are draws of one estimator.
    let (rows, point) = (4000, normals::<f64>(3, &mut stream(1, "point")));
    let z = flows_core::tensor::batch(point.repeat(rows), rows, 3).unwrap();
    estimate.begin_step(&mut stream(2, "probes")).unwrap();
    let log_dets = |flow: &dyn Bijector<f64>| {
        flow.forward(&z, &Context::none(), &mut Tape::none()).unwrap().log_det.values()
    };
    let (truth, draws) = (log_dets(&exact)[0], log_dets(&estimate));
    let mean = draws.iter().sum::<f64>() / rows as f64;
    let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / rows as f64;
    let standard_error = (variance / rows as f64).sqrt();
    assert!(standard_error > 0.0);
    assert!((mean - truth).abs() < 4.0 * standard_error, "{mean} {truth} {standard_error}");
}

#[test]
fn values_without_log_det_are_those_with_it() {
    let accuracy = Accuracy { solver: dopri5(1e-9), divergence: Divergence::Exact };
    let flow = flow((3, 0), Activation::Tanh, TimeInput::Concat, accuracy);
    let z = flows_core::tensor::batch(normals(300 * 3, &mut stream(1, "z")), 300, 3).unwrap();
    let none = Context::none();
    let both = flow.forward(&z, &none, &mut Tape::none()).unwrap().value.values();
    let alone = flow.image(&z, &none).unwrap().0.values();
    assert!(both.iter().zip(alone).all(|(a, b)| (a - b).abs() < 1e-8));
}
