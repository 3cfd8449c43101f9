//! Orthogonal, triangular and decomposed linear maps, against plain matrices and their theory.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{Tolerance, assert_error, check_bijector, normal_point, perturb};
use flows_core::{
    Batch, Bijector, Chain, Context, Error, Layer, Map, Parameters, Real, Role, Stream, Tape,
    Values, normals, stream,
};
use flows_finite::linear::{Generator, LuLinear, Orthogonal, Triangle, Triangular, qr, svd};
use nalgebra::DMatrix;

pub(super) const GENERATORS: [Generator; 5] = [
    Generator::Exponential,
    Generator::Cayley,
    Generator::Householder(1),
    Generator::Householder(2),
    Generator::Householder(5),
];

pub(super) fn layer<E: Real>(map: impl Map<E> + 'static) -> Layer<E> {
    Layer::new(map, &mut stream(1, "init")).unwrap()
}

pub(super) fn orthogonal<E: Real>(dim: usize, generator: Generator, rng: &mut Stream) -> Layer<E> {
    Layer::new(Orthogonal::new(dim, generator).unwrap(), rng).unwrap()
}

pub(super) fn set<E: Real>(model: &mut impl Parameters<E>, part: &str, values: &[f64]) {
    let values: Vec<E> = values.iter().map(|&v| E::of(v)).collect();
    let mut found = false;
    let result = model.visit_mut(&mut |name, _, tensor| {
        if name != part {
            return Ok(());
        }
        found = true;
        set_values(tensor, &values)
    });
    result.unwrap();
    assert!(found, "{part}");
}

pub(super) fn get<E: Real>(model: &impl Parameters<E>, part: &str) -> Vec<f64> {
    let mut values = Vec::new();
    model.visit(&mut |name, _, tensor| {
        if name == part {
            values = tensor.values().iter().map(|v| v.as_f64()).collect();
        }
    });
    values
}

/// Moves learned parameters by `scale` N(0, 1).
pub(super) fn moved<E: Real, B: Bijector<E>>(mut bijector: B, scale: f64) -> B {
    let mut rng = stream(2, "move");
    let result = bijector.visit_mut(&mut |_, role, tensor| {
        if role == Role::Fixed {
            return Ok(());
        }
        let noise = normals::<f64>(tensor.values().len(), &mut rng);
        let values = tensor.values().into_iter().zip(noise);
        let values: Vec<E> = values.map(|(v, n)| v + E::of(scale * n)).collect();
        set_values(tensor, &values)
    });
    result.unwrap();
    bijector
}

/// The Jacobian of a linear map, from the images of 0 and of the unit vectors.
fn matrix_of<E: Real>(bijector: &dyn Bijector<E>) -> DMatrix<f64> {
    let dim = bijector.dim();
    let mut rows = vec![E::zero(); (dim + 1) * dim];
    for i in 0..dim {
        rows[(i + 1) * dim + i] = E::one();
    }
    let input: Batch<E> = batch(rows, dim + 1, dim).unwrap();
    let out = bijector.forward(&input, &Context::none(), &mut Tape::none()).unwrap();
    let out = out.value.values();
    DMatrix::from_fn(dim, dim, |i, j| out[(j + 1) * dim + i].as_f64() - out[i].as_f64())
}

fn distance(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    (a - b).amax()
}

fn skew(entries: &[f64], dim: usize) -> DMatrix<f64> {
    let lower = DMatrix::from_row_slice(dim, dim, entries).lower_triangle();
    &lower - lower.transpose()
}

#[test]
fn generators_agree_with_the_formulae() {
    for dim in [1, 2, 3, 7] {
        let one = DMatrix::<f64>::identity(dim, dim);
        for generator in GENERATORS {
            let layer = moved(orthogonal::<f64>(dim, generator, &mut stream(1, "init")), 0.8);
            let plain = match generator {
                Generator::Exponential => {
                    // (1 + A / 2^40)^(2^40), corrected to second order.
                    let small = skew(&get(&layer, "skew"), dim) / 2.0_f64.powi(16);
                    let mut power = &one + &small + &small * &small / 2.0;
                    for _ in 0..16 {
                        power = &power * &power;
                    }
                    power
                }
                Generator::Cayley => {
                    let a = skew(&get(&layer, "skew"), dim);
                    (&one + &a) * (&one - &a).try_inverse().unwrap()
                }
                Generator::Householder(_) => {
                    get(&layer, "reflections").chunks(dim).fold(one.clone(), |q, v| {
                        let v = DMatrix::from_column_slice(dim, 1, v);
                        (&one - &v * v.transpose() * 2.0 / v.norm_squared()) * q
                    })
                }
            };
            let error = distance(&matrix_of(&layer), &plain);
            let allowed = if generator == Generator::Exponential { 1e-9 } else { 1e-13 };
            assert!(error < allowed, "{generator:?} {dim}: {error:e}");
        }
    }
}

/// Claim C21: |Q^T Q - I| and det Q = +1, +1, (-1)^K.
#[test]
fn matrices_are_orthogonal_to_rounding_with_the_right_determinant() {
    fn check<E: Real>() {
        for dim in [1, 2, 5, 16, 64] {
            for scale in [0.05, 0.4, 5.0, 1e4] {
                let all = GENERATORS.into_iter().chain([Generator::Householder(2 * dim)]);
                for generator in all {
                    let rng = &mut stream(1, "init");
                    let layer = moved(orthogonal::<E>(dim, generator, rng), scale);
                    let q = matrix_of(&layer);
                    let error = distance(&(q.transpose() * &q), &DMatrix::identity(dim, dim));
                    let allowed = 2.0 * E::epsilon().as_f64() * (dim as f64).sqrt();
                    assert!(error <= allowed, "{generator:?} {dim} {scale}: {error:e}");
                    let sign = match generator {
                        Generator::Householder(k) if k % 2 == 1 => -1.0,
                        _ => 1.0,
                    };
                    assert!((q.determinant() - sign).abs() < 1e-3, "{generator:?} {dim} {scale}");
                }
            }
        }
    }
    check::<f64>();
    check::<f32>();
}

/// Claim C21: a half turn is out of the reach of Cayley, whose generator grows without bound.
#[test]
fn cayley_reaches_a_half_turn_only_in_the_limit() {
    let rng = &mut stream(1, "init");
    let mut cayley = orthogonal::<f64>(2, Generator::Cayley, rng);
    for missing in [1.0, 1e-2, 1e-4, 1e-6] {
        let angle = std::f64::consts::PI - missing;
        set(&mut cayley, "skew", &[0.0, 0.0, (angle / 2.0).tan(), 0.0]);
        let q = matrix_of(&cayley);
        // The tangent loses what it gains in size.
        let rounding = 1e-15 / missing;
        assert!((q[(0, 0)] - angle.cos()).abs() < 1e-15 + rounding * missing.sin());
        assert!((q[(1, 0)] - angle.sin()).abs() < rounding + 1e-15);
    }
    let mut exponential = orthogonal::<f64>(2, Generator::Exponential, rng);
    set(&mut exponential, "skew", &[0.0, 0.0, std::f64::consts::PI, 0.0]);
    assert!(distance(&matrix_of(&exponential), &-DMatrix::identity(2, 2)) < 1e-15);
}

#[test]
fn even_maps_start_at_the_identity() {
    for dim in [1, 2, 5, 64] {
        let rng = &mut stream(1, "init");
        for generator in [Generator::Exponential, Generator::Cayley, Generator::Householder(6)] {
            let one = DMatrix::identity(dim, dim);
            let map = orthogonal::<f64>(dim, generator, rng);
            assert!(distance(&matrix_of(&map), &one) < 1e-15, "{generator:?}");
            let maps: [Chain<f64>; 2] =
                [qr(dim, generator, rng).unwrap(), svd(dim, generator, rng).unwrap()];
            maps.iter().for_each(|map| assert!(distance(&matrix_of(map), &one) < 2e-15));
        }
    }
}

/// Moves parameters by gradient descent towards a rotation: equal reflections must part.
#[test]
fn pairs_of_equal_reflections_have_a_gradient() {
    let rng = &mut stream(1, "init");
    let layer = orthogonal::<f64>(3, Generator::Householder(2), rng);
    let z = batch(normals(6, rng), 2, 3).unwrap();
    let mut tape = Tape::recording();
    let out = layer.forward(&z, &Context::none(), &mut tape).unwrap();
    let outer: Vec<f64> = (0..6).map(|i| f64::from(i) + 1.0).collect();
    let mut gradients = tape.backward(|gradients| gradients.add(&out.value, &outer)).unwrap();
    layer.visit(&mut |_, _, tensor| {
        let gradient = gradients.take(tensor).unwrap();
        let (first, second) = gradient.split_at(3);
        for (a, b) in first.iter().zip(second) {
            assert!((a + b).abs() < 1e-12 && a.abs() > 1e-3, "{a} {b}");
        }
    });
}

#[test]
fn triangles_agree_with_plain_loops() {
    for dim in [1, 2, 5, 43] {
        for triangle in [Triangle::Lower, Triangle::Upper] {
            let mut layer = moved(layer::<f64>(Triangular::new(dim, triangle).unwrap()), 0.3);
            let s = get(&layer, "log_diagonal");
            let entries = get(&layer, "entries");
            let plain = DMatrix::from_fn(dim, dim, |i, j| match triangle {
                _ if i == j => s[i].exp(),
                Triangle::Lower if j > i => 0.0,
                Triangle::Upper if j < i => 0.0,
                _ => entries[i * dim + j],
            });
            assert!(distance(&matrix_of(&layer), &plain) < 1e-14 * 43.0);
            // The log-det is what an LU decomposition of the dense matrix gives.
            let z = batch(vec![0.3; dim], 1, dim).unwrap();
            let out = layer.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
            let dense = plain.lu().determinant().ln();
            assert!((out.log_det.values()[0] - dense).abs() < 1e-10 * (1.0 + dense.abs()));
            set(&mut layer, "bias", &vec![1.5; dim]);
            let z = batch(vec![0.0; dim], 1, dim).unwrap();
            let out = layer.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
            assert_eq!(out.value.values(), vec![1.5; dim]);
        }
    }
}

/// Claim C21: the O(D) log-dets of PLU, QR and SVD are those of a dense decomposition.
#[test]
fn log_dets_agree_with_dense_decompositions() {
    fn agree(name: &str, map: &dyn Bijector<f64>) {
        let dim = map.dim();
        let z = batch(vec![0.3; dim], 1, dim).unwrap();
        let out = map.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
        let log_det = out.log_det.values()[0];
        let dense = matrix_of(map).lu().determinant().abs().ln();
        let error = (log_det - dense).abs();
        assert!(error < 1e-10 * (1.0 + dense.abs()), "{name} {dim}: {log_det} {dense}");
    }
    for dim in [1, 2, 5, 32] {
        let size = 0.5 / (dim as f64).sqrt();
        agree("lu", &moved(layer(LuLinear::new(dim).unwrap()), size));
        for generator in GENERATORS {
            let rng = &mut stream(1, "init");
            agree("qr", &moved(qr(dim, generator, rng).unwrap(), size));
            agree("svd", &moved(svd(dim, generator, rng).unwrap(), size));
        }
    }
}

fn check(mut bijector: impl Bijector<f64>) {
    let mut rng = stream(3, "perturb");
    perturb(&mut bijector, 0.4, &mut rng).unwrap();
    check_bijector(&mut bijector, normal_point(2.0), Tolerance::default());
}

#[test]
fn linear_maps_are_bijective() {
    for dim in [1, 2, 5] {
        let rng = &mut stream(1, "init");
        check(layer(LuLinear::new(dim).unwrap()));
        for triangle in [Triangle::Lower, Triangle::Upper] {
            check(layer(Triangular::new(dim, triangle).unwrap()));
        }
        for generator in GENERATORS {
            check(orthogonal(dim, generator, rng));
            check(qr(dim, generator, rng).unwrap());
            check(svd(dim, generator, rng).unwrap());
        }
    }
    let order = [2, 0, 1];
    check(LuLinear::from_factors(&order, &[0.0; 9], &[0.0; 9], &[0.5, 2.0, 1.5]).unwrap());
}

#[test]
fn a_large_generator_has_the_right_gradient() {
    // Six halvings on the way, where a step of the reverse recursion left out would show.
    for generator in [Generator::Exponential, Generator::Cayley] {
        let rng = &mut stream(1, "init");
        let mut layer = moved(orthogonal::<f64>(4, generator, rng), 12.0);
        check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
    }
}

#[test]
fn settings_and_parameters_out_of_range_are_errors() {
    let rng = &mut stream(1, "init");
    assert_error!(
        Orthogonal::new(0, Generator::Cayley),
        Error::Parameter { .. },
        ["features of an orthogonal map", "at least 1"]
    );
    assert_error!(
        Orthogonal::new(3, Generator::Householder(0)),
        Error::Parameter { .. },
        ["reflections", "at least 1"]
    );
    assert_error!(
        Triangular::new(0, Triangle::Lower),
        Error::Parameter { .. },
        ["features of a triangular layer", "at least 1"]
    );
    let z = batch(vec![0.3; 4], 2, 2).unwrap();
    for (generator, part, values) in [
        (Generator::Cayley, "skew", [0.0, 0.0, f64::NAN, 0.0]),
        (Generator::Exponential, "skew", [0.0, 0.0, 1e9, 0.0]),
        (Generator::Exponential, "skew", [0.0, 0.0, f64::INFINITY, 0.0]),
        (Generator::Householder(2), "reflections", [0.0, 0.0, 1.0, 0.0]),
        (Generator::Householder(2), "reflections", [1.0, f64::NAN, 1.0, 0.0]),
        (Generator::Householder(2), "reflections", [1.0, f64::INFINITY, 1.0, 0.0]),
    ] {
        let mut layer = orthogonal::<f64>(2, generator, rng);
        set(&mut layer, part, &values);
        let error = layer.forward(&z, &Context::none(), &mut Tape::none()).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{error}");
    }
    for extreme in [1e-310, 1e-160, 1e160, 1e300] {
        let mut layer = orthogonal::<f64>(2, Generator::Householder(1), rng);
        set(&mut layer, "reflections", &[extreme, extreme]);
        let swapped = DMatrix::from_row_slice(2, 2, &[0.0, -1.0, -1.0, 0.0]);
        assert!(distance(&matrix_of(&layer), &swapped) < 1e-14, "{extreme:e}");
    }
}
