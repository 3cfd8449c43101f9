//! Residual steps pass the one check of the workspace, and are what they bridge to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::num::NonZeroUsize;

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, EqualSteps, MlpField, PlanarField, ResidualSteps,
    Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::parameters::Parameters;
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{Tolerance, check_bijector, distance_to_scale, normal_point, perturb};
use flows_core::{
    Batch, Bijector, Context, Cost, Direction, Error, HasLayout, LastLayer, Mapped, Network, Real,
    Tape, Values, normals, stream,
};
use nalgebra::{DMatrix, DVector};

use crate::objective::run;

pub(super) const TIMES: [f64; 2] = [0.2, 1.0];

pub(super) fn count(steps: usize) -> NonZeroUsize {
    NonZeroUsize::new(steps).unwrap()
}

pub(super) fn perceptron(dim: usize, context: usize) -> MlpField {
    MlpField::new(dim, context, &[7, 5], Activation::Tanh, TimeInput::ConcatSquash).unwrap()
}

/// A network away from the identity, the same one in either precision but for rounding.
pub(super) fn network<E: Real, K: HasLayout + Clone>(kernel: K) -> Network<E, K> {
    let mut rng = stream(5, "init");
    let mut wide = Network::<f64, K>::new(kernel.clone(), LastLayer::Random, &mut rng).unwrap();
    perturb(&mut wide, 0.8, &mut rng).unwrap();
    let mut values = wide.values().to_vec().into_iter();
    let mut field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let copy = &mut |_: &str, _, tensor: &mut Batch<E>| {
        let values: Vec<E> = values.next().unwrap().into_iter().map(E::of).collect();
        set_values(tensor, &values)
    };
    field.visit_mut(copy).unwrap();
    field
}

pub(super) fn layers<E: Real>(dim: usize, context: usize, steps: usize) -> ResidualSteps<E> {
    ResidualSteps::new(network(perceptron(dim, context)), TIMES, count(steps)).unwrap()
}

/// The ODE with the weights of [`layers`].
pub(super) fn ode(dim: usize, context: usize, solver: Solver) -> Continuous<f64> {
    let accuracy = Accuracy { solver, divergence: Divergence::Exact };
    Continuous::new(network(perceptron(dim, context)), TIMES, accuracy, accuracy).unwrap()
}

/// dz/dt = A z, A row by row.
pub(super) fn linear<E: Real>(matrix: &[f64]) -> Network<E, MlpField> {
    let dim = matrix.len().isqrt();
    let kernel = MlpField::new(dim, 0, &[], Activation::Tanh, TimeInput::None).unwrap();
    let mut field = Network::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap();
    let (matrix, zero): (Vec<E>, _) =
        (matrix.iter().map(|&a| E::of(a)).collect(), vec![E::zero(); dim]);
    let set = &mut |name: &str, _, tensor: &mut Batch<E>| {
        set_values(tensor, if name == "weight0" { &matrix } else { &zero })
    };
    field.visit_mut(set).unwrap();
    field
}

pub(super) fn points<E: Real>(rows: usize, dim: usize, seed: u64) -> Batch<E> {
    batch(normals(rows * dim, &mut stream(seed, "points")), rows, dim).unwrap()
}

pub(super) fn forward<E: Real>(
    flow: &dyn Bijector<E>,
    z: &Batch<E>,
    context: &Context<E>,
) -> Mapped<E> {
    run(flow, Direction::Forward, z, context, &mut Tape::none()).unwrap()
}

pub(super) fn inverse<E: Real>(
    flow: &dyn Bijector<E>,
    x: &Batch<E>,
    context: &Context<E>,
) -> Mapped<E> {
    run(flow, Direction::Inverse, x, context, &mut Tape::none()).unwrap()
}

fn wide<E: Real>(values: &impl Values<E>) -> Vec<f64> {
    values.values().iter().map(|v| v.as_f64()).collect()
}

#[test]
fn residual_steps_are_bijective() {
    // The inverse ends at 8 epsilon, 2e-15, times h L / (1 - h L), below 10 here, in each layer.
    let tolerance = Tolerance { round_trip: 1e-12, ..Tolerance::default() };
    for (dim, context) in [(1, 0), (1, 1), (2, 0), (2, 2), (3, 0), (3, 2)] {
        for steps in [1, 3] {
            let mut steps = layers::<f64>(dim, context, steps);
            check_bijector(&mut steps, normal_point(1.0), tolerance);
        }
    }
    // Another field, and time that runs backwards.
    let field = network(PlanarField::new(3, 1, 4).unwrap());
    let mut planar = ResidualSteps::new(field, [1.0, 0.2], count(2)).unwrap();
    check_bijector(&mut planar, normal_point(1.0), tolerance);
}

#[test]
fn the_log_det_needs_no_contraction() {
    // One step of 3 with the rotation dz/dt = (-b, a): M = [[1, -3], [3, 1]], then with
    // dz/dt = -(a, b) / 3, the singular M = 0.
    let one = |matrix: [f64; 4]| {
        ResidualSteps::new(linear::<f64>(&matrix), [0.0, 3.0], count(1)).unwrap()
    };
    let rotation = one([0.0, -1.0, 1.0, 0.0]);
    let (z, none) = (points(5, 2, 1), Context::none());
    let out = forward(&rotation, &z, &none);
    assert!(out.log_det.values().iter().all(|l| (l - 10_f64.ln()).abs() < 1e-15));
    let third = -1.0 / 3.0;
    let singular = one([third, 0.0, 0.0, third]);
    let error = singular.forward(&z, &none, &mut Tape::none()).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 0, .. }), "{error}");
}

#[test]
fn log_det_and_its_gradient_are_those_of_lu() {
    for dim in 1..6 {
        for zero in [false, true] {
            let mut matrix =
                DMatrix::from_vec(dim, dim, normals(dim * dim, &mut stream(dim as u64, "matrix")));
            if zero && dim > 1 {
                // Without pivoting there would be a division by zero.
                matrix[(0, 0)] = 0.0;
            }
            let unit = DMatrix::identity(dim, dim);
            let a: Vec<f64> = (&matrix - unit).transpose().as_slice().to_vec();
            let steps = ResidualSteps::new(linear::<f64>(&a), [0.0, 1.0], count(1)).unwrap();
            let mut tape = Tape::recording();
            let out = steps.forward(&points(5, dim, 1), &Context::none(), &mut tape).unwrap();
            let inverse = matrix.clone().try_inverse().unwrap();
            // Rounding is multiplied by the condition number, in norms that bound the entries; that of
            // A adds an epsilon to the entries of M.
            let error = 1e-14 * inverse.norm() * matrix.norm();
            let expected = matrix.determinant().abs().ln();
            assert!(out.log_det.values().iter().all(|l| (l - expected).abs() < error), "dim {dim}");
            // d ln |det(I + A)| / dA = (I + A)^-T
            let mut gradients = gradient_of_mean(1.0, &out.log_det, tape).unwrap();
            steps.visit(&mut |name, _, tensor| {
                if name == "field.weight0" {
                    let got = gradients.take(tensor).unwrap();
                    let far = distance_to_scale(&got, inverse.as_slice());
                    assert!(far < error * inverse.norm(), "dim {dim}: {far:e}");
                }
            });
        }
    }
}

#[test]
fn every_row_has_pivots_of_its_own() {
    // M = I + V D W with D the slopes of tanh, which differ from row to row, and weights so large that
    // the largest entry of a column is now in one row of M, now in another.
    let (dim, hidden, rows) = (4, 5, 200);
    let kernel = MlpField::new(dim, 0, &[hidden], Activation::Tanh, TimeInput::None).unwrap();
    let mut field =
        Network::<f64, _>::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap();
    let draw = |count, name| normals::<f64>(count, &mut stream(9, name));
    let (w, v) = (draw(dim * hidden, "w"), draw(dim * hidden, "v"));
    let set = &mut |name: &str, _, tensor: &mut Batch<f64>| match name {
        "weight0" => set_values(tensor, &w),
        "weight1" => set_values(tensor, &v),
        _ => set_values(tensor, &vec![0.0; tensor.values().len()]),
    };
    field.visit_mut(set).unwrap();
    let (w, v) =
        (DMatrix::from_row_slice(hidden, dim, &w), DMatrix::from_row_slice(dim, hidden, &v));
    let steps = ResidualSteps::new(field, [0.0, 1.0], count(1)).unwrap();
    let z = points::<f64>(rows, dim, 1);
    let got = forward(&steps, &z, &Context::none()).log_det.values();
    let mut pivots = std::collections::BTreeSet::new();
    for (z, got) in z.values().chunks(dim).zip(got) {
        let slopes = (&w * DVector::from_row_slice(z)).map(|p| 1.0 - p.tanh().powi(2));
        let matrix = DMatrix::identity(dim, dim) + &v * DMatrix::from_diagonal(&slopes) * &w;
        pivots.insert(matrix.column(0).iamax());
        let inverse = matrix.clone().try_inverse().unwrap();
        let error = 1e-14 * inverse.norm() * matrix.norm();
        let expected = matrix.determinant().abs().ln();
        assert!((got - expected).abs() < error, "{got} {expected} {error:e}");
    }
    assert!(pivots.len() > 1, "{pivots:?}");
}

#[test]
fn a_singular_layer_of_rank_one_is_reported() {
    // M = [[1, 2], [2, 4]]: its second pivot is zero without rounding.
    let field = linear::<f64>(&[0.0, 2.0, 2.0, 3.0]);
    let steps = ResidualSteps::new(field, [0.0, 1.0], count(1)).unwrap();
    let error = steps.forward(&points(5, 2, 1), &Context::none(), &mut Tape::none()).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 0, .. }), "{error}");
}

#[test]
fn values_are_those_of_euler_steps_of_the_ode() {
    for (dim, context) in [(1, 0), (2, 1), (3, 0)] {
        let (z, context) = (points::<f64>(200, dim, 1), points::<f64>(200, context, 2));
        let context =
            if context.values().is_empty() { Context::none() } else { Context::of(context) };
        for steps in [1, 7, 40] {
            let equal = EqualSteps { steps: count(steps) };
            let euler = ode(dim, context.dim(), Solver::Euler(equal));
            // The same weights by way of the other bijector.
            let layers = ResidualSteps::new(euler.field().clone(), TIMES, count(steps)).unwrap();
            let (got, euler) = (forward(&layers, &z, &context), forward(&euler, &z, &context));
            let far = distance_to_scale(&wide(&got.value), &wide(&euler.value));
            assert!(far <= 1e-15 * steps as f64, "{far:e}");
            let (alone, work) = layers.image(&z, &context).unwrap();
            assert_eq!(alone.values(), got.value.values());
            assert_eq!((work, work.field_evaluations), (got.work, steps as u64));
        }
    }
}

/// Slope of the regression of the logarithm of the error on that of the number of steps.
pub(crate) fn slope(errors: &[(usize, f64)]) -> f64 {
    let points: Vec<_> = errors.iter().map(|&(n, e)| ((n as f64).ln(), e.ln())).collect();
    let mean =
        |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

#[test]
fn layers_tend_to_the_ode_like_one_over_their_number() {
    let (z, none) = (points::<f64>(100, 2, 1), Context::none());
    let tight = Solver::Dop853(Adaptive::new(1e-12, 1e-12));
    let exact = forward(&ode(2, 0, tight), &z, &none);
    let mut gaps = [Vec::new(), Vec::new(), Vec::new()];
    for steps in [16, 32, 64, 128] {
        let got = forward(&layers::<f64>(2, 0, steps), &z, &none);
        let euler = ode(2, 0, Solver::Euler(EqualSteps { steps: count(steps) }));
        let trace = wide(&forward(&euler, &z, &none).log_det);
        let (value, log_det) = (wide(&got.value), wide(&got.log_det));
        gaps[0].push((steps, distance_to_scale(&value, &wide(&exact.value))));
        gaps[1].push((steps, distance_to_scale(&log_det, &wide(&exact.log_det))));
        gaps[2].push((steps, distance_to_scale(&log_det, &trace)));
    }
    for gaps in gaps {
        assert!((slope(&gaps) + 1.0).abs() < 0.2, "{gaps:?}");
    }
}

#[test]
fn the_inverse_is_exact_where_reversed_time_is_not() {
    // Euler's steps back in time miss the start by O(h^2) a step; the fixed point does not.
    let (z, none) = (points::<f64>(50, 2, 1), Context::none());
    let steps = layers::<f64>(2, 0, 10);
    let x = forward(&steps, &z, &none).value;
    let out = inverse(&steps, &x, &none);
    let euler = ode(2, 0, Solver::Euler(EqualSteps { steps: count(10) }));
    let reversed = inverse(&euler, &x, &none).value;
    let far = [out.value.clone(), reversed].map(|back| distance_to_scale(&wide(&back), &wide(&z)));
    assert!(far[0] < 1e-13 && far[1] > 1e-4, "{far:?}");
    assert_eq!(out.work.field_evaluations, 10 + out.work.iterations);
    assert_eq!(steps.costs().inverse, Cost::Iterative);
}

#[test]
fn rows_do_not_depend_on_their_batch() {
    fn check<E: Real>() {
        let steps = layers::<E>(3, 2, 4);
        let (all, features) = (points::<E>(300, 3, 1), points::<E>(300, 2, 2));
        let (z, c) = (all.values(), features.values());
        let context = Context::of(features);
        let there = forward(&steps, &all, &context);
        let back = inverse(&steps, &all, &context);
        for row in [0, 127, 128, 299] {
            let one = batch(z[3 * row..][..3].to_vec(), 1, 3).unwrap();
            let its = Context::of(batch(c[2 * row..][..2].to_vec(), 1, 2).unwrap());
            let alone = [forward(&steps, &one, &its), inverse(&steps, &one, &its)];
            for (alone, batch) in alone.iter().zip([&there, &back]) {
                assert_eq!(alone.value.values(), batch.value.values()[3 * row..][..3]);
                assert_eq!(alone.log_det.values(), batch.log_det.values()[row..=row]);
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn single_precision_is_double_precision_rounded() {
    // Ten layers of a few roundings each, of weights and points rounded once.
    let (z, context) = (points::<f32>(100, 3, 1), points::<f32>(100, 2, 2));
    let cast = |batch: &Batch<f32>, dim| flows_core::tensor::batch(wide(batch), 100, dim).unwrap();
    let (z64, c64) = (cast(&z, 3), Context::of(cast(&context, 2)));
    let context = Context::of(context);
    let (single, double) = (layers::<f32>(3, 2, 10), layers::<f64>(3, 2, 10));
    for (single, double) in [
        (forward(&single, &z, &context), forward(&double, &z64, &c64)),
        (inverse(&single, &z, &context), inverse(&double, &z64, &c64)),
    ] {
        let value = distance_to_scale(&wide(&single.value), &wide(&double.value));
        let log_det = distance_to_scale(&wide(&single.log_det), &wide(&double.log_det));
        assert!(value < 40.0 * 6e-8 && log_det < 40.0 * 6e-8, "{value:e} {log_det:e}");
    }
}
