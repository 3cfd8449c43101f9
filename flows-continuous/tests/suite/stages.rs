//! Stages that a solve keeps for its backward pass: they spare evaluations and change no gradient.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, Continuous, Direction, Divergence, FieldGradients, FieldInput, FieldKernel, MlpField,
    Probe, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::testing::perturb;
use flows_core::{Bijector, HasLayout, LastLayer, Layout, Network, Scratch, Tape, stream};

use super::elementwise_field::Calls;
use super::objective::{Asked, Gradients, assert_near, equal, tolerance};
use super::trace_estimates::hutchinson;

/// A perceptron field that counts its evaluations.
#[derive(Clone, Debug)]
struct Counted {
    field: MlpField,
    calls: Calls,
}

impl HasLayout for Counted {
    fn layout(&self) -> Vec<Layout> {
        self.field.layout()
    }
}

impl FieldKernel<f64> for Counted {
    fn dim(&self) -> usize {
        FieldKernel::<f64>::dim(&self.field)
    }

    fn context_dim(&self) -> usize {
        FieldKernel::<f64>::context_dim(&self.field)
    }

    fn left(&self, tangents: usize, structure: bool) -> Option<usize> {
        FieldKernel::<f64>::left(&self.field, tangents, structure)
    }

    fn forward(
        &self,
        at: FieldInput<'_, f64>,
        parameters: &[&[f64]],
        scratch: &mut Scratch,
        velocity: &mut [f64],
    ) {
        self.calls.note();
        self.field.forward(at, parameters, scratch, velocity);
    }

    fn backward(
        &self,
        at: FieldInput<'_, f64>,
        parameters: &[&[f64]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, f64>,
    ) {
        self.field.backward(at, parameters, scratch, gradients);
    }
}

fn flow(solver: Solver, divergence: Divergence) -> (Continuous<f64>, Calls) {
    let (mut rng, calls) = (stream(5, "init"), Calls::default());
    let field = MlpField::new(2, 1, &[4], Activation::Tanh, TimeInput::ConcatSquash).unwrap();
    let kernel = Counted { field, calls: calls.clone() };
    let field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let accuracy = Accuracy { solver, divergence };
    let mut flow = Continuous::new(field, [0.1, 0.9], accuracy, accuracy).unwrap();
    perturb(&mut flow, 0.4, &mut rng).unwrap();
    flow.begin_step(&mut stream(3, "probes")).unwrap();
    (flow, calls)
}

/// Gradients, and the evaluations of a field that they took.
fn gradients(asked: &Asked, (flow, calls): (Continuous<f64>, Calls)) -> (Gradients, usize) {
    let gradients = asked.gradients(&flow);
    (gradients, calls.count())
}

/// The same with so many bytes for stages.
fn within(
    bytes: usize,
    asked: &Asked,
    (flow, calls): (Continuous<f64>, Calls),
) -> (Gradients, usize) {
    gradients(asked, (flow.with_stage_memory(bytes), calls))
}

fn solvers(steps: usize, size: f64) -> [Solver; 3] {
    let settings = tolerance(size);
    [Solver::Rk4(equal(steps)), Solver::Dopri5(settings), Solver::RowWise(settings)]
}

#[test]
fn gradients_with_kept_stages_are_those_with_stages_computed_anew() {
    for solver in solvers(9, 1e-6) {
        for divergence in [Divergence::Exact, hutchinson(1, Probe::Rademacher)] {
            for direction in [Direction::Forward, Direction::Inverse] {
                for rows in [1, 130, 300] {
                    let what = format!("{solver:?} {divergence:?} {direction:?} {rows}");
                    let asked = Asked::new(direction, rows, 2, 1);
                    let (kept, few) = gradients(&asked, flow(solver, divergence));
                    let (anew, many) = within(0, &asked, flow(solver, divergence));
                    // The solvers that choose their steps add up a stage in another order.
                    assert_near(&what, &kept, &anew, 1e-12);
                    let (flow, calls) = flow(solver, divergence);
                    asked.map(&flow, &mut Tape::recording());
                    let forward = calls.count();
                    if let Solver::RowWise(_) = solver {
                        // Which evaluation was the first stage of a step differs from row to row.
                        assert!(forward < few && few < many, "{what}: {forward} {few} {many}");
                    } else {
                        assert!(forward == few && few < many, "{what}: {forward} {few} {many}");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_memory_for_stages() {
    for solver in solvers(40, 1e-9) {
        for rows in [1, 130] {
            let asked = Asked::new(Direction::Forward, rows, 2, 1);
            let new = || flow(solver, Divergence::Exact);
            let (expected, most) = within(0, &asked, new());
            let (_, least) = gradients(&asked, new());
            let mut seen = Vec::new();
            // From less than one stage of 47 kB to a few steps of four or six.
            for bytes in [1, 4 << 10, 200 << 10, 500 << 10, 1 << 20, 1300 << 10] {
                let (got, taken) = within(bytes, &asked, new());
                let what = format!("{solver:?}, {rows} rows, {bytes} bytes");
                assert_near(&what, &got, &expected, 1e-12);
                assert!((least..=most).contains(&taken), "{what}: {least} {taken} {most}");
                seen.push(taken);
            }
            assert_eq!(seen[..2], [most, most], "{solver:?}: a stage in no room");
            let some = seen.iter().any(|taken| (least + 1..most).contains(taken));
            assert!(some, "{solver:?}: {seen:?} of {least} to {most}");
        }
    }
}
