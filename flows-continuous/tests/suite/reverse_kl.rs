//! Reverse KL through the flow of a vector field: both estimators, by replay and by the adjoint.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{GradientMethod, TimeInput};
use flows_core::tensor::set_values;
use flows_core::{
    Base, Context, Estimator, Flow, Gradients, Parameters, Role, Tape, Target, Values, forward_kl,
    reverse_kl, stream,
};

use super::objective::{exact, fixed, perceptron, replay};

const ROWS: usize = 10;

/// exp(-x^4 / 4 + x . y / 2 - y^2): neither normal nor independent.
#[derive(Debug)]
struct Quartic;

impl Target for Quartic {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient[0] = -x[0].powi(3) + 0.5 * x[1];
        gradient[1] = 0.5 * x[0] - 2.0 * x[1];
        -0.25 * x[0].powi(4) + 0.5 * x[0] * x[1] - x[1] * x[1]
    }
}

/// Forty steps of RK4 over an interval of 0.8.
fn flow(gradient: GradientMethod) -> Flow<f64> {
    let accuracy = exact(fixed(40)[4].0);
    let map = perceptron((2, 0), TimeInput::ConcatSquash, [0.1, 0.9], accuracy);
    let map = Box::new(map.with_gradient(gradient));
    let mut flow = Flow::new(Base::diagonal_normal(2).unwrap(), map).unwrap();
    let mut rng = stream(1, "perturb");
    let moved = flow.visit_mut(&mut |name, _, tensor| {
        let noise = flows_core::normals::<f64>(2, &mut rng);
        if name.starts_with("base.") { set_values(tensor, &noise) } else { Ok(()) }
    });
    moved.unwrap();
    flow
}

fn learned(flow: &Flow<f64>, gradients: &mut Gradients<f64>) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    flow.visit(&mut |part, role, tensor| {
        if role == Role::Learned {
            all.push((part.to_owned(), gradients.take(tensor).unwrap()));
        }
    });
    all
}

fn estimate(flow: &Flow<f64>, by: Estimator) -> (f64, Vec<(String, Vec<f64>)>) {
    let (none, rng) = (Context::none(), &mut stream(3, "draws"));
    let loss = reverse_kl(flow, &Quartic, ROWS, 1.0, by, (&none, Tape::recording()), rng);
    let mut loss = loss.unwrap();
    (loss.value, learned(flow, &mut loss.gradient))
}

fn nudge(flow: &mut Flow<f64>, part: &str, at: usize, by: f64) {
    let result = flow.visit_mut(&mut |this, _, tensor| {
        if this != part {
            return Ok(());
        }
        let mut values = tensor.values();
        values[at] += by;
        set_values(tensor, &values)
    });
    result.unwrap();
}

/// With the error of each: a replay is the gradient of the discrete map, the adjoint one of order 4
/// of a step of 0.02, 2e-7 times derivatives of order one to ten.
fn methods() -> [(GradientMethod, f64); 2] {
    [(replay(8), 1e-8), (GradientMethod::Adjoint, 1e-5)]
}

#[test]
fn the_reparameterised_gradient_agrees_with_differences() {
    for (method, tolerance) in methods() {
        let mut flow = flow(method);
        for (part, slopes) in estimate(&flow, Estimator::Reparameterised).1 {
            for (i, exact) in slopes.iter().enumerate() {
                let mut at = |by: f64| {
                    nudge(&mut flow, &part, i, by);
                    let value = estimate(&flow, Estimator::Reparameterised).0;
                    nudge(&mut flow, &part, i, -by);
                    value
                };
                // Differences: 1e-10 times third derivatives of order ten, rounding of 1e-10.
                let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
                let error = (exact - numerical).abs();
                let most = tolerance * (1.0 + numerical.abs());
                assert!(error < most, "{method:?} {part} {i}: {exact} {numerical}");
            }
        }
    }
}

#[test]
fn the_path_gradient_is_the_other_one_without_the_score() {
    for (method, tolerance) in methods() {
        let flow = flow(method);
        let (value, whole) = estimate(&flow, Estimator::Reparameterised);
        let (same, path) = estimate(&flow, Estimator::Path);
        assert_eq!(value, same);
        let none = Context::none();
        let (x, _) = flow.sample(ROWS, &none, &mut stream(3, "draws")).unwrap();
        let mut score = forward_kl(&flow, &x, &none, Tape::recording()).unwrap().gradient;
        let score = learned(&flow, &mut score);
        let mut norm = 0.0_f64;
        for ((part, path), ((_, whole), (_, score))) in path.iter().zip(whole.iter().zip(&score)) {
            for ((path, whole), score) in path.iter().zip(whole).zip(score) {
                // The inverse solve returns to the base point only to its truncation error.
                let error = (path - (whole + score)).abs();
                let most = tolerance.max(1e-6) * (1.0 + whole.abs());
                assert!(error < most, "{method:?} {part}: {path} {whole} {score}");
                norm = norm.hypot(*path);
            }
        }
        assert!(norm > 0.1, "{method:?}: no gradient arrived");
    }
}
