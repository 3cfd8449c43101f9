//! Estimates of the trace of the Jacobian: their mean, variance and gradient.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, BottleneckField, Continuous, Direction, Divergence, Field, FieldKernel,
    HutchPlusPlus, Hutchinson, MlpField, Probe, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{close, perturb};
use flows_core::{
    Bijector, Context, LastLayer, Network, Parameters, Tape, Values, normals, stream,
};
use nalgebra::DMatrix;

use super::objective::{Asked, Gradients, equal, perceptron, replace, tolerance};

const PROBES: [Probe; 3] = [Probe::Rademacher, Probe::Gaussian, Probe::Orthogonal];

pub(crate) fn hutchinson(probes: usize, distribution: Probe) -> Divergence {
    Divergence::Hutchinson(Hutchinson { probes, distribution })
}

pub(crate) fn hutch_plus_plus(sketch: usize, probes: usize, distribution: Probe) -> Divergence {
    Divergence::HutchPlusPlus(HutchPlusPlus { sketch, probes, distribution })
}

/// Log-dets of standard normal rows with new probes.
fn log_dets(flow: &mut Continuous<f64>, draws: usize) -> Vec<f64> {
    flow.begin_step(&mut stream(2, "probes")).unwrap();
    let z = normals(draws * flow.dim(), &mut stream(3, "z"));
    let z = batch(z, draws, flow.dim()).unwrap();
    flow.forward(&z, &Context::none(), &mut Tape::none()).unwrap().log_det.values()
}

/// Estimates of the trace of a matrix: one step of Euler's method along dz/dt = A z over [0, 1].
fn estimates(matrix: &DMatrix<f64>, divergence: Divergence, draws: usize) -> Vec<f64> {
    let dim = matrix.nrows();
    let kernel = MlpField::new(dim, 0, &[], Activation::Tanh, TimeInput::None).unwrap();
    let field = Network::new(kernel, LastLayer::Zero, &mut stream(1, "init")).unwrap();
    let accuracy = Accuracy { solver: Solver::Euler(equal(1)), divergence };
    let mut flow = Continuous::new(field, [0.0, 1.0], accuracy, accuracy).unwrap();
    replace(&mut flow, "field.weight0", matrix.transpose().as_slice());
    log_dets(&mut flow, draws)
}

/// Mean, variance and the standard error of each.
fn moments(seen: &[f64]) -> (f64, f64, f64, f64) {
    let n = seen.len() as f64;
    let mean = seen.iter().sum::<f64>() / n;
    let power = |p: i32| seen.iter().map(|s| (s - mean).powi(p)).sum::<f64>() / n;
    let (variance, fourth) = (power(2), power(4));
    (mean, variance, (variance / n).sqrt(), ((fourth - variance * variance).max(0.0) / n).sqrt())
}

#[track_caller]
fn assert_moments(what: &str, seen: &[f64], expected: f64, expected_variance: f64) {
    let (mean, variance, error, error_of_variance) = moments(seen);
    assert!((mean - expected).abs() <= 4.0 * error + 1e-12, "{what}: mean {mean}, {expected}");
    assert!(
        (variance - expected_variance).abs() <= 4.0 * error_of_variance + 1e-20,
        "{what}: variance {variance}, {expected_variance} +- {error_of_variance}"
    );
}

/// Squares of the symmetric part: of all its entries, and of those on the diagonal.
fn squares(matrix: &DMatrix<f64>) -> (f64, f64) {
    let symmetric = (matrix + matrix.transpose()) * 0.5;
    (symmetric.norm_squared(), symmetric.diagonal().norm_squared())
}

fn random(dim: usize, seed: u64) -> DMatrix<f64> {
    DMatrix::from_row_slice(dim, dim, &normals::<f64>(dim * dim, &mut stream(seed, "matrix")))
}

/// Symmetric with eigenvalues 1, 1/2, 1/4, .. in a random basis.
fn decaying(dim: usize) -> DMatrix<f64> {
    let basis = random(dim, 4).qr().q();
    let values = (0..dim).map(|k| 0.5_f64.powi(k as i32));
    let values = DMatrix::from_diagonal(&nalgebra::DVector::from_iterator(dim, values));
    &basis * values * basis.transpose()
}

#[test]
fn independent_probes_have_the_variance_of_the_formula_over_their_number() {
    for matrix in [random(5, 1), random(2, 2), random(5, 3) * 0.1, decaying(6)] {
        let (all, diagonal) = squares(&matrix);
        for probes in [1, 2, 8] {
            let m = probes as f64;
            let seen = estimates(&matrix, hutchinson(probes, Probe::Rademacher), 20_000);
            assert_moments("rademacher", &seen, matrix.trace(), 2.0 * (all - diagonal) / m);
            let seen = estimates(&matrix, hutchinson(probes, Probe::Gaussian), 20_000);
            assert_moments("gaussian", &seen, matrix.trace(), 2.0 * all / m);
        }
    }
    // Signs square to one: in one dimension they are exact.
    let seen = estimates(&random(1, 5), hutchinson(1, Probe::Rademacher), 300);
    assert!(seen.iter().all(|s| (s - random(1, 5)[(0, 0)]).abs() < 1e-15));
}

#[test]
fn orthogonal_probes_beat_independent_ones_and_are_exact_if_there_are_as_many_as_features() {
    for matrix in [random(5, 1), random(4, 2), decaying(6)] {
        let (dim, trace) = (matrix.nrows(), matrix.trace());
        let d = dim as f64;
        // A direction u uniform on the sphere has E (u' A u)^2 = (2 |S|^2 + tr^2) / (d (d + 2)), so
        // one probe sqrt(d) u has the variance below. The sum over a whole basis is constant,
        // which leaves a covariance of -variance / (d - 1) between two of its probes.
        let one = 2.0 * (d * squares(&matrix).0 - trace * trace) / (d + 2.0);
        for probes in 1..dim {
            let m = probes as f64;
            let expected = one / m * (d - m) / (d - 1.0);
            let seen = estimates(&matrix, hutchinson(probes, Probe::Orthogonal), 20_000);
            assert_moments(&format!("{probes} of {dim}"), &seen, trace, expected);
        }
        // There are no more than D orthogonal probes.
        for probes in [dim, dim + 2] {
            let seen = estimates(&matrix, hutchinson(probes, Probe::Orthogonal), 500);
            let allowed = 1e-13 * (1.0 + matrix.norm());
            assert!(seen.iter().all(|s| (s - trace).abs() < allowed), "{probes} of {dim}");
        }
    }
    let seen = estimates(&random(1, 5), hutchinson(1, Probe::Orthogonal), 300);
    assert!(seen.iter().all(|s| (s - random(1, 5)[(0, 0)]).abs() < 1e-14));
}

#[test]
fn hutch_plus_plus_is_unbiased_and_beats_hutchinson_where_the_spectrum_decays() {
    let draws = 8000;
    for distribution in PROBES {
        for matrix in [decaying(10), random(10, 6)] {
            for (sketch, probes) in [(1, 1), (3, 3), (6, 2), (2, 5)] {
                let seen = estimates(&matrix, hutch_plus_plus(sketch, probes, distribution), draws);
                let (mean, _, error, _) = moments(&seen);
                let off = (mean - matrix.trace()) / error;
                assert!(off.abs() < 4.0, "{distribution:?} {sketch} + {probes}: {off} s.e.");
            }
        }
    }
    for distribution in [Probe::Rademacher, Probe::Gaussian] {
        // Three products with the matrix for the sketch, three for its basis, three for probes.
        let plus_plus =
            moments(&estimates(&decaying(10), hutch_plus_plus(3, 3, distribution), draws));
        let plain = moments(&estimates(&decaying(10), hutchinson(9, distribution), draws));
        // Off the three largest eigenvalues there is about 2 (1/16 + ..) / (1 + 1/4 + ..) = 1/64 of
        // the squares, if the sketch were perfect; nine probes in place of three cost a factor 3.
        assert!(plus_plus.1 < 0.5 * plain.1, "{distribution:?}: {} {}", plus_plus.1, plain.1);
    }
}

#[test]
fn hutch_plus_plus_is_exact_where_its_sketch_spans_the_range() {
    for distribution in [Probe::Gaussian, Probe::Orthogonal] {
        for dim in [1, 2, 5] {
            let matrix = random(dim, 7);
            let seen = estimates(&matrix, hutch_plus_plus(dim, 1, distribution), 500);
            // The basis is orthogonal to rounding, whatever the condition of the sketch.
            assert_all(&format!("{distribution:?} {dim}"), &seen, matrix.trace());
        }
    }
    for distribution in PROBES {
        // Rank one: one column does.
        let (u, v) = (random(4, 8), random(4, 9));
        let matrix = u.column(0) * v.column(0).transpose();
        for sketch in 1..=4 {
            let seen = estimates(&matrix, hutch_plus_plus(sketch, 1, distribution), 500);
            assert_all(&format!("{distribution:?} {sketch}"), &seen, matrix.trace());
        }
        // A field at rest has no range.
        let seen = estimates(&DMatrix::zeros(3, 3), hutch_plus_plus(2, 1, distribution), 50);
        assert!(seen.iter().all(|s| *s == 0.0), "{distribution:?}: {seen:?}");
    }
    // Signs may be parallel, in two dimensions half of the time, and then the rest is estimated.
    let matrix = random(2, 7);
    let seen = estimates(&matrix, hutch_plus_plus(2, 1, Probe::Rademacher), 4000);
    let exact = seen.iter().filter(|s| (*s - matrix.trace()).abs() < 1e-12).count();
    assert!(exact.abs_diff(2000) < 4 * 32, "{exact} of 4000");
    let (mean, _, error, _) = moments(&seen);
    assert!((mean - matrix.trace()).abs() < 4.0 * error, "{mean} +- {error}");
}

#[track_caller]
fn assert_all(what: &str, seen: &[f64], expected: f64) {
    close(what, seen, &vec![expected; seen.len()], 1e-12);
}

#[test]
fn an_empty_batch_needs_no_probes() {
    for distribution in PROBES {
        for divergence in [hutchinson(2, distribution), hutch_plus_plus(1, 1, distribution)] {
            let seen = estimates(&random(3, 1), divergence, 0);
            assert!(seen.is_empty(), "{divergence:?}");
        }
    }
}

/// A curved perceptron field in three dimensions with one feature of context.
fn curved(divergence: Divergence, seed: u64) -> Continuous<f64> {
    let accuracy = Accuracy { solver: Solver::Rk4(equal(4)), divergence };
    let mut flow = perceptron((3, 1), TimeInput::ConcatSquash, [0.0, 1.0], accuracy);
    flow.begin_step(&mut stream(seed, "probes")).unwrap();
    flow
}

#[test]
fn a_full_sketch_is_exact_along_a_curved_path() {
    for direction in [Direction::Forward, Direction::Inverse] {
        let asked = Asked::new(direction, 200, 3, 1);
        let map =
            |divergence| asked.map(&curved(divergence, 1), &mut Tape::none()).log_det.values();
        let expected = map(Divergence::Exact);
        for divergence in [hutch_plus_plus(3, 1, Probe::Gaussian), hutchinson(3, Probe::Orthogonal)]
        {
            let mut pairs = map(divergence).into_iter().zip(&expected);
            // Either is an orthonormal basis: rounding.
            assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-12), "{divergence:?}");
        }
    }
}

#[test]
fn gradients_of_estimates_are_unbiased() {
    for direction in [Direction::Forward, Direction::Inverse] {
        let asked = Asked::new(direction, 32, 3, 1);
        let exact = asked.gradients(&curved(Divergence::Exact, 0));
        for divergence in [
            hutchinson(1, Probe::Rademacher),
            hutchinson(2, Probe::Orthogonal),
            hutch_plus_plus(1, 1, Probe::Rademacher),
            hutch_plus_plus(1, 2, Probe::Gaussian),
            hutch_plus_plus(2, 1, Probe::Rademacher),
        ] {
            let draws: Vec<Gradients> =
                (0..200).map(|seed| asked.gradients(&curved(divergence, seed))).collect();
            let mut noisy = 0;
            for (name, expected) in &exact {
                for (index, expected) in expected.iter().enumerate() {
                    let seen: Vec<f64> = draws.iter().map(|draw| draw[name][index]).collect();
                    let (mean, _, error, _) = moments(&seen);
                    let off = (mean - expected).abs();
                    noisy += usize::from(error > 1e-9);
                    // Of some 150 entries a case one in 16 000 is expected beyond 4 s.e.
                    assert!(
                        off <= 4.0 * error + 1e-12,
                        "{divergence:?} {direction:?} {name}[{index}]: {mean} {expected}, {} s.e.",
                        off / error
                    );
                }
            }
            assert!(noisy > 50, "the case does not test anything");
        }
    }
}

#[test]
fn gradients_at_a_field_at_rest_are_numbers() {
    let kernel = MlpField::new(3, 0, &[4], Activation::Tanh, TimeInput::Concat).unwrap();
    for divergence in [hutch_plus_plus(2, 1, Probe::Rademacher), hutchinson(2, Probe::Orthogonal)] {
        for solver in [Solver::Rk4(equal(4)), Solver::RowWise(tolerance(1e-6))] {
            let field = Network::new(kernel.clone(), LastLayer::Zero, &mut stream(1, "init"));
            let accuracy = Accuracy { solver, divergence };
            let flow = Continuous::new(field.unwrap(), [0.0, 1.0], accuracy, accuracy).unwrap();
            let asked = Asked::new(Direction::Forward, 5, 3, 0);
            for (name, gradient) in asked.gradients(&flow) {
                assert!(gradient.iter().all(|g| g.is_finite()), "{divergence:?} {name}");
            }
        }
    }
}

/// Any field, away from where it starts.
pub(crate) fn moved(kernel: impl FieldKernel<f64> + 'static) -> Field<f64> {
    let mut rng = stream(5, "init");
    let mut field = Field::from(Network::new(kernel, LastLayer::Random, &mut rng).unwrap());
    perturb(&mut field, 0.2, &mut rng).unwrap();
    field
}

/// The flow of a field.
pub(crate) fn flow(field: &Field<f64>, solver: Solver, divergence: Divergence) -> Continuous<f64> {
    let accuracy = Accuracy { solver, divergence };
    Continuous::new(field.clone(), [0.0, 0.8], accuracy, accuracy).unwrap()
}

/// The Jacobian of a linear bottleneck field is the product of two matrices.
fn two_factors(field: &Field<f64>, dim: usize, narrow: usize) -> [DMatrix<f64>; 2] {
    let mut found = Vec::new();
    field.visit(&mut |name, _, tensor| {
        if name.ends_with("weight0") {
            let (rows, columns) =
                if name.contains("lower") { (narrow, dim) } else { (dim, narrow) };
            let width = tensor.values().len() / rows;
            // Behind the columns of the input are those of context and time.
            let wide = DMatrix::from_row_slice(rows, width, &tensor.values());
            found.push((name.to_owned(), wide.columns(0, columns).into_owned()));
        }
    });
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let [lower, upper] = <[_; 2]>::try_from(found).unwrap();
    assert!(lower.0.contains("lower") && upper.0.contains("upper"));
    [lower.1, upper.1]
}

#[test]
fn probes_of_a_bottleneck_have_the_variance_of_the_narrow_product() {
    let (dim, narrow, draws) = (12, 3, 20_000);
    let field = moved(BottleneckField::new(dim, 0, &[], narrow, Activation::Tanh).unwrap());
    let euler = Solver::Euler(equal(1));
    let seen = |divergence| {
        let log_dets = log_dets(&mut flow(&field, euler, divergence), draws);
        // One step over [0, 0.8].
        log_dets.iter().map(|l| l / 0.8).collect::<Vec<f64>>()
    };
    let [lower, upper] = two_factors(&field, dim, narrow);
    let (product, trace) = (&lower * &upper, (&upper * &lower).trace());
    assert!(seen(Divergence::Exact).iter().all(|s| (s - trace).abs() < 1e-12), "the factors");
    let (all, diagonal) = squares(&product);
    let h = narrow as f64;
    let sphere = 2.0 * (h * all - trace * trace) / (h + 2.0);
    for (probes, distribution, expected) in [
        (1, Probe::Rademacher, 2.0 * (all - diagonal)),
        (4, Probe::Rademacher, 2.0 * (all - diagonal) / 4.0),
        (1, Probe::Gaussian, 2.0 * all),
        (3, Probe::Gaussian, 2.0 * all / 3.0),
        (1, Probe::Orthogonal, sphere),
        (2, Probe::Orthogonal, sphere / 2.0 * (h - 2.0) / (h - 1.0)),
    ] {
        let estimate = Divergence::Bottleneck(Hutchinson { probes, distribution });
        let what = format!("{distribution:?} x {probes}");
        assert_moments(&what, &seen(estimate), trace, expected);
    }
    let whole = Divergence::Bottleneck(Hutchinson { probes: 3, distribution: Probe::Orthogonal });
    assert!(seen(whole).iter().all(|s| (s - trace).abs() < 1e-12));
    // What the narrow layer is for: less noise than probes of the whole width.
    let (wide, _) = squares(&(&upper * &lower));
    assert!(all < wide, "narrow {all}, wide {wide}");
    let narrow = Hutchinson { probes: 1, distribution: Probe::Gaussian };
    let (narrow, wide) = (
        moments(&seen(Divergence::Bottleneck(narrow))),
        moments(&seen(hutchinson(1, Probe::Gaussian))),
    );
    assert!(narrow.1 + 4.0 * narrow.3 < wide.1 - 4.0 * wide.3, "{} {}", narrow.1, wide.1);
}
