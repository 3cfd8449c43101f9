//! The field with a bottleneck: its formula, and what probes of the narrow layer are worth.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::BottleneckField;
use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::testing::assert_error;
use flows_core::{Error, normals, stream};
use nalgebra::DMatrix;

use crate::field_case::{Case, assert_near};

fn perceptron(tensors: &[Vec<f64>], activation: fn(f64) -> f64, input: Vec<f64>) -> Vec<f64> {
    let last = tensors.len() / 2 - 1;
    tensors.chunks(2).enumerate().fold(input, |x, (layer, pair)| {
        let rows = pair[0].chunks(x.len()).zip(&pair[1]);
        let images = rows.map(|(w, b)| b + w.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>());
        if layer == last { images.collect() } else { images.map(activation).collect() }
    })
}

/// upper(lower(inputs, t), t)
fn plain(parameters: &[Vec<f64>], activation: fn(f64) -> f64, inputs: &[f64], t: f64) -> Vec<f64> {
    let (lower, upper) = parameters.split_at(parameters.len() / 2);
    let narrow = perceptron(lower, activation, [inputs, &[t]].concat());
    perceptron(upper, activation, [narrow, vec![t]].concat())
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

/// Dimension, context, hidden layers, narrow width and activation.
type Setting = (usize, usize, &'static [usize], usize, Activation, fn(f64) -> f64);

const SETTINGS: [Setting; 3] = [
    (3, 2, &[5, 4], 2, Activation::Tanh, f64::tanh),
    (1, 0, &[3], 1, Activation::Softplus, softplus),
    (2, 1, &[], 3, Activation::Tanh, f64::tanh),
];

fn cases(tangents: usize) -> [Case; 3] {
    SETTINGS.map(|(dim, context, hidden, narrow, activation, _)| {
        let field = BottleneckField::new(dim, context, hidden, narrow, activation).unwrap();
        Case::new(field, tangents, 30 + dim as u64)
    })
}

/// With normal probes.
fn probed(count: usize) -> impl Iterator<Item = Case> {
    cases(0).into_iter().zip(SETTINGS).map(move |(case, setting)| {
        case.asking(normals(count * setting.3 * LANES, &mut stream(5, "probes")))
    })
}

/// sqrt(H) times each unit vector.
fn basis(narrow: usize) -> Vec<f64> {
    let entry = |(probe, i): (usize, usize)| if probe == i { (narrow as f64).sqrt() } else { 0.0 };
    let entries = (0..narrow).flat_map(|probe| (0..narrow).map(move |i| (probe, i)));
    entries.flat_map(|at| [entry(at); LANES]).collect()
}

#[test]
fn the_velocity_is_that_of_the_formula() {
    for (case, setting) in cases(0).iter().zip(SETTINGS) {
        case.check_velocity(1e-14, |parameters, z, t, context| {
            plain(parameters, setting.5, &[z, context].concat(), t)
        });
    }
}

#[test]
fn tangents_are_those_of_differences() {
    cases(2).iter().for_each(Case::check_tangents);
}

#[test]
fn an_orthogonal_basis_of_probes_gives_the_exact_trace() {
    for (case, setting) in cases(0).into_iter().zip(SETTINGS) {
        let case = case.asking(basis(setting.3));
        let out = case.evaluate();
        let (velocity, row) = out.split_at(case.dim() * LANES);
        assert_near("velocity", velocity, &case.velocity(), 1e-15);
        assert_near("trace", row, &case.trace(), 1e-10);
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for tangents in [0, 2] {
        cases(tangents).iter().for_each(Case::check_gradients);
    }
    for case in [1, 3].into_iter().flat_map(probed) {
        case.check_gradients();
    }
}

#[test]
fn single_precision_follows_double() {
    for case in cases(2).into_iter().chain(probed(2)) {
        // A few dozen roundings in a row, through three passes.
        case.check_single(200.0);
    }
}

/// A field of eight dimensions at one and the same instant in all rows.
fn still() -> Case {
    let field = BottleneckField::new(DIM, 0, &[16], NARROW, Activation::Tanh).unwrap();
    let mut case = Case::new(field, 0, 40);
    for row in case.state.chunks_mut(LANES).chain([case.time.as_mut_slice()]) {
        row.fill(row[0]);
    }
    case
}

const DIM: usize = 8;
const NARROW: usize = 2;

/// The matrix whose quadratic form is `form`, by polarisation of a symmetric part.
fn symmetric(size: usize, form: impl Fn(&[f64]) -> f64) -> DMatrix<f64> {
    let unit = |i: usize, j: usize| {
        let mut v = vec![0.0; size];
        v[i] += 1.0;
        v[j] += 1.0;
        v
    };
    // (e_i + e_j)^T S (e_i + e_j) = S_ii + S_jj + 2 S_ij, and 4 S_ii where i = j.
    let diagonal: Vec<f64> = (0..size).map(|i| form(&unit(i, i)) / 4.0).collect();
    DMatrix::from_fn(size, size, |i, j| {
        if i == j { diagonal[i] } else { 0.5 * (form(&unit(i, j)) - diagonal[i] - diagonal[j]) }
    })
}

/// Variance of a quadratic form of a probe: 2 |S|^2, less 2 sum S_ii^2 for random signs.
fn variance(form: &DMatrix<f64>, signs: bool) -> f64 {
    let diagonal = if signs { form.diagonal().norm_squared() } else { 0.0 };
    2.0 * (form.norm_squared() - diagonal)
}

fn repeated(v: &[f64]) -> Vec<f64> {
    v.iter().flat_map(|&v| [v; LANES]).collect()
}

/// eps^T J_lower J_upper eps of each row, one probe each.
fn narrow_estimates(probes: Vec<f64>) -> Vec<f64> {
    still().asking(probes).evaluate().split_off(DIM * LANES)
}

/// v^T J v of each row.
fn wide_estimates(probes: &[f64]) -> Vec<f64> {
    let mut case = still();
    let rows = case.state.chunks(LANES).zip(probes.chunks(LANES));
    (case.state, case.tangents) = (rows.flat_map(|(z, v)| [z, v].concat()).collect(), 1);
    let out = case.evaluate();
    let mut sums = vec![0.0; LANES];
    for (row, probe) in out.chunks(2 * LANES).zip(probes.chunks(LANES)) {
        for lane in 0..LANES {
            sums[lane] += row[LANES + lane] * probe[lane];
        }
    }
    sums
}

/// Mean and variance of many estimates, each with its standard error.
fn moments(seen: &[f64]) -> [[f64; 2]; 2] {
    let n = seen.len() as f64;
    let mean = seen.iter().sum::<f64>() / n;
    let power = |p: i32| seen.iter().map(|s| (s - mean).powi(p)).sum::<f64>() / n;
    let (second, fourth) = (power(2), power(4));
    // The variance of a mean of squares is (fourth moment - variance^2) / n.
    let error = ((fourth - second * second).max(0.0) / n).sqrt();
    [[mean, (second / n).sqrt()], [second, error]]
}

#[test]
fn probes_of_the_narrow_layer_are_unbiased_with_less_variance_than_those_of_the_state() {
    let trace = still().trace()[0];
    let narrow = symmetric(NARROW, |v| narrow_estimates(repeated(v))[0]);
    let wide = symmetric(DIM, |v| wide_estimates(&repeated(v))[0]);
    assert!((narrow.trace() - trace).abs() < 1e-10);
    assert!((wide.trace() - trace).abs() < 1e-10);
    let blocks = 400;
    for signs in [false, true] {
        let rng = &mut stream(9, "probes");
        let mut draw = |size: usize| -> Vec<f64> {
            let normals = normals::<f64>(size * LANES, rng);
            if signs { normals.iter().map(|v| v.signum()).collect() } else { normals }
        };
        let inner: Vec<f64> = (0..blocks).flat_map(|_| narrow_estimates(draw(NARROW))).collect();
        let outer: Vec<f64> = (0..blocks).flat_map(|_| wide_estimates(&draw(DIM))).collect();
        for (seen, form) in [(&inner, &narrow), (&outer, &wide)] {
            let [[mean, mean_error], [spread, spread_error]] = moments(seen);
            let expected = variance(form, signs);
            assert!((mean - trace).abs() < 4.0 * mean_error, "{mean} {trace}");
            assert!((spread - expected).abs() < 4.0 * spread_error, "{spread} {expected}");
        }
        let gain = variance(&wide, signs) / variance(&narrow, signs);
        assert!(gain > 1.5, "signs {signs}: {gain}");
    }
}

#[test]
fn widths_of_nothing_are_refused() {
    let layer = "width of a layer";
    for ((dim, hidden, narrow), name) in
        [((0, 1, 1), "dimension"), ((1, 0, 1), layer), ((1, 1, 0), layer)]
    {
        assert_error!(
            BottleneckField::new(dim, 0, &[hidden], narrow, Activation::Tanh),
            Error::Parameter { .. },
            [name, "at least 1"]
        );
    }
}
