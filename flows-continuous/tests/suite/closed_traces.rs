//! Traces in closed form: planar, equivariant and potential fields; and which field gives what.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, BottleneckField, Continuous, Direction, Divergence, EquivariantField, Field,
    Hutchinson, MlpField, PlanarField, PotentialField, Probe, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::testing::{Tolerance, assert_error, check_bijector, distance, normal_point};
use flows_core::{Error, Result, Tape, Values};

use super::objective::{Asked, equal, tolerance};
use super::trace_estimates::{flow, hutch_plus_plus, hutchinson, moved};

fn closed_is_exact(field: &Field<f64>) {
    let kernel = field.kernel();
    let (dim, context) = (kernel.dim(), kernel.context_dim());
    for direction in [Direction::Forward, Direction::Inverse] {
        let asked = Asked::new(direction, 200, dim, context);
        for solver in [Solver::Rk4(equal(10)), Solver::RowWise(tolerance(1e-13))] {
            let map = |divergence| {
                let out = asked.map(&flow(field, solver, divergence), &mut Tape::none());
                (out.value.values(), out.log_det.values())
            };
            let (closed, exact) = (map(Divergence::Closed), map(Divergence::Exact));
            for (a, b) in [(closed.0, exact.0), (closed.1, exact.1)] {
                let worst = distance(&a, &b);
                assert!(worst < 1e-10, "{kernel:?} {direction:?} {solver:?}: {worst:e}");
            }
        }
    }
}

#[test]
fn closed_traces_of_planar_and_equivariant_fields_are_the_exact_ones() {
    for (dim, context) in [(1, 0), (1, 1), (3, 2), (6, 0)] {
        closed_is_exact(&moved(PlanarField::new(dim, context, 4).unwrap()));
    }
    for (particles, space) in [(1, 1), (1, 3), (2, 1), (3, 2), (4, 3)] {
        closed_is_exact(&moved(EquivariantField::new(particles, space, 3).unwrap()));
    }
}

fn check_closed(field: &Field<f64>) {
    for solver in [Solver::Dopri5(tolerance(1e-9)), Solver::RowWise(tolerance(1e-9))] {
        let mut flow = flow(field, solver, Divergence::Closed);
        check_bijector(&mut flow, normal_point(1.0), Tolerance::integrated(1e-9));
    }
}

#[test]
fn flows_of_fields_with_closed_traces_are_bijective() {
    for (dim, context) in [(1, 0), (1, 1), (3, 2)] {
        check_closed(&moved(PotentialField::new(dim, context, 4, 2).unwrap()));
        check_closed(&moved(PlanarField::new(dim, context, 4).unwrap()));
    }
    for (particles, space) in [(1, 1), (2, 1), (2, 2)] {
        check_closed(&moved(EquivariantField::new(particles, space, 3).unwrap()));
    }
}

#[test]
fn bottleneck_fields_are_bijective_with_the_exact_trace() {
    for (dim, context) in [(1, 0), (3, 2)] {
        let kernel = BottleneckField::new(dim, context, &[4], 2, Activation::Tanh).unwrap();
        let solver = Solver::RowWise(tolerance(1e-9));
        let mut flow = flow(&moved(kernel), solver, Divergence::Exact);
        check_bijector(&mut flow, normal_point(1.0), Tolerance::integrated(1e-9));
    }
}

#[test]
fn divergences_that_a_field_cannot_give_are_refused() {
    fn made(field: &Field<f64>, divergence: Divergence) -> Result<Continuous<f64>> {
        let accuracy = Accuracy { solver: Solver::RowWise(tolerance(1e-5)), divergence };
        Continuous::new(field.clone(), [0.0, 1.0], accuracy, accuracy)
    }
    let mlp = moved(MlpField::new(3, 0, &[4], Activation::Tanh, TimeInput::Concat).unwrap());
    let planar = moved(PlanarField::new(3, 0, 4).unwrap());
    let potential = moved(PotentialField::new(3, 0, 4, 2).unwrap());
    let bottleneck = moved(BottleneckField::new(3, 0, &[4], 2, Activation::Tanh).unwrap());
    let narrow = |probes, distribution| Divergence::Bottleneck(Hutchinson { probes, distribution });
    for field in [&mlp, &bottleneck] {
        let named = ["the divergence `closed`", "`exact`"];
        let result = made(field, Divergence::Closed);
        assert_error!(result, Error::Unavailable { .. }, [named[0], named[1]]);
    }
    for field in [&mlp, &planar] {
        let named = ["the divergence `bottleneck`", "`hutchinson`"];
        let result = made(field, narrow(1, Probe::Rademacher));
        assert_error!(result, Error::Unavailable { .. }, [named[0], named[1]]);
    }
    // A potential takes no tangents.
    for divergence in [
        Divergence::Exact,
        hutchinson(1, Probe::Rademacher),
        hutch_plus_plus(1, 1, Probe::Rademacher),
        narrow(1, Probe::Rademacher),
    ] {
        let result = made(&potential, divergence);
        assert_error!(
            result,
            Error::Unavailable { .. },
            ["tangents of a potential field", "`closed`"],
            "{divergence:?}"
        );
    }
    for (field, divergence, [name, got]) in [
        (&mlp, hutchinson(0, Probe::Rademacher), ["probes", "got 0"]),
        (&mlp, hutch_plus_plus(0, 1, Probe::Rademacher), ["sketch", "got 0"]),
        (&mlp, hutch_plus_plus(1, 0, Probe::Rademacher), ["probes", "got 0"]),
        (&mlp, hutch_plus_plus(4, 1, Probe::Gaussian), ["sketch", "got 4"]),
        (&bottleneck, narrow(0, Probe::Rademacher), ["probes", "got 0"]),
    ] {
        assert_error!(made(field, divergence), Error::Parameter { .. }, [name, got]);
    }
    // No more orthogonal probes are drawn than there is room for.
    assert!(made(&mlp, hutchinson(4, Probe::Orthogonal)).is_ok());
    assert!(made(&bottleneck, narrow(3, Probe::Orthogonal)).is_ok());
    assert!(made(&mlp, hutch_plus_plus(3, 1, Probe::Gaussian)).is_ok());
}
