//! One scalar of all that a flow gives for a batch, with its gradients by the tape and by
//! differences, for the tests of gradients.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::collections::BTreeMap;

use flows_continuous::{
    Accuracy, Adaptive, Checkpoints, Continuous, Direction, Divergence, EqualSteps, GradientMethod,
    MlpField, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::rowwise::{gradient_of_mean, mean, scaled, sum};
use flows_core::tensor::{batch, columns, set_values};
use flows_core::testing::perturb;
use flows_core::{
    Base, Batch, Bijector, Context, LastLayer, Mapped, Network, PerRow, Real, Result, Role, Tape,
    Values, normals, stream,
};

/// Gradients of `input`, `context` and every learned parameter, by name.
pub(crate) type Gradients = BTreeMap<String, Vec<f64>>;

/// Step of the four-point differences. Their error is h^4 / 30 = 3e-14 fifth derivatives, beside a
/// thousand times the error of the values.
const STEP: f64 = 1e-3;

/// A tape that records or does not.
pub(crate) fn tape<E: Real>(recording: bool) -> Tape<E> {
    if recording { Tape::recording() } else { Tape::none() }
}

/// A flow in a direction.
pub(crate) fn run<E: Real>(
    flow: &dyn Bijector<E>,
    direction: Direction,
    input: &Batch<E>,
    context: &Context<E>,
    tape: &mut Tape<E>,
) -> Result<Mapped<E>> {
    match direction {
        Direction::Forward => flow.forward(input, context, tape),
        Direction::Inverse => flow.inverse(input, context, tape),
    }
}

/// A batch to map in a direction.
pub(crate) struct Asked {
    pub(crate) direction: Direction,
    pub(crate) input: Batch<f64>,
    pub(crate) context: Context<f64>,
}

impl Asked {
    /// Standard normal rows and features.
    pub(crate) fn new(direction: Direction, rows: usize, dim: usize, context: usize) -> Self {
        let mut rng = stream(11, "asked");
        let mut draw = |dim| batch(normals(rows * dim, &mut rng), rows, dim).unwrap();
        let input = draw(dim);
        let context = if context == 0 { Context::none() } else { Context::of(draw(context)) };
        Self { direction, input, context }
    }

    pub(crate) fn map(&self, flow: &dyn Bijector<f64>, tape: &mut Tape<f64>) -> Mapped<f64> {
        run(flow, self.direction, &self.input, &self.context, tape).unwrap()
    }

    /// Standard normal log-density of the value + 0.7 log-det - 1.3 penalty, a row.
    fn rows(&self, flow: &dyn Bijector<f64>, tape: &mut Tape<f64>) -> PerRow<f64> {
        let out = self.map(flow, tape);
        let base = Base::standard_normal(columns(&out.value));
        let log_prob = base.log_prob(&out.value, tape).unwrap();
        let mut terms = vec![log_prob, scaled(out.log_det, 0.7, tape).unwrap()];
        if let Some(penalty) = out.penalty {
            terms.push(scaled(penalty, -1.3, tape).unwrap());
        }
        sum(terms, tape).unwrap()
    }

    /// Minus the mean over rows, of a traced pass: penalties belong to training.
    pub(crate) fn value(&self, flow: &dyn Bijector<f64>) -> f64 {
        -mean(&self.rows(flow, &mut Tape::recording()))
    }

    pub(crate) fn gradients(&self, flow: &dyn Bijector<f64>) -> Gradients {
        self.try_gradients(flow).unwrap()
    }

    /// With the error of the backward pass.
    pub(crate) fn try_gradients(&self, flow: &dyn Bijector<f64>) -> Result<Gradients> {
        let mut tape = Tape::recording();
        let rows = self.rows(flow, &mut tape);
        let mut found = gradient_of_mean(-1.0, &rows, tape)?;
        let mut all = Gradients::new();
        all.insert("input".into(), found.take(&self.input)?);
        if let Some(features) = self.context.features() {
            all.insert("context".into(), found.take(features)?);
        }
        for (name, tensor) in learned(flow) {
            all.insert(name, found.take(&tensor)?);
        }
        Ok(all)
    }

    pub(crate) fn differences(&self, flow: &mut dyn Bijector<f64>) -> Gradients {
        let mut all = Gradients::new();
        let with = |input: &Batch<f64>, context: &Context<f64>| Self {
            direction: self.direction,
            input: input.clone(),
            context: context.clone(),
        };
        let of_input = slopes(&self.input, |moved| with(moved, &self.context).value(flow));
        all.insert("input".into(), of_input);
        if let Some(features) = self.context.features() {
            let moved = |moved: &Batch<f64>| Context::of(moved.clone());
            let of_context = slopes(features, |m| with(&self.input, &moved(m)).value(flow));
            all.insert("context".into(), of_context);
        }
        for (name, tensor) in learned(flow) {
            let slopes = slopes(&tensor, |moved| {
                replace(flow, &name, &moved.values());
                self.value(flow)
            });
            replace(flow, &name, &tensor.values());
            all.insert(name, slopes);
        }
        all
    }
}

fn learned(flow: &dyn Bijector<f64>) -> Vec<(String, Batch<f64>)> {
    let mut all = Vec::new();
    flow.visit(&mut |name, role, tensor| {
        if role == Role::Learned {
            all.push((name.to_owned(), tensor.clone()));
        }
    });
    all
}

/// Overwrites a parameter.
pub(crate) fn replace(flow: &mut dyn Bijector<f64>, name: &str, values: &[f64]) {
    let mut found = false;
    flow.visit_mut(&mut |this, _, tensor| {
        found |= this == name;
        if this == name { set_values(tensor, values) } else { Ok(()) }
    })
    .unwrap();
    assert!(found, "no parameter {name}");
}

fn slopes(tensor: &Batch<f64>, mut function: impl FnMut(&Batch<f64>) -> f64) -> Vec<f64> {
    let mut at = |index: usize, step: f64| {
        let mut moved = tensor.values();
        moved[index] += step * STEP;
        function(&batch(moved, tensor.rows(), columns(tensor)).unwrap())
    };
    (0..tensor.values().len())
        .map(|i| {
            let (near, far) = (at(i, 1.0) - at(i, -1.0), at(i, 2.0) - at(i, -2.0));
            (8.0 * near - far) / (12.0 * STEP)
        })
        .collect()
}

/// Largest difference over 1 + the largest entry of the tensor, over all tensors, with its place.
pub(crate) fn worst(got: &Gradients, expected: &Gradients) -> (f64, String) {
    assert!(got.keys().eq(expected.keys()));
    let mut worst = (0.0, String::new());
    for (name, expected) in expected {
        let got = &got[name];
        assert_eq!(got.len(), expected.len(), "{name}");
        let size = 1.0 + expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        for (index, (g, e)) in got.iter().zip(expected).enumerate() {
            let far = (g - e).abs() / size;
            if far > worst.0 || far.is_nan() {
                worst = (far, format!("{name}[{index}]: {g} {e}"));
            }
        }
    }
    worst
}

#[track_caller]
pub(crate) fn assert_near(what: &str, got: &Gradients, expected: &Gradients, tolerance: f64) {
    let (far, place) = worst(got, expected);
    assert!(far <= tolerance, "{what}: off by {far:e}, allowed {tolerance:e} ({place})");
}

/// With an exact trace.
pub(crate) fn exact(solver: Solver) -> Accuracy {
    Accuracy { solver, divergence: Divergence::Exact }
}

pub(crate) fn equal(steps: usize) -> EqualSteps {
    EqualSteps { steps: steps.try_into().unwrap() }
}

/// Every solver that takes equal steps, with its order.
pub(crate) fn fixed(steps: usize) -> [(Solver, i32); 5] {
    let steps = equal(steps);
    [
        (Solver::Euler(steps), 1),
        (Solver::Midpoint(steps), 2),
        (Solver::Heun(steps), 2),
        (Solver::Ralston(steps), 2),
        (Solver::Rk4(steps), 4),
    ]
}

/// Every solver that chooses its steps.
pub(crate) fn adaptive(settings: Adaptive) -> [Solver; 3] {
    [Solver::Dopri5(settings), Solver::Dop853(settings), Solver::RowWise(settings)]
}

pub(crate) fn tolerance(tolerance: f64) -> Adaptive {
    Adaptive::new(tolerance, tolerance)
}

/// A solve that the tests take for the truth: to some 1e-12.
pub(crate) fn truth() -> Accuracy {
    exact(Solver::Dop853(tolerance(1e-13)))
}

pub(crate) fn replay(checkpoints: usize) -> GradientMethod {
    GradientMethod::Replay(Checkpoints { checkpoints: checkpoints.try_into().unwrap() })
}

/// A perceptron field with the same weights whatever the accuracy.
pub(crate) fn perceptron(
    (dim, context): (usize, usize),
    time: TimeInput,
    times: [f64; 2],
    accuracy: Accuracy,
) -> Continuous<f64> {
    let kernel = MlpField::new(dim, context, &[4], Activation::Tanh, time).unwrap();
    let mut rng = stream(5, "init");
    let field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let mut flow = Continuous::new(field, times, accuracy, accuracy).unwrap();
    perturb(&mut flow, 0.4, &mut rng).unwrap();
    flow
}
