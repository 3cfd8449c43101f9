//! Importance objectives against differences of exact objectives.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::f64::consts::TAU;

use flows_core::activation::Activation;
use flows_core::tensor::set_values;
use flows_core::testing::{STEP, names, perturb};
use flows_core::train::{AdamConfig, Budget, TrainConfig, Trainer, TrainingData};
use flows_core::{
    Architecture, Base, Chain, Context, Error, Flow, Loss, Parameters, Result, Role, Stream,
    Target, Values, stream,
};
use flows_finite::architecture::{Conditioner, CouplingFlow, Perceptron};
use flows_inference::Weighted;
use flows_inference::objective::{
    ImportanceLoss, ImportanceObjective, alpha_divergence, alpha_divergence_of_weights,
    importance_bound, self_normalised_forward_kl,
};

/// 5 times an equal mixture of two normals with deviation 0.7, at +-0.6 in every feature.
#[derive(Debug)]
struct Pair {
    dim: usize,
}

impl Target for Pair {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (place, variance) = (0.6, 0.49);
        // The sum of both is exp(-(|x|^2 + d place^2) / 2v) 2 cosh(place sum(x) / v).
        let slope = point.iter().sum::<f64>() * place / variance;
        gradient
            .iter_mut()
            .zip(point)
            .for_each(|(g, x)| *g = (place * slope.tanh() - x) / variance);
        let square = point.iter().map(|x| x * x + place * place).sum::<f64>();
        5.0_f64.ln() + slope.cosh().ln()
            - 0.5 * square / variance
            - 0.5 * self.dim as f64 * (TAU * variance).ln()
    }
}

/// A learned normal with smooth couplings, for the quadrature's sake, a little off the identity.
fn flow() -> Flow<f64> {
    let smooth = Perceptron { hidden: vec![4], activation: Activation::Tanh };
    let conditioner = Conditioner::Perceptron(smooth);
    let architecture = CouplingFlow { layers: 2, conditioner, ..CouplingFlow::default() };
    let mut chain = architecture.build(2, 0, &mut stream(1, "init")).unwrap();
    perturb(&mut chain, 0.1, &mut stream(1, "perturb")).unwrap();
    Flow::new(Base::diagonal_normal(2).unwrap(), Box::new(chain)).unwrap()
}

fn gradient(flow: &Flow<f64>, mut loss: Loss<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    flow.visit(&mut |_, role, tensor| {
        if role == Role::Learned {
            all.extend_from_slice(loss.gradient.of(tensor).unwrap());
        }
    });
    all
}

/// Central differences of a function of the flow by all learned parameters.
fn differences(flow: &mut Flow<f64>, function: &dyn Fn(&Flow<f64>) -> f64) -> Vec<f64> {
    let mut sizes = Vec::new();
    flow.visit(&mut |_, role, tensor| {
        sizes.push(if role == Role::Learned { tensor.values().len() } else { 0 });
    });
    let mut result = Vec::new();
    for (which, size) in sizes.into_iter().enumerate() {
        for entry in 0..size {
            let mut ends = [0.0; 2];
            for (end, step) in ends.iter_mut().zip([STEP, -STEP]) {
                shift(flow, which, entry, step);
                *end = function(flow);
                shift(flow, which, entry, -step);
            }
            result.push((ends[0] - ends[1]) / (2.0 * STEP));
        }
    }
    result
}

fn shift(flow: &mut Flow<f64>, which: usize, entry: usize, step: f64) {
    let mut number = 0;
    flow.visit_mut(&mut |_, _, tensor| {
        if number == which {
            let mut values = tensor.values();
            values[entry] += step;
            set_values(tensor, &values)?;
        }
        number += 1;
        Ok(())
    })
    .unwrap();
}

/// Mean gradient and value of minibatches, compared with exact ones by four standard errors.
fn check(
    what: &str,
    flow: &Flow<f64>,
    exact: (f64, &[f64]),
    loss: &dyn Fn(&mut Stream) -> Result<Loss<f64>>,
) {
    const BATCHES: usize = 40;
    let mut rng = stream(2, what);
    let mut rows = Vec::new();
    for _ in 0..BATCHES {
        let loss = loss(&mut rng).unwrap();
        let value = loss.value;
        let mut row = gradient(flow, loss);
        row.push(value);
        rows.push(row);
    }
    let expected = exact.1.iter().copied().chain([exact.0]);
    for (entry, expected) in expected.enumerate() {
        let n = BATCHES as f64;
        let mean = rows.iter().map(|row| row[entry]).sum::<f64>() / n;
        let squares = rows.iter().map(|row| (row[entry] - mean).powi(2)).sum::<f64>();
        let error = (squares / (n - 1.0) / n).sqrt();
        // Differences have an error of 1e-9 or so; entries that no draw changes are zero.
        let tolerance = 4.0 * error + 1e-8;
        assert!(
            (mean - expected).abs() < tolerance,
            "{what}, entry {entry} of {}: {mean} +- {error}, not {expected}",
            exact.1.len()
        );
    }
    assert!(exact.1.iter().any(|slope| slope.abs() > 0.05), "{what} has no slope to test");
}

/// The divergence of order alpha by the trapezoidal rule, whose error is below rounding for densities
/// that are smooth and small at the ends.
fn exact_divergence(flow: &Flow<f64>, alpha: f64) -> f64 {
    let (side, step) = (90, 0.15);
    let place = |i: usize| (i as f64 - 0.5 * side as f64) * step;
    let points: Vec<f64> =
        (0..=side).flat_map(|i| (0..=side).flat_map(move |j| [place(i), place(j)])).collect();
    let log_p = Pair { dim: 2 }.log_densities(&points).unwrap();
    let (log_q, _) = flow.evaluate(&points, &Context::none()).unwrap();
    let z = 5.0_f64.ln();
    let integral = |f: &dyn Fn(f64, f64) -> f64| {
        log_p.iter().zip(&log_q).map(|(p, q)| f(p - z, *q)).sum::<f64>() * step * step
    };
    if alpha == 1.0 {
        return integral(&|p, q| p.exp() * (p - q));
    }
    integral(&|p, q| (alpha * p + (1.0 - alpha) * q).exp()).ln() / (alpha * (alpha - 1.0))
}

/// The bias of a ratio of means over n rows is of order 1 / n, a tenth of the standard error of 40 batches
/// or less for 4,096 rows.
#[test]
fn divergences_have_the_gradients_of_their_integrals() {
    let mut flow = flow();
    let target = Pair { dim: 2 };
    for alpha in [0.5, 1.0, 1.5, 2.0] {
        let exact = exact_divergence(&flow, alpha);
        let slopes = differences(&mut flow, &|flow| exact_divergence(flow, alpha));
        check(&format!("alpha {alpha}"), &flow, (exact, &slopes), &|rng| {
            alpha_divergence(&flow, &target, 4096, alpha, rng)
        });
        if alpha == 1.0 {
            check("forward KL", &flow, (exact, &slopes), &|rng| {
                self_normalised_forward_kl(&flow, &target, 4096, rng)
            });
        }
    }
}

/// A normal in one dimension, of which two draws are a plane to integrate over.
#[test]
fn the_bound_of_two_draws_has_the_gradient_of_its_integral() {
    let identity = || Box::new(Chain::new(1, vec![]).unwrap());
    let mut flow = Flow::<f64>::new(Base::diagonal_normal(1).unwrap(), identity()).unwrap();
    shift(&mut flow, 0, 0, 0.5);
    shift(&mut flow, 1, 0, 0.2);
    let target = Pair { dim: 1 };
    let exact = |flow: &Flow<f64>| {
        let mut parameters = Vec::new();
        flow.visit(&mut |_, _, tensor| parameters.extend(tensor.values()));
        let (m, scale) = (parameters[0], parameters[1].exp());
        let (side, step) = (160, 0.1);
        let noise: Vec<f64> = (0..=side).map(|i| (i as f64 - 80.0) * step).collect();
        let log_normal = |u: f64| -0.5 * u * u - 0.5 * TAU.ln();
        let log_w = |u: f64| {
            let log_p = target.log_density(&[m + scale * u], &mut [0.0]);
            log_p - log_normal(u) + scale.ln()
        };
        let log_w: Vec<f64> = noise.iter().map(|&u| log_w(u)).collect();
        let mut total = 0.0;
        for (u, a) in noise.iter().zip(&log_w) {
            for (v, b) in noise.iter().zip(&log_w) {
                let bound = a.max(*b) + (0.5 * (1.0 + (-(a - b).abs()).exp())).ln();
                total -= bound * (log_normal(*u) + log_normal(*v)).exp() * step * step;
            }
        }
        total
    };
    let slopes = differences(&mut flow, &exact);
    check("bound", &flow, (exact(&flow), &slopes), &|rng| {
        importance_bound(&flow, &target, (2048, 2), rng)
    });
}

/// N(0, I), times 3.
#[derive(Debug)]
struct Base3;

impl Target for Base3 {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.iter_mut().zip(point).for_each(|(g, x)| *g = -x);
        3.0_f64.ln() - 0.5 * point.iter().map(|x| x * x).sum::<f64>() - TAU.ln()
    }
}

#[test]
fn path_gradients_are_zero_for_every_batch_where_the_flow_is_the_target() {
    let identity = Box::new(Chain::new(2, vec![]).unwrap());
    let flow = Flow::<f64>::new(Base::diagonal_normal(2).unwrap(), identity).unwrap();
    let rng = &mut stream(3, "draws");
    let divergence = alpha_divergence(&flow, &Base3, 10, 2.0, rng).unwrap();
    assert!(divergence.value.abs() < 1e-14);
    assert!(gradient(&flow, divergence).iter().all(|g| g.abs() < 1e-14));
    let bound = importance_bound(&flow, &Base3, (3, 4), rng).unwrap();
    assert!((bound.value + 3.0_f64.ln()).abs() < 1e-14);
    assert!(gradient(&flow, bound).iter().all(|g| g.abs() < 1e-14));
}

#[test]
fn the_trainer_brings_each_objective_to_its_minimum() {
    for objective in [
        ImportanceObjective::ForwardKl,
        ImportanceObjective::AlphaDivergence { alpha: 2.0 },
        ImportanceObjective::ImportanceBound { draws: 8 },
    ] {
        let optimiser = AdamConfig { learning_rate: 0.02, ..AdamConfig::default() };
        let config = TrainConfig {
            optimiser,
            validate_every: 50,
            patience: Some(20),
            ..TrainConfig::default()
        };
        let trainer = Trainer::new(flow(), config, Budget::Steps { steps: 300 }, 1).unwrap();
        let target = Pair { dim: 2 };
        let share = |flow: &Flow<f64>| {
            let draws = Weighted::draw(flow, &target, 10_000, &mut stream(4, "draws")).unwrap();
            draws.log_weights.effective_share()
        };
        let before = share(trainer.flow());
        let loss = ImportanceLoss { objective, target: &target };
        let after = share(&trainer.fit(TrainingData::Loss(&loss)).unwrap());
        // What is lost to the ideal share of 1 falls by half at least.
        assert!(1.0 - after < 0.5 * (1.0 - before), "{objective:?}: {before} to {after}");
    }
}

#[test]
fn orders_join_at_their_limits() {
    let log_weights = [0.3, -1.0, 700.0, 699.5, 698.0];
    for alpha in [0.0, 1.0] {
        let at = alpha_divergence_of_weights(&log_weights, alpha);
        let near = alpha_divergence_of_weights(&log_weights, alpha + 1e-4);
        // The derivative by the order is below the square of the largest log-weight's distance.
        assert!((at - near).abs() < 1e-4 * 702.0 * 702.0, "{alpha}: {at}, near it {near}");
    }
    assert_eq!(alpha_divergence_of_weights(&[2.0, f64::NEG_INFINITY], 0.0), f64::INFINITY);
    let half = alpha_divergence_of_weights(&[2.0, f64::NEG_INFINITY], 1.0);
    assert!((half - 2.0_f64.ln()).abs() < 1e-14);
}

#[test]
fn objectives_out_of_range_are_named() {
    let (flow, rng) = (flow(), &mut stream(5, "draws"));
    let error = alpha_divergence(&flow, &Base3, 10, f64::NAN, rng).unwrap_err();
    names(&error, &["alpha", "finite", "NaN"]);
    let error = importance_bound(&flow, &Base3, (2, 0), rng).unwrap_err();
    names(&error, &["draws of a bound", "at least 1"]);
    let error = self_normalised_forward_kl(&flow, &Base3, 0, rng).unwrap_err();
    names(&error, &["draws of the objective", "at least 1"]);
    let error = self_normalised_forward_kl(&flow, &Pair { dim: 3 }, 5, rng).unwrap_err();
    assert!(matches!(error, Error::Dimension { expected: 2, got: 3, .. }));
}
