//! Instantaneous change of variables, and Hutchinson's estimator on a field with a known Jacobian.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, Hutchinson, MlpField, Probe, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::parameters::Parameters;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{assert_error, perturb};
use flows_core::{
    Batch, Bijector, Context, Error, LastLayer, Network, Purpose, Tape, Values, normals, stream,
};
use nalgebra::{DMatrix, DVector};

const DIM: usize = 3;

fn accuracy(tolerance: f64, divergence: Divergence) -> Accuracy {
    Accuracy { solver: Solver::Dopri5(Adaptive::new(tolerance, tolerance)), divergence }
}

/// A field without hidden layers, dz/dt = A z + b + d t, between two times.
fn linear(
    (matrix, bias, drift): (&[f64], &[f64], &[f64]),
    times: [f64; 2],
    training: Accuracy,
) -> Continuous<f64> {
    let dim = bias.len();
    let kernel = MlpField::new(dim, 0, &[], Activation::Tanh, TimeInput::Concat).unwrap();
    let field = Network::new(kernel, LastLayer::Zero, &mut stream(1, "init")).unwrap();
    let exact = accuracy(1e-10, Divergence::Exact);
    let mut flow = Continuous::new(field, times, training, exact).unwrap();
    let result = flow.visit_mut(&mut |name, _, tensor| match name {
        "field.weight0" => {
            // The last column is that of the time.
            let rows = matrix.chunks(dim).zip(drift);
            let wide: Vec<f64> = rows.flat_map(|(row, d)| [row, &[*d]].concat()).collect();
            set_values(tensor, &wide)
        }
        "field.bias0" => set_values(tensor, bias),
        other => panic!("a linear field has no {other}"),
    });
    result.unwrap();
    flow
}

const MATRIX: [f64; 9] = [0.5, -1.0, 0.3, 0.8, -0.4, 0.9, -0.2, 0.6, 0.35];

fn rows(seed: u64, rows: usize) -> Batch<f64> {
    batch(normals(rows * DIM, &mut stream(seed, "rows")), rows, DIM).unwrap()
}

#[test]
fn a_linear_field_gives_the_matrix_exponential_and_the_trace() {
    let (bias, drift) = ([0.2, -0.1, 0.4], [0.3, 0.0, -0.5]);
    let [t0, t1] = [0.25, 1.5];
    let exact = accuracy(1e-10, Divergence::Exact);
    let flow = linear((&MATRIX, &bias, &drift), [t0, t1], exact);
    let z = rows(2, 40);
    let out = flow.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
    // With w = (z, t, 1) the field is one matrix, and so the solution one exponential.
    let mut wide = DMatrix::<f64>::zeros(DIM + 2, DIM + 2);
    for i in 0..DIM {
        for j in 0..DIM {
            wide[(i, j)] = MATRIX[i * DIM + j];
        }
        (wide[(i, DIM)], wide[(i, DIM + 1)]) = (drift[i], bias[i]);
    }
    wide[(DIM, DIM + 1)] = 1.0;
    let exponential = (wide * (t1 - t0)).exp();
    let trace: f64 = (0..DIM).map(|i| MATRIX[i * DIM + i]).sum();
    for (got, start) in out.value.values().chunks(DIM).zip(z.values().chunks(DIM)) {
        let from = DVector::from_iterator(DIM + 2, start.iter().copied().chain([t0, 1.0]));
        let expected = &exponential * from;
        for i in 0..DIM {
            // Ten times the tolerance, on numbers of order ten.
            assert!((got[i] - expected[i]).abs() < 1e-8, "{} {}", got[i], expected[i]);
        }
    }
    for log_det in out.log_det.values() {
        assert!((log_det - (t1 - t0) * trace).abs() < 1e-9, "{log_det}");
    }
}

/// A perceptron field that depends on the time, between two times, with the same weights each time.
fn curved(times: [f64; 2], context: usize) -> Continuous<f64> {
    let kernel =
        MlpField::new(DIM, context, &[7, 6], Activation::Tanh, TimeInput::ConcatSquash).unwrap();
    let mut rng = stream(5, "init");
    let field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let exact = accuracy(1e-11, Divergence::Exact);
    let mut flow = Continuous::new(field, times, exact, exact).unwrap();
    perturb(&mut flow, 0.5, &mut rng).unwrap();
    flow
}

/// End point and log-det of the flow between two times.
fn follow(times: [f64; 2], z: &[f64], code: &[f64]) -> (Vec<f64>, f64) {
    let context = match code.len() {
        0 => Context::none(),
        dim => Context::of(batch(code.to_vec(), 1, dim).unwrap()),
    };
    let start = batch(z.to_vec(), 1, DIM).unwrap();
    let out = curved(times, code.len()).forward(&start, &context, &mut Tape::none()).unwrap();
    (out.value.values(), out.log_det.values()[0])
}

/// Trace of the Jacobian of the field at (t, z), from nothing but short flows and differences: the
/// end point after a time h is z + h f + O(h^2), and symmetric times cancel the second order.
fn divergence(t: f64, z: &[f64], code: &[f64]) -> f64 {
    let h = 1e-3;
    let velocity = |z: &[f64]| -> Vec<f64> {
        let (up, down) = (follow([t, t + h], z, code).0, follow([t, t - h], z, code).0);
        up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * h)).collect()
    };
    let part = |i: usize| {
        let moved = |by: f64| {
            let mut z = z.to_vec();
            z[i] += by;
            velocity(&z)[i]
        };
        (moved(h) - moved(-h)) / (2.0 * h)
    };
    (0..DIM).map(part).sum()
}

fn rate_along_a_trajectory(code: &[f64]) {
    let start = [0.4, -0.7, 1.1];
    let (h, mut largest) = (1e-3, 0.0_f64);
    for t in [0.2, 0.5, 0.9] {
        // d log p / dt = -tr J: the log-det up to t grows by tr J at the point reached there.
        let at = |t: f64| follow([0.0, t], &start, code);
        let rate = (at(t + h).1 - at(t - h).1) / (2.0 * h);
        let expected = divergence(t, &at(t).0, code);
        // Differences of second order with h = 1e-3: 1e-6 times third derivatives of order ten,
        // and the solver's 1e-11 over h^2, which is as much.
        assert!((rate - expected).abs() < 1e-4, "time {t}: {rate} {expected}");
        largest = largest.max(rate.abs());
    }
    // A hundred times what is let pass.
    assert!(largest > 1e-2, "the case does not test what it should");
}

#[test]
fn log_densities_change_by_the_divergence_along_a_trajectory() {
    rate_along_a_trajectory(&[]);
}

#[test]
fn log_densities_of_a_conditional_field_change_by_its_divergence() {
    rate_along_a_trajectory(&[0.8, -1.2]);
    rate_along_a_trajectory(&[-0.5, 0.3]);
}

#[test]
fn a_flow_over_an_interval_is_the_composition_of_those_over_its_parts() {
    let start = [0.4, -0.7, 1.1];
    for code in [vec![], vec![0.8, -1.2]] {
        let (end, log_det) = follow([0.0, 1.0], &start, &code);
        let (middle, first) = follow([0.0, 0.37], &start, &code);
        let (again, second) = follow([0.37, 1.0], &middle, &code);
        for (a, b) in end.iter().zip(again) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        assert!((log_det - first - second).abs() < 1e-9, "log-dets add up");
    }
}

#[test]
fn each_row_of_a_conditional_flow_sees_its_own_context() {
    let flow = curved([0.0, 1.0], 2);
    let (z, code) = (rows(3, 150), normals::<f64>(300, &mut stream(4, "code")));
    let context = Context::of(batch(code.clone(), 150, 2).unwrap());
    let none = &mut Tape::none();
    let out = flow.forward(&z, &context, none).unwrap();
    for row in [0, 1, 127, 128, 149] {
        let point = &z.values()[row * DIM..(row + 1) * DIM];
        let (value, log_det) = follow([0.0, 1.0], point, &code[row * 2..(row + 1) * 2]);
        for (a, b) in value.iter().zip(&out.value.values()[row * DIM..]) {
            assert!((a - b).abs() < 1e-9, "row {row}: {a} {b}");
        }
        assert!((log_det - out.log_det.values()[row]).abs() < 1e-9, "row {row}");
    }
    for (features, message) in [
        (None, "expected 2 columns, got 0"),
        (Some((150, 3)), "expected 2 columns, got 3"),
        (Some((149, 2)), "expected 150 rows, got 149"),
    ] {
        let context = features.map_or_else(Context::none, |(rows, columns)| {
            Context::of(batch(vec![0.0; rows * columns], rows, columns).unwrap())
        });
        let named = format!("context of a continuous flow: {message}");
        let results = [
            flow.forward(&z, &context, none).map(|_| ()),
            flow.inverse(&z, &context, none).map(|_| ()),
            flow.image(&z, &context).map(|_| ()),
        ];
        for result in results {
            assert_error!(result, Error::Dimension { .. } | Error::Rows { .. }, [&named]);
        }
    }
}

#[test]
fn estimates_of_the_trace_have_the_mean_and_the_variance_of_the_formula() {
    let symmetric = |i: usize, j: usize| 0.5 * (MATRIX[i * DIM + j] + MATRIX[j * DIM + i]);
    let pairs = || (0..DIM).flat_map(|i| (0..DIM).map(move |j| (i, j)));
    let all: f64 = pairs().map(|(i, j)| symmetric(i, j).powi(2)).sum();
    let diagonal: f64 = (0..DIM).map(|i| symmetric(i, i).powi(2)).sum();
    let trace: f64 = (0..DIM).map(|i| symmetric(i, i)).sum();
    let draws = 40_000;
    for (distribution, one) in
        [(Probe::Rademacher, 2.0 * (all - diagonal)), (Probe::Gaussian, 2.0 * all)]
    {
        for probes in [1, 4] {
            let estimate = Divergence::Hutchinson(Hutchinson { probes, distribution });
            let still = [0.0; DIM];
            let training = accuracy(1e-6, estimate);
            let mut flow = linear((&MATRIX, &still, &still), [0.0, 2.0], training);
            flow.set_purpose(Purpose::Training).unwrap();
            flow.begin_step(&mut stream(probes as u64, "probes")).unwrap();
            let none = &mut Tape::none();
            let out = flow.forward(&rows(6, draws), &Context::none(), none).unwrap();
            // Probes are fixed for the whole solve and the field is linear: an estimate is the
            // length of the interval times v^T A v, whatever the point.
            let seen: Vec<f64> = out.log_det.values().iter().map(|l| l / 2.0).collect();
            let mean = seen.iter().sum::<f64>() / draws as f64;
            let power =
                |p: i32| seen.iter().map(|s| (s - trace).powi(p)).sum::<f64>() / draws as f64;
            let (variance, fourth) = (power(2), power(4));
            let expected = one / probes as f64;
            let standard_error = (expected / draws as f64).sqrt();
            assert!((mean - trace).abs() < 4.0 * standard_error, "{distribution:?} {mean} {trace}");
            // The variance of a mean of squares is (fourth moment - variance^2) / n.
            let allowed = 4.0 * ((fourth - variance * variance).max(0.0) / draws as f64).sqrt();
            assert!(
                (variance - expected).abs() < allowed,
                "{distribution:?} x {probes}: {variance} {expected} +- {allowed}"
            );
            // Reporting is exact all the same.
            flow.set_purpose(Purpose::Reporting).unwrap();
            let out = flow.forward(&rows(6, 3), &Context::none(), none).unwrap();
            assert!(out.log_det.values().iter().all(|l| (l - 2.0 * trace).abs() < 1e-8));
        }
    }
}
