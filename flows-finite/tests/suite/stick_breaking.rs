//! Real vectors onto the open simplex.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::tensor::batch;
use flows_core::testing::{
    Tolerance, check_bijector, differences, distance, largest_difference, normal_point, perturb,
};
use flows_core::{
    Bijector, Chain, Context, Error, Inverse, Layer, Map, Real, Tape, Values, normals, stream,
};
use flows_finite::{Elementwise, FixedAffine, Interval, LuLinear, Planar, StickBreaking};

use crate::sums::{gradients, mapped, sum_of};

fn layer<E: Real>(map: impl Map<E> + 'static) -> Layer<E> {
    Layer::new(map, &mut stream(1, "init")).unwrap()
}

fn sticks<E: Real>(dim: usize) -> Layer<E> {
    layer(StickBreaking::new(dim))
}

/// The definition, part by part.
fn plain(z: &[f64]) -> (Vec<f64>, f64) {
    let (mut rest, mut log_det) = (1.0, 0.0);
    let mut parts = Vec::new();
    for (i, value) in z.iter().enumerate() {
        // sigmoid(z_i - log(D - i))
        let share = 1.0 / (1.0 + (z.len() - i) as f64 * (-value).exp());
        log_det += f64::ln(rest * share * (1.0 - share));
        parts.push(rest * share);
        rest -= rest * share;
    }
    (parts, log_det)
}

fn check(mut bijector: impl Bijector<f64>, spread: f64) {
    perturb(&mut bijector, 0.3, &mut stream(3, "perturb")).unwrap();
    check_bijector(&mut bijector, normal_point(spread), Tolerance::default());
}

#[test]
fn stick_breaking_is_bijective() {
    for dim in [1, 2, 5] {
        check(sticks(dim), 0.7);
        let affine = Arc::new(FixedAffine::new(2.0, -1.0).unwrap());
        let parts: Vec<Box<dyn Bijector<f64>>> = vec![
            Box::new(layer(LuLinear::new(dim).unwrap())),
            Box::new(layer(Planar::new(dim))),
            Box::new(sticks(dim)),
            Box::new(layer(Elementwise::<f64>::new(dim, affine))),
        ];
        check(Chain::new(dim, parts).unwrap(), 0.5);
    }
    let interval = Arc::new(Interval::new(-9.0, 9.0).unwrap());
    let parts: Vec<Box<dyn Bijector<f64>>> = vec![
        Box::new(Inverse::new(Box::new(layer(Elementwise::<f64>::new(1, interval))))),
        Box::new(sticks(1)),
    ];
    check(Chain::new(1, parts).unwrap(), 0.5);
}

#[test]
fn values_and_gradients_agree_with_the_definition() {
    for dim in [1, 2, 5, 20] {
        let z: Vec<f64> = normals(dim, &mut stream(dim as u64, "z"));
        let (x, log_det) = plain(&z);
        let (value, got) = mapped::<f64>(&sticks(dim), true, &z);
        assert!(distance(&value, &x) <= 1e-14 && distance(&got, &[log_det]) <= 1e-13);
        let point = batch(z.clone(), 1, dim).unwrap();
        let found = gradients(&sticks(dim), true, &point).unwrap().remove(0).1;
        let expected = differences(&z, |z| {
            let (x, log_det) = plain(z);
            sum_of(&x, log_det)
        });
        assert!(distance(&found, &expected) <= 1e-8);
        let (back, back_log_det) = mapped::<f64>(&sticks(dim), false, &x);
        assert!(distance(&back, &z) <= 1e-12 && distance(&back_log_det, &[-log_det]) <= 1e-12);
    }
}

#[test]
fn zero_is_the_uniform_point() {
    for dim in [1, 3, 100] {
        let (x, log_det) = mapped::<f64>(&sticks(dim), true, &vec![0.0; dim]);
        let part = 1.0 / (dim as f64 + 1.0);
        assert!(x.iter().all(|x| (x / part - 1.0).abs() <= 1e-13));
        // The product of all D + 1 parts.
        assert!(distance(&log_det, &[(dim as f64 + 1.0) * part.ln()]) <= 1e-13);
    }
}

#[test]
fn single_precision_comes_back() {
    let mut rng = stream(4, "z");
    for (dim, spread) in [(1, 3.0), (5, 2.0), (50, 1.0)] {
        let z: Vec<f64> = normals::<f32>(200 * dim, &mut rng)
            .iter()
            .map(|z| f64::from(spread as f32 * z))
            .collect();
        let (x, log_det) = mapped::<f32>(&sticks(dim), true, &z);
        let (wide_x, wide_log_det) = mapped::<f64>(&sticks(dim), true, &z);
        let (back, _) = mapped::<f32>(&sticks(dim), false, &x);
        let epsilon = f64::from(f32::EPSILON);
        let ratios: Vec<f64> = x.iter().zip(&wide_x).map(|(x, w)| x / w).collect();
        let relative = largest_difference(&ratios, &vec![1.0; ratios.len()]);
        let logs = distance(&log_det, &wide_log_det);
        // The last part is known to D epsilon.
        let mut worst: f64 = 0.0;
        for (row, (back, z)) in back.chunks(dim).zip(z.chunks(dim)).enumerate() {
            let last = 1.0 - wide_x[row * dim..(row + 1) * dim].iter().sum::<f64>();
            let condition = 1.0 + dim as f64 / last;
            worst = worst.max(distance(back, z) / condition);
        }
        println!(
            "D {dim}: parts {:.1}, log-det {:.1}, back {:.2} epsilon / (1 + D / last part)",
            relative / epsilon,
            logs / epsilon,
            worst / epsilon
        );
        // log x_i sums up to D terms of size up to |log x_i|.
        assert!(relative <= 8.0 * (2.0 + dim as f64) * epsilon && logs <= 16.0 * epsilon);
        assert!(worst <= 8.0 * epsilon);
    }
}

#[test]
fn saturated_parts_come_back_finite() {
    fn check_in<E: Real>() {
        for dim in [1, 2, 64] {
            for value in [-1e30, -1e6, -200.0, 200.0, 1e6, 1e30] {
                for place in [0, dim - 1] {
                    let mut z = vec![0.1; dim];
                    z[place] = value;
                    let (x, log_det) = mapped::<E>(&sticks(dim), true, &z);
                    assert!(x.iter().all(|&x| x > 0.0 && x < 1.0), "{dim} {value} {x:?}");
                    assert!(log_det[0].is_finite());
                    let (z, log_det) = mapped::<E>(&sticks(dim), false, &x);
                    assert!(z.iter().chain(&log_det).all(|v| v.is_finite()), "{dim} {value}");
                    let x = x.iter().map(|&x| E::of(x)).collect();
                    let x = batch(x, 1, dim).unwrap();
                    let all = gradients(&sticks(dim), false, &x).unwrap();
                    assert!(all[0].1.iter().all(|g| g.is_finite()), "{dim} {value}");
                }
            }
        }
    }
    check_in::<f32>();
    check_in::<f64>();
}

#[test]
fn rows_outside_of_the_simplex_are_errors_that_name_them() {
    let good = [0.2, 0.3];
    for bad in [[0.0, 0.5], [-0.1, 0.5], [0.6, 0.5], [2.0, 0.1], [f64::NAN, 0.1], [0.1, 1e30]] {
        let mut rows = good.repeat(300);
        rows[2 * 150..2 * 151].copy_from_slice(&bad);
        let x = batch(rows, 300, 2).unwrap();
        let result = sticks(2).inverse(&x, &Context::none(), &mut Tape::none());
        assert!(matches!(result, Err(Error::NonFinite { row: 150, .. })), "{bad:?}");
    }
    let x = batch(good.to_vec(), 1, 2).unwrap();
    assert!(
        sticks(2).inverse(&x, &Context::none(), &mut Tape::none()).unwrap().value.values()[0] < 0.0
    );
}
