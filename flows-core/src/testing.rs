//! A correctness check of bijectors, and what tests share.

mod closeness;
mod differences;
mod errors;
mod golden;
mod gradients;

use nalgebra::DMatrix;
use rand::RngExt;

use crate::bijector::{Bijector, Cost, Exactness, Mapped};
use crate::parameters::{Parameters, Role};
use crate::pass::Direction;
use crate::tape::Tape;
use crate::tensor::{Batch, Values, batch, columns, set_values};
use crate::{Context, Error, Result, Stream, stream};

pub use closeness::{close, close_number, distance, distance_to_scale, largest_difference, wide};
pub use differences::{STEP, differences};
pub use errors::{assert_error, is_complete, names};
pub use golden::{flat, golden};
pub use gradients::{objective, objective_gradients, weight};

/// Tolerances of [`check_bijector`].
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative to 1 + |value|: rounding of a closed form, or ten times a solver's tolerance.
    pub round_trip: f64,
    /// Against the determinant of central differences: their error is of order step^2 and
    /// rounding / step, about 1e-9 at a step of 1e-5, times the condition of the Jacobian.
    pub log_det: f64,
    /// Relative, against central differences of a scalar.
    pub gradient: f64,
    /// Difference of a row alone and in a batch: 0, unless a solver shares its steps between rows.
    pub rows: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { round_trip: 1e-9, log_det: 1e-6, gradient: 1e-5, rows: 0.0 }
    }
}

impl Tolerance {
    /// For a map integrated or iterated to `tolerance`.
    #[must_use]
    pub fn integrated(tolerance: f64) -> Self {
        Self { round_trip: 10.0 * tolerance, rows: 10.0 * tolerance, ..Self::default() }
    }
}

fn map(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tape: &mut Tape<f64>,
) -> Result<Mapped<f64>> {
    match direction {
        Direction::Forward => bijector.forward(input, context, tape),
        Direction::Inverse => bijector.inverse(input, context, tape),
    }
}

/// Value and log-det without a tape.
fn plain(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) -> Mapped<f64> {
    ok(map(bijector, direction, input, context, &mut Tape::none()), "without a tape")
}

/// Checks a bijector in double precision on eight batches of 1 to 4 rows: shapes, round trip,
/// antisymmetry of the log-det, log-det against a numerical Jacobian, gradients of every learned
/// parameter, input and context against differences, traced equal to untraced, rows independent.
///
/// Perturb the parameters first: at the identity half of the formula is not tested. `point` draws
/// one coordinate of a base point; context features are drawn from N(0, 1).
///
/// # Panics
/// If a check fails, with a sentence that names it.
pub fn check_bijector(
    bijector: &mut dyn Bijector<f64>,
    point: impl Fn(&mut Stream) -> f64,
    tolerance: Tolerance,
) {
    for seed in 0..8 {
        let mut rng = stream(seed, "check_bijector");
        let rows = 1 + (seed as usize % 4);
        let dim = bijector.dim();
        let z = matrix((0..rows * dim).map(|_| point(&mut rng)).collect(), rows, dim);
        let context = draw_context(rows, bijector.context_dim(), &mut rng);
        let x = plain(bijector, Direction::Forward, &z, &context).value;

        check_round_trip(bijector, &z, &context, tolerance, seed);
        let mut directions = vec![(Direction::Forward, z)];
        if bijector.costs().inverse != Cost::Unavailable {
            directions.push((Direction::Inverse, x));
        }
        for (direction, input) in directions {
            check_tape(bijector, direction, &input, &context, seed);
            check_rows(bijector, direction, &input, &context, tolerance, seed);
            if bijector.exactness() == Exactness::Exact {
                check_log_det(bijector, direction, &input, &context, tolerance, seed);
            }
            check_gradients(bijector, direction, &input, &context, tolerance, seed);
        }
    }
}

fn ok<T>(result: Result<T>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(&format!("{what} failed: {error}")),
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a check reports by panicking")]
fn fail(message: &str) -> ! {
    panic!("{message}")
}

fn matrix(values: Vec<f64>, rows: usize, dim: usize) -> Batch<f64> {
    ok(batch(values, rows, dim), "making a batch")
}

fn draw_context(rows: usize, dim: usize, rng: &mut Stream) -> Context<f64> {
    if dim == 0 {
        return Context::none();
    }
    Context::of(matrix(crate::normals(rows * dim, rng), rows, dim))
}

fn check_round_trip(
    bijector: &dyn Bijector<f64>,
    z: &Batch<f64>,
    context: &Context<f64>,
    tolerance: Tolerance,
    seed: u64,
) {
    let out = plain(bijector, Direction::Forward, z, context);
    assert_eq!(out.value.rows(), z.rows(), "rows of the value");
    assert_eq!(columns(&out.value), bijector.dim(), "columns of the value");
    assert_eq!(out.log_det.rows(), z.rows(), "rows of the log-det");
    if bijector.costs().inverse == Cost::Unavailable {
        let inverse = bijector.inverse(&out.value, context, &mut Tape::none());
        assert_error!(inverse, Error::NotInvertible { .. });
        return;
    }
    let back = plain(bijector, Direction::Inverse, &out.value, context);
    close_at("round trip", &back.value.values(), &z.values(), tolerance.round_trip, seed);
    let negated: Vec<f64> = back.log_det.values().iter().map(|l| -l).collect();
    let scale = if bijector.exactness() == Exactness::Exact { 1.0 } else { 10.0 };
    close_at(
        "inverse log-det",
        &negated,
        &out.log_det.values(),
        tolerance.round_trip * scale,
        seed,
    );
}

/// [`close`], for the batch of a seed.
fn close_at(what: &str, got: &[f64], expected: &[f64], tolerance: f64, seed: u64) {
    close(&format!("{what}, seed {seed}"), got, expected, tolerance);
}

fn check_tape(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    seed: u64,
) {
    let plain = plain(bijector, direction, input, context);
    let traced = map(bijector, direction, input, context, &mut Tape::recording());
    let traced = ok(traced, "with a tape");
    let same = plain.value.values() == traced.value.values()
        && plain.log_det.values() == traced.log_det.values();
    if bijector.costs().forward == Cost::Integrated {
        // The traced pass replays the mesh of the untraced one: equal up to rounding.
        let (a, b) = (plain.value.values(), traced.value.values());
        close_at("value with a tape", &b, &a, 1e-11, seed);
        close_at(
            "log-det with a tape",
            &traced.log_det.values(),
            &plain.log_det.values(),
            1e-11,
            seed,
        );
    } else {
        assert!(same, "{direction:?} (seed {seed}): values with and without a tape differ");
    }
}

/// Row `row` of a batch and of its context, on their own.
fn single(input: &Batch<f64>, context: &Context<f64>, row: usize) -> (Batch<f64>, Context<f64>) {
    let cut = |tensor: &Batch<f64>| {
        let dim = columns(tensor);
        matrix(tensor.values()[row * dim..(row + 1) * dim].to_vec(), 1, dim)
    };
    (cut(input), context.features().map_or_else(Context::none, |f| Context::of(cut(f))))
}

fn check_rows(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tolerance: Tolerance,
    seed: u64,
) {
    if bijector.exactness() == Exactness::Estimated {
        return; // Probes depend on a row's index in the batch.
    }
    let dim = bijector.dim();
    let all = plain(bijector, direction, input, context);
    let (values, log_dets) = (all.value.values(), all.log_det.values());
    for row in 0..input.rows() {
        let (alone, its) = single(input, context, row);
        let one = plain(bijector, direction, &alone, &its);
        let expected = &values[row * dim..(row + 1) * dim];
        close_at("value of a row alone", &one.value.values(), expected, tolerance.rows, seed);
        let expected = &log_dets[row..=row];
        close_at("log-det of a row alone", &one.log_det.values(), expected, tolerance.rows, seed);
    }
}

fn check_log_det(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tolerance: Tolerance,
    seed: u64,
) {
    let dim = bijector.dim();
    let log_dets = plain(bijector, direction, input, context).log_det.values();
    for (row, log_det) in log_dets.iter().enumerate() {
        let (alone, its) = single(input, context, row);
        let point = alone.values();
        let image = |j: usize, step: f64| {
            let mut moved = point.clone();
            moved[j] += step;
            plain(bijector, direction, &matrix(moved, 1, dim), &its).value.values()
        };
        let columns: Vec<Vec<f64>> = (0..dim)
            .map(|j| {
                let (up, down) = (image(j, STEP), image(j, -STEP));
                up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * STEP)).collect()
            })
            .collect();
        let jacobian = DMatrix::from_fn(dim, dim, |i, j| columns[j][i]);
        let numerical = jacobian.lu().determinant().abs().ln();
        close_at(
            &format!("{direction:?} log-det"),
            &[*log_det],
            &[numerical],
            tolerance.log_det,
            seed,
        );
    }
}

/// [`objective`] of a bijector's value and log-det.
fn objective_of(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) -> f64 {
    let out = plain(bijector, direction, input, context);
    objective(&out.value.values(), &out.log_det.values())
}

fn check_gradients(
    bijector: &mut dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tolerance: Tolerance,
    seed: u64,
) {
    let (mut names, mut tensors) = (vec!["the input".to_owned()], vec![input.clone()]);
    if let Some(features) = context.features() {
        names.push("the context".to_owned());
        tensors.push(features.clone());
    }
    let inputs = tensors.len();
    bijector.visit(&mut |name, role, tensor| {
        if role == Role::Learned {
            names.push(name.to_owned());
            tensors.push(tensor.clone());
        }
    });
    let mut tape = Tape::recording();
    let mapped = ok(map(bijector, direction, input, context, &mut tape), "with a tape");
    let exact = ok(objective_gradients(&mapped, tape, &tensors), "the backward pass");
    for (index, (name, tensor)) in names.iter().zip(&tensors).enumerate() {
        let of = |values: &[f64]| matrix(values.to_vec(), tensor.rows(), columns(tensor));
        let values = tensor.values();
        let numerical = differences(&values, |moved| match index {
            0 => objective_of(bijector, direction, &of(moved), context),
            _ if index < inputs => {
                objective_of(bijector, direction, input, &Context::of(of(moved)))
            }
            _ => {
                ok(replace(bijector, name, moved), "moving a parameter");
                let value = objective_of(bijector, direction, input, context);
                ok(replace(bijector, name, &values), "moving a parameter back");
                value
            }
        });
        let what = format!("{direction:?} gradient of {name}");
        close_relative(&what, &exact[index], &numerical, tolerance.gradient, seed);
    }
}

fn replace(bijector: &mut dyn Bijector<f64>, name: &str, values: &[f64]) -> Result<()> {
    bijector.visit_mut(&mut |this, _, tensor| {
        if this == name { set_values(tensor, values) } else { Ok(()) }
    })
}

/// As [`close`], relative to the largest entry: small entries carry the rounding of large ones.
fn close_relative(what: &str, got: &[f64], expected: &[f64], tolerance: f64, seed: u64) {
    let size = expected.iter().fold(1.0_f64, |size, v| size.max(v.abs()));
    let scaled = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| v / size).collect() };
    close_at(what, &scaled(got), &scaled(expected), tolerance, seed);
}

/// Moves every learned parameter by `scale` N(0, 1), away from the identity.
///
/// # Errors
/// [`Error::Tensor`] if memory runs out.
pub fn perturb(
    model: &mut (impl Parameters<f64> + ?Sized),
    scale: f64,
    rng: &mut Stream,
) -> Result<()> {
    model.visit_mut(&mut |_, role, tensor| {
        if role == Role::Fixed {
            return Ok(());
        }
        let moved: Vec<f64> = tensor
            .values()
            .iter()
            .zip(crate::normals::<f64>(tensor.values().len(), rng))
            .map(|(v, n)| v + scale * n)
            .collect();
        set_values(tensor, &moved)
    })
}

/// A coordinate from N(0, `scale`^2).
pub fn normal_point(scale: f64) -> impl Fn(&mut Stream) -> f64 {
    move |rng| scale * crate::normals::<f64>(1, rng)[0]
}

/// A coordinate from U(-`bound`, `bound`).
pub fn uniform_point(bound: f64) -> impl Fn(&mut Stream) -> f64 {
    move |rng| rng.random_range(-bound..bound)
}
