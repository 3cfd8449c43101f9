//! The row-wise solver: rows that know nothing of their batch, to the tolerance asked for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use flows_continuous::{
    Adaptive, Continuous, Direction, MlpField, RowReport, Solver, Status, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{flat, golden, perturb};
use flows_core::{
    Batch, Bijector, Context, Error, LastLayer, Network, Real, Tape, Values, normals, stream,
};
use nalgebra::{DMatrix, DVector};
use rayon::ThreadPoolBuilder;

use super::elementwise_field::{self, Law};
use super::golden;
use super::objective::{equal, exact, run, tape, tolerance};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];
const SIZES: [f64; 8] = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10];

/// A conditioned perceptron field that bends; no hidden layer makes it linear.
fn perceptron(hidden: &[usize], size: f64) -> Continuous<f64> {
    let time = TimeInput::ConcatSquash;
    let kernel = MlpField::new(3, 2, hidden, Activation::Tanh, time).unwrap();
    let mut rng = stream(5, "init");
    let field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let accuracy = exact(Solver::RowWise(tolerance(size)));
    let mut flow = Continuous::new(field, [0.0, 1.0], accuracy, accuracy).unwrap();
    perturb(&mut flow, 0.5, &mut rng).unwrap();
    flow
}

/// Rows and features, row by row.
struct Rows {
    points: Vec<f64>,
    codes: Vec<f64>,
}

impl Rows {
    fn new(rows: usize) -> Self {
        let points = normals::<f64>(rows * 3, &mut stream(2, "points"));
        // Some rows are far out and take more steps than others.
        let points = points.iter().enumerate().map(|(i, p)| p * (1.0 + (i / 3 % 7) as f64));
        Self { points: points.collect(), codes: normals(rows * 2, &mut stream(3, "codes")) }
    }

    /// The rows of these indices.
    fn pick(&self, rows: impl Iterator<Item = usize> + Clone) -> Self {
        let points = rows.clone().flat_map(|r| self.points[r * 3..r * 3 + 3].to_vec());
        let codes = rows.flat_map(|r| self.codes[r * 2..r * 2 + 2].to_vec());
        Self { points: points.collect(), codes: codes.collect() }
    }

    fn batch<E: Real>(&self) -> (Batch<E>, Context<E>) {
        let rows = self.codes.len() / 2;
        let cast = |values: &[f64]| values.iter().map(|&v| E::of(v)).collect::<Vec<E>>();
        let context = batch(cast(&self.codes), rows, 2).unwrap();
        (batch(cast(&self.points), rows, 3).unwrap(), Context::of(context))
    }
}

/// Value and log-det of each row as bits.
fn bits<E: Real>(
    flow: &dyn Bijector<E>,
    rows: &Rows,
    direction: Direction,
    traced: bool,
) -> Vec<[u64; 4]> {
    let (input, context) = rows.batch::<E>();
    let out = run(flow, direction, &input, &context, &mut tape(traced)).unwrap();
    let bits = |v: E| v.as_f64().to_bits();
    let rows = out.value.values();
    let rows = rows.chunks(3).zip(out.log_det.values());
    rows.map(|(z, l)| [bits(z[0]), bits(z[1]), bits(z[2]), bits(l)]).collect()
}

fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

fn check_bits<E: Real>(flow: &dyn Bijector<E>) {
    let count = 1000;
    let rows = Rows::new(count);
    for direction in DIRECTIONS {
        let all = on_threads(2, || bits(flow, &rows, direction, false));
        for traced in [false, true] {
            for threads in [1, 2] {
                let what = format!("{direction:?}, traced {traced}, {threads} threads");
                let run = |rows: &Rows| on_threads(threads, || bits(flow, rows, direction, traced));
                assert_eq!(run(&rows), all, "{what}");
                let backwards = run(&rows.pick((0..count).rev()));
                assert!(backwards.iter().rev().eq(&all), "{what}, the other way round");
                let some = run(&rows.pick((7..count).step_by(13)));
                assert!(some.iter().eq(all[7..].iter().step_by(13)), "{what}, every 13th");
                for row in [0, 1, 127, 128, 500, 999] {
                    assert_eq!(
                        run(&rows.pick(row..=row)),
                        all[row..=row],
                        "{what}, row {row} alone"
                    );
                }
            }
        }
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), count, "rows that differ have results that differ");
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_place_and_number_of_threads() {
    check_bits(&perceptron(&[16, 9], 1e-6));
    check_bits(&perceptron(&[], 1e-6));
}

#[test]
fn single_precision_rows_do_not_know_their_batch_either() {
    let kernel = MlpField::new(3, 2, &[16], Activation::Softplus, TimeInput::Concat).unwrap();
    let field = Network::<f32, _>::new(kernel, LastLayer::Random, &mut stream(5, "init")).unwrap();
    let accuracy = exact(Solver::RowWise(tolerance(1e-4)));
    check_bits(&Continuous::new(field, [0.0, 1.0], accuracy, accuracy).unwrap());
}

/// At most ten tolerances, relative to 1 + |value|.
#[track_caller]
fn within(what: &str, got: &[f64], expected: &[f64], size: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let far = (got - expected).abs() / (1.0 + expected.abs());
        assert!(far <= 10.0 * size, "{what} at {size:e}: {got} {expected}");
    }
}

#[test]
fn golden_values_within_ten_tolerances() {
    let cases = golden("linear_ode").into_iter().map(|case| (true, case));
    for (linear, case) in cases.chain(golden("mlp_ode").into_iter().map(|case| (false, case))) {
        for size in SIZES {
            let accuracy = exact(Solver::RowWise(tolerance(size)));
            let flow = match linear {
                true => golden::linear_flow(&case, accuracy),
                false => golden::mlp_flow(&case, accuracy, accuracy),
            };
            let none = &mut Tape::none();
            let out = flow.forward(&golden::inputs(&case), &Context::none(), none).unwrap();
            within("outputs", &out.value.values(), &flat(&case["outputs"]), size);
            within("log-det", &out.log_det.values(), &flat(&case["log_det"]), size);
        }
    }
}

#[test]
fn a_linear_field_gives_the_matrix_exponential_within_ten_tolerances() {
    let case = &golden("linear_ode")[0];
    let matrix = flat(&case["parameters"]["A"]);
    let (t1, dim) = (case["parameters"]["t1"].as_f64().unwrap(), golden::inputs(case));
    let dim = flows_core::tensor::columns(&dim);
    let matrix = DMatrix::from_row_slice(dim, dim, &matrix);
    let exponential = (matrix.clone() * t1).exp();
    let points: Vec<f64> = normals(200 * dim, &mut stream(8, "points"));
    let apply = |row: &[f64]| (&exponential * DVector::from_row_slice(row)).as_slice().to_vec();
    let expected: Vec<f64> = points.chunks(dim).flat_map(apply).collect();
    for size in SIZES {
        let flow = golden::linear_flow(case, exact(Solver::RowWise(tolerance(size))));
        let z = batch(points.clone(), 200, dim).unwrap();
        let out = flow.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
        within("value", &out.value.values(), &expected, size);
        within("log-det", &out.log_det.values(), &[matrix.trace() * t1; 200], size);
    }
}

#[test]
fn round_trips_return_within_ten_tolerances() {
    for hidden in [&[16, 9][..], &[]] {
        for size in SIZES {
            let flow = perceptron(hidden, size);
            let (z, context) = Rows::new(200).batch::<f64>();
            let none = &mut Tape::none();
            let there = flow.forward(&z, &context, none).unwrap();
            let back = flow.inverse(&there.value, &context, none).unwrap();
            within("forward and back", &back.value.values(), &z.values(), size);
            let log_det: Vec<f64> = back.log_det.values().iter().map(|l| -l).collect();
            // Both solves may be off by ten tolerances.
            within("log-det", &log_det, &there.log_det.values(), 2.0 * size);
            let there = flow.inverse(&z, &context, none).unwrap();
            let back = flow.forward(&there.value, &context, none).unwrap();
            within("back and forward", &back.value.values(), &z.values(), size);
        }
    }
}

fn reports(flow: &Continuous<f64>, points: &[f64], direction: Direction) -> Vec<RowReport> {
    let input = batch(points.to_vec(), points.len(), 1).unwrap();
    flow.row_reports(&input, &Context::none(), direction).unwrap()
}

#[test]
fn rows_near_an_explosion_take_more_steps_and_are_as_accurate() {
    // dz/dt = z^2 on [0, 1] explodes at 1 / z0.
    let points: Vec<f64> = (1..=19).map(|i| 0.05 * f64::from(i)).collect();
    let size = 1e-8;
    let accuracy = exact(Solver::RowWise(tolerance(size)));
    let (flow, calls) = elementwise_field::flow(1, Law::Square, [0.0, 1.0], accuracy);
    let reports = reports(&flow, &points, Direction::Forward);
    assert_eq!(reports.len(), points.len());
    let first = reports[0].evaluations - 6 * (reports[0].accepted + reports[0].rejected);
    assert!((1..=3).contains(&first), "{first} evaluations for the first step");
    for report in &reports {
        assert_eq!((report.status, report.time), (Status::Finished, 1.0));
        // The last stage of a step is the first of the next.
        assert_eq!(report.evaluations, first + 6 * (report.accepted + report.rejected));
    }
    assert!(reports.windows(2).all(|pair| pair[0].accepted <= pair[1].accepted), "{reports:?}");
    assert!(reports[18].accepted > 3 * reports[0].accepted, "{reports:?}");

    // A call of the field serves all rows: the batch takes as many as its longest row.
    let before = calls.count();
    let input = batch(points.clone(), points.len(), 1).unwrap();
    let out = flow.forward(&input, &Context::none(), &mut Tape::none()).unwrap();
    let longest = reports.iter().map(|r| r.evaluations).max().unwrap();
    assert_eq!((calls.count() - before) as u64, longest);
    let mean = |count: fn(&RowReport) -> u64| {
        reports.iter().map(count).sum::<u64>().div_ceil(reports.len() as u64)
    };
    assert_eq!(out.work.field_evaluations, mean(|r| r.evaluations));
    assert_eq!(out.work.steps_accepted, mean(|r| r.accepted));
    assert_eq!(out.work.steps_rejected, mean(|r| r.rejected));

    for (index, z) in points.iter().enumerate() {
        // An error made at time t grows by dz(1)/dz(t) = ((1 - z t) / (1 - z))^2: on a state of
        // 1 / (1 - z) it is 1 / (1 - z) tolerances, times ten as everywhere.
        let allowed = 10.0 * size / (1.0 - z);
        let (value, log_det) = (1.0 / (1.0 / z - 1.0), -2.0 * (1.0 - z).ln());
        let got = (out.value.values()[index], out.log_det.values()[index]);
        assert!((got.0 - value).abs() < allowed * (1.0 + value), "{z}: {} {value}", got.0);
        assert!((got.1 - log_det).abs() < allowed * (1.0 + log_det), "{z}: {} {log_det}", got.1);
    }
}

#[test]
fn a_row_that_fails_is_named_and_the_others_are_reported() {
    let accuracy = exact(Solver::RowWise(tolerance(1e-6)));
    let (flow, _) = elementwise_field::flow(1, Law::Square, [0.0, 1.0], accuracy);
    for (direction, sign) in [(Direction::Forward, 1.0), (Direction::Inverse, -1.0)] {
        for failing in [&[217][..], &[0], &[299], &[40, 150], &[30, 20, 10]] {
            let mut points: Vec<f64> = (0..300).map(|i| sign * 1e-3 * f64::from(i)).collect();
            failing.iter().for_each(|&row| points[row] = sign * 1.5);
            let reports = reports(&flow, &points, direction);
            for (row, report) in reports.iter().enumerate() {
                assert_eq!(report.status != Status::Finished, failing.contains(&row), "row {row}");
                if failing.contains(&row) {
                    // The explosion is after 2/3 of the way.
                    let passed = if sign > 0.0 { report.time } else { 1.0 - report.time };
                    assert!((0.6..0.667).contains(&passed), "{report:?}");
                }
            }
            // Of several the first one.
            let first = failing.iter().min().copied();
            for threads in [1, 2] {
                for traced in [false, true] {
                    let input = batch(points.clone(), 300, 1).unwrap();
                    let none = Context::none();
                    let result = on_threads(threads, || {
                        run(&flow, direction, &input, &none, &mut tape(traced)).map(drop)
                    });
                    let Err(error) = result else { panic!("{failing:?} was solved") };
                    let sentence = error.to_string();
                    let Error::Stopped { row, .. } = error else { panic!("{sentence}") };
                    assert_eq!(row, first, "{sentence}");
                    assert!(sentence.contains(&format!("row {}", first.unwrap())), "{sentence}");
                }
            }
        }
    }
}

#[test]
fn only_the_row_wise_solver_reports_rows() {
    let settings: Adaptive = tolerance(1e-6);
    for solver in [Solver::Dopri5(settings), Solver::Dop853(settings), Solver::Rk4(equal(5))] {
        let (flow, _) = elementwise_field::flow(1, Law::Square, [0.0, 1.0], exact(solver));
        let input = batch(vec![0.1], 1, 1).unwrap();
        let result = flow.row_reports(&input, &Context::none(), Direction::Forward);
        assert!(matches!(result, Err(Error::Unavailable { .. })), "{solver:?}");
    }
    let accuracy = exact(Solver::RowWise(settings));
    let (flow, _) = elementwise_field::flow(1, Law::Square, [0.0, 1.0], accuracy);
    let wide = batch(vec![0.1; 4], 2, 2).unwrap();
    let result = flow.row_reports(&wide, &Context::none(), Direction::Forward);
    assert!(matches!(result, Err(Error::Dimension { .. })));
    assert!(reports(&flow, &[], Direction::Forward).is_empty());
}
