//! Every base against its density written out, quadrature and differences.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::collections::HashMap;
use std::f64::consts::PI;

use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{assert_error, perturb};
use flows_core::{Base, Batch, Error, Gradients, Parameters, Real, Tape, Values, normals, stream};

/// Every learned base, its parameters away from the start.
pub(super) fn bases(dim: usize) -> Vec<(&'static str, Base<f64>)> {
    let all = [
        ("diagonal normal", Base::diagonal_normal(dim).unwrap()),
        ("full normal", Base::full_normal(dim).unwrap()),
        ("mixture", Base::mixture(dim, 3, &mut stream(1, "mixture")).unwrap()),
        ("t", Base::student_t(dim, 3.0).unwrap()),
        ("Laplace", Base::laplace(dim).unwrap()),
        ("logistic", Base::logistic(dim).unwrap()),
    ];
    let moved = |(name, mut base): (_, Base<f64>)| {
        perturb(&mut base, 0.5, &mut stream(2, name)).unwrap();
        (name, base)
    };
    all.into_iter().map(moved).collect()
}

/// The same base in single precision.
pub(super) fn narrow(name: &str, wide: &Base<f64>) -> Base<f32> {
    let dim = wide.dim();
    let mut base = match name {
        "diagonal normal" => Base::diagonal_normal(dim).unwrap(),
        "full normal" => Base::full_normal(dim).unwrap(),
        "mixture" => Base::mixture(dim, 3, &mut stream(1, "mixture")).unwrap(),
        "t" => Base::student_t(dim, 3.0).unwrap(),
        "Laplace" => Base::laplace(dim).unwrap(),
        _ => Base::logistic(dim).unwrap(),
    };
    let values = parameters(wide);
    let set = base.visit_mut(&mut |name, _, tensor| {
        set_values(tensor, &values[name].iter().map(|&v| v as f32).collect::<Vec<_>>())
    });
    set.unwrap();
    base
}

pub(super) fn parameters(base: &Base<f64>) -> HashMap<String, Vec<f64>> {
    let mut all = HashMap::new();
    base.visit(&mut |name, _, tensor| {
        all.insert(name.to_owned(), tensor.values());
    });
    all
}

/// Density of one feature with location 0 and scale 1.
fn standard(name: &str, u: f64) -> f64 {
    match name {
        "t" => 6.0 * 3.0_f64.sqrt() / (PI * (3.0 + u * u).powi(2)),
        "Laplace" => 0.5 * (-u.abs()).exp(),
        "logistic" => (-u.abs()).exp() / (1.0 + (-u.abs()).exp()).powi(2),
        _ => (-0.5 * u * u).exp() / (2.0 * PI).sqrt(),
    }
}

/// The log-density, written out.
fn plain(name: &str, base: &Base<f64>, z: &[f64]) -> f64 {
    let (all, dim) = (parameters(base), z.len());
    let location = &all["location"];
    let independent = |k: usize| -> f64 {
        let part = |i: usize| {
            let scale = all["log_scale"][k * dim + i].exp();
            standard(name, (z[i] - location[k * dim + i]) / scale) / scale
        };
        (0..dim).map(part).product()
    };
    match name {
        "full normal" => {
            let stored = &all["factor"];
            let factor = nalgebra::DMatrix::from_fn(dim, dim, |i, j| match i.cmp(&j) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => stored[i * dim + j].exp(),
                std::cmp::Ordering::Greater => stored[i * dim + j],
            });
            let covariance = &factor * factor.transpose();
            let away = nalgebra::DVector::from_fn(dim, |i, _| z[i] - location[i]);
            let determinant = (2.0 * PI * &covariance).determinant();
            let inverse = covariance.try_inverse().unwrap();
            -0.5 * (away.dot(&(inverse * &away)) + determinant.ln())
        }
        "mixture" => {
            let weights: Vec<f64> = all["logits"].iter().map(|l| l.exp()).collect();
            let total: f64 = weights.iter().sum();
            let terms = weights.iter().enumerate().map(|(k, w)| w / total * independent(k));
            terms.sum::<f64>().ln()
        }
        _ => independent(0).ln(),
    }
}

fn points(rows: usize, dim: usize) -> Batch<f64> {
    let values = normals::<f64>(rows * dim, &mut stream(3, "points"));
    batch(values.iter().map(|v| 2.0 * v).collect(), rows, dim).unwrap()
}

#[test]
fn log_densities_are_those_of_the_formulas() {
    for dim in [1, 3] {
        let z = points(300, dim);
        for (name, base) in bases(dim) {
            let got = base.log_prob(&z, &mut Tape::none()).unwrap().values();
            let single = z.values().iter().map(|&v| v as f32).collect();
            let single = batch(single, 300, dim).unwrap();
            let single = narrow(name, &base).log_prob(&single, &mut Tape::none()).unwrap().values();
            for (row, z) in z.values().chunks(dim).enumerate() {
                let expected = plain(name, &base, z);
                let error = (got[row] - expected).abs();
                assert!(error < 1e-12 * (1.0 + expected.abs()), "{name}: {} {expected}", got[row]);
                // Inputs and parameters are rounded to 6e-8, and slopes are up to some tens.
                let error = (f64::from(single[row]) - expected).abs();
                assert!(
                    error < 1e-5 * (1.0 + expected.abs()),
                    "{name}: {} {expected}",
                    single[row]
                );
            }
        }
    }
}

#[test]
fn t_densities_have_their_constants() {
    let at = |nu: f64| -> f64 {
        let base = Base::<f64>::student_t(1, nu).unwrap();
        let z = batch(vec![1.3], 1, 1).unwrap();
        base.log_prob(&z, &mut Tape::none()).unwrap().values()[0]
    };
    let u = 1.3_f64;
    let cauchy = -(PI * (1.0 + u * u)).ln();
    let two = -(2.0 * 2.0_f64.sqrt()).ln() - 1.5 * (1.0 + u * u / 2.0).ln();
    let normal = -0.5 * u * u - 0.5 * (2.0 * PI).ln();
    assert!((at(1.0) - cauchy).abs() < 1e-14 && (at(2.0) - two).abs() < 1e-14);
    // Of order 1/nu from the normal's.
    assert!((at(1e5) - normal).abs() < 1e-5);
    for nu in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_error!(
            Base::<f64>::student_t(1, nu),
            Error::Parameter { .. },
            ["degrees of freedom of a t distribution", "positive and finite", &format!("got {nu}")]
        );
    }
    assert_error!(
        Base::<f64>::mixture(1, 0, &mut stream(0, "mixture")),
        Error::Parameter { .. },
        ["components of a mixture", "at least 1", "got 0"]
    );
}

/// The mass below each of the bounds, by the trapezoidal rule in t with z = sinh t.
fn masses(base: &Base<f64>, bounds: &[f64]) -> Vec<f64> {
    let step = 1e-3;
    let mesh: Vec<f64> = (-30_000..30_000).map(|i| f64::from(i) * step).collect();
    let z = batch(mesh.iter().map(|t| t.sinh()).collect(), mesh.len(), 1).unwrap();
    let log_density = base.log_prob(&z, &mut Tape::none()).unwrap().values();
    let cells = mesh.iter().zip(log_density).map(|(t, l)| (t.sinh(), l.exp() * t.cosh() * step));
    let cells: Vec<(f64, f64)> = cells.collect();
    let below = |bound: &f64| cells.iter().filter(|c| c.0 < *bound).map(|c| c.1).sum::<f64>();
    bounds.iter().map(below).collect()
}

#[test]
fn densities_integrate_to_one_and_draws_follow_them() {
    const DRAWS: usize = 100_000;
    for (name, base) in bases(1) {
        let bounds = [-1.5, -0.3, 0.4, 2.0, f64::INFINITY];
        let expected = masses(&base, &bounds);
        // The kink of Laplace costs the square of the step.
        assert!((expected[4] - 1.0).abs() < 1e-6, "{name}: {}", expected[4]);
        let draws = base.sample(DRAWS, &mut stream(4, "draws")).unwrap().values();
        for (bound, mass) in bounds.iter().zip(&expected).take(4) {
            let share = draws.iter().filter(|z| *z < bound).count() as f64 / DRAWS as f64;
            // A cell of the rule, 2e-3 wide at most, may fall on either side.
            let error = 4.0 * (mass * (1.0 - mass) / DRAWS as f64).sqrt() + 1e-3;
            assert!((share - mass).abs() < error, "{name} below {bound}: {share} {mass}");
        }
    }
}

#[test]
fn draws_of_a_full_normal_have_its_covariance() {
    const DRAWS: usize = 100_000;
    let (_, base) = bases(3).remove(1);
    let stored = &parameters(&base)["factor"];
    let entry = |i: usize, j: usize| match i.cmp(&j) {
        std::cmp::Ordering::Less => 0.0,
        std::cmp::Ordering::Equal => stored[i * 3 + j].exp(),
        std::cmp::Ordering::Greater => stored[i * 3 + j],
    };
    let covariance = |i: usize, j: usize| (0..3).map(|k| entry(i, k) * entry(j, k)).sum::<f64>();
    let draws = base.sample(DRAWS, &mut stream(5, "draws")).unwrap().values();
    let location = &parameters(&base)["location"];
    for (i, j) in [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)] {
        let product = |z: &[f64]| (z[i] - location[i]) * (z[j] - location[j]);
        let mean = draws.chunks(3).map(product).sum::<f64>() / DRAWS as f64;
        let variance = covariance(i, i) * covariance(j, j) + covariance(i, j).powi(2);
        let error = 4.0 * (variance / DRAWS as f64).sqrt();
        assert!((mean - covariance(i, j)).abs() < error, "{i} {j}: {mean} {}", covariance(i, j));
    }
}

/// Gradient by the tape against central differences, for every parameter but `except`.
fn check_parameters(
    name: &str,
    base: &Base<f64>,
    gradients: &mut Gradients<f64>,
    except: &str,
    value: impl Fn(&Base<f64>) -> f64,
) {
    let mut tensors = Vec::new();
    base.visit(&mut |part, _, tensor| tensors.push((part.to_owned(), tensor.clone())));
    for (part, tensor) in tensors {
        let exact = gradients.take(&tensor).unwrap();
        for (i, exact) in exact.iter().enumerate() {
            let at = |by: f64| {
                let mut values = tensor.values();
                values[i] += by;
                let mut moved = base.clone();
                let set = moved.visit_mut(&mut |this, _, tensor| {
                    if this == part { set_values(tensor, &values) } else { Ok(()) }
                });
                set.unwrap();
                value(&moved)
            };
            // Third derivatives of order ten times 1e-10, rounding of 1e-14 over 1e-5.
            let numerical = if part == except { 0.0 } else { (at(1e-5) - at(-1e-5)) / 2e-5 };
            assert!((exact - numerical).abs() < 1e-7, "{name} {part} [{i}]: {exact} {numerical}");
        }
    }
}

#[test]
fn gradients_of_log_densities_agree_with_differences() {
    const ROWS: usize = 150;
    for dim in [1, 3] {
        for (name, base) in bases(dim) {
            let z = points(ROWS, dim);
            let mean = |base: &Base<f64>, z: &Batch<f64>| {
                -base.log_prob(z, &mut Tape::none()).unwrap().values().iter().sum::<f64>()
                    / ROWS as f64
            };
            let mut tape = Tape::recording();
            let log_prob = base.log_prob(&z, &mut tape).unwrap();
            let mut gradients = gradient_of_mean(-1.0, &log_prob, tape).unwrap();
            check_parameters(name, &base, &mut gradients, "", |base| mean(base, &z));
            let exact = gradients.take(&z).unwrap();
            for at in (0..ROWS * dim).step_by(17) {
                let moved = |by: f64| {
                    let mut values = z.values();
                    values[at] += by;
                    mean(&base, &batch(values, ROWS, dim).unwrap())
                };
                let numerical = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((exact[at] - numerical).abs() < 1e-8, "{name}: {} {numerical}", exact[at]);
            }
        }
    }
}

#[test]
fn gradients_of_draws_agree_with_differences() {
    const ROWS: usize = 150;
    for dim in [1, 3] {
        let judge = Base::<f64>::standard_normal(dim);
        for (name, base) in bases(dim) {
            let rng = || stream(6, "draws");
            let value = |base: &Base<f64>| {
                let z = base.draw(ROWS, &mut Tape::none(), &mut rng()).unwrap();
                -judge.log_prob(&z, &mut Tape::none()).unwrap().values().iter().sum::<f64>()
                    / ROWS as f64
            };
            let mut tape = Tape::recording();
            let z = base.draw(ROWS, &mut tape, &mut rng()).unwrap();
            let sampled = base.sample(ROWS, &mut rng()).unwrap();
            assert_eq!(z.values(), sampled.values(), "{name}");
            let log_prob = judge.log_prob(&z, &mut tape).unwrap();
            let mut gradients = gradient_of_mean(-1.0, &log_prob, tape).unwrap();
            check_parameters(name, &base, &mut gradients, "logits", value);
        }
    }
}

/// The first draws of more are those of fewer, in one call or in two, past a block of rows and past a
/// chunk of them.
#[track_caller]
fn check_prefixes<E: Real>(name: &str, base: &Base<E>) {
    const ALL: usize = 4_500;
    let rows = |rows: usize, rng: &mut _| base.sample(rows, rng).unwrap().values();
    let all = rows(ALL, &mut stream(7, "draws"));
    for fewer in [1, 10, 129, 4_096] {
        let mut rng = stream(7, "draws");
        let mut parts = rows(fewer, &mut rng);
        assert!(parts == all[..fewer * base.dim()], "{name}: {fewer} of {ALL}");
        parts.extend(rows(ALL - fewer, &mut rng));
        assert!(parts == all, "{name}: {fewer} and the rest");
    }
}

#[test]
fn fewer_draws_are_the_first_of_more() {
    for dim in [1, 3] {
        for (name, base) in bases(dim) {
            check_prefixes(name, &base);
            check_prefixes(name, &narrow(name, &base));
        }
        let ends = || (vec![-1.0; dim], vec![2.0; dim]);
        check_prefixes("standard normal", &Base::<f64>::standard_normal(dim));
        check_prefixes("standard normal", &Base::<f32>::standard_normal(dim));
        check_prefixes("box", &Base::<f64>::uniform_box(ends().0, ends().1).unwrap());
        check_prefixes("box", &Base::<f32>::uniform_box(ends().0, ends().1).unwrap());
    }
}

/// On a box of sides 2 the density is 2^-D, and a row with one coordinate outside has none, whatever the others
/// are: neither an average nor an error.
#[test]
fn a_box_has_the_density_of_its_volume_in_any_dimension() {
    for dim in [1, 10, 2_000] {
        let base = Base::<f64>::uniform_box(vec![-1.0; dim], vec![1.0; dim]).unwrap();
        let inside = vec![0.25; dim];
        let mut outside = inside.clone();
        outside[dim - 1] = 1.5;
        let rows = batch([inside, outside].concat(), 2, dim).unwrap();
        let log_prob = base.log_prob(&rows, &mut Tape::none()).unwrap().values();
        let exact = -(dim as f64) * 2_f64.ln();
        // A sum of D equal terms.
        assert!(
            (log_prob[0] - exact).abs() <= dim as f64 * f64::EPSILON * exact.abs(),
            "{log_prob:?}"
        );
        assert_eq!(log_prob[1], f64::NEG_INFINITY);
    }
}
