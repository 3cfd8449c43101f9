//! Planar flows.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, check_bijector, differences, distance, normal_point, perturb,
};
use flows_core::{
    Bijector, Chain, Context, Cost, Error, Inverse, Layer, Parameters, Real, Tape, Values, normals,
    stream,
};
use flows_finite::LuLinear;
use flows_finite::Planar;

use crate::sums::{gradients, mapped, sum_of};

fn fresh<E: Real>(dim: usize, seed: u64) -> Layer<E> {
    Layer::new(Planar::new(dim), &mut stream(seed, "init")).unwrap()
}

fn planar<E: Real>(w: &[f64], v: &[f64], b: f64) -> Layer<E> {
    let mut layer = fresh(w.len(), 1);
    let values = |name: &str| match name {
        "weight" => w.to_vec(),
        "direction" => v.to_vec(),
        _ => vec![b],
    };
    let set = |name: &str, tensor: &mut flows_core::Batch<E>| {
        set_values(tensor, &values(name).into_iter().map(E::of).collect::<Vec<E>>())
    };
    layer.visit_mut(&mut |name, _, tensor| set(name, tensor)).unwrap();
    layer
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// v of the paper, with |w|^2.
fn constrained(w: &[f64], v: &[f64]) -> Vec<f64> {
    let (u, n) = (dot(w, v), dot(w, w));
    let m = -1.0 + u.exp().ln_1p();
    v.iter().zip(w).map(|(v, w)| v + (m - u) * w / n).collect()
}

fn plain(w: &[f64], v: &[f64], b: f64, z: &[f64]) -> (Vec<f64>, f64) {
    let v = constrained(w, v);
    let t = (dot(w, z) + b).tanh();
    let x = z.iter().zip(&v).map(|(z, v)| z + v * t).collect();
    (x, (1.0 + (1.0 - t * t) * dot(w, &v)).ln())
}

fn check(mut bijector: impl Bijector<f64>) {
    perturb(&mut bijector, 0.5, &mut stream(3, "perturb")).unwrap();
    check_bijector(&mut bijector, normal_point(1.0), Tolerance::default());
}

#[test]
fn planar_flows_are_bijective() {
    for dim in [1, 2, 5] {
        let make = |seed| Box::new(fresh::<f64>(dim, seed));
        check(*make(1));
        check(Inverse::new(make(2)));
        let lu = Layer::new(LuLinear::new(dim).unwrap(), &mut stream(1, "init")).unwrap();
        check(Chain::new(dim, vec![make(3), Box::new(lu), make(4)]).unwrap());
    }
    // w.v = -0.87 and w.v = 7.
    for v in [[-1.0, -2.0], [4.0, 4.0]] {
        let mut layer = planar(&[0.8, 0.6], &v, 0.3);
        check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
    }
}

#[test]
fn values_and_gradients_agree_with_the_definition() {
    for (dim, scale) in [(1, 1.0), (2, 1.0), (5, 1.0), (20, 0.5), (5, 3.0)] {
        let mut rng = stream(dim as u64, "plain");
        let mut draw =
            || -> Vec<f64> { normals::<f64>(dim, &mut rng).iter().map(|n| scale * n).collect() };
        let (w, v, z) = (draw(), draw(), draw());
        let (x, log_det) = plain(&w, &v, 0.4, &z);
        let layer = planar::<f64>(&w, &v, 0.4);
        let (value, got) = mapped(&layer, true, &z);
        assert!(distance(&value, &x) <= 1e-13 && distance(&got, &[log_det]) <= 1e-11);
        let all = gradients(&layer, true, &batch(z.clone(), 1, dim).unwrap()).unwrap();
        let sum = |w: &[f64], v: &[f64], b: f64, z: &[f64]| {
            let (x, log_det) = plain(w, v, b, z);
            sum_of(&x, log_det)
        };
        let expected = [
            differences(&z, |z| sum(&w, &v, 0.4, z)),
            differences(&w, |w| sum(w, &v, 0.4, &z)),
            differences(&v, |v| sum(&w, v, 0.4, &z)),
            differences(&[0.4], |b| sum(&w, &v, b[0], &z)),
        ];
        for ((name, found), expected) in all.iter().zip(&expected) {
            let error = distance(found, expected);
            assert!(error <= 1e-6, "{dim} {name}: {error:e}");
        }
    }
}

#[test]
fn a_fresh_flow_is_the_identity() {
    for dim in [1, 2, 64] {
        let layer = fresh::<f64>(dim, 5);
        let z: Vec<f64> = normals(10 * dim, &mut stream(6, "z"));
        for forward in [true, false] {
            let (x, log_det) = mapped(&layer, forward, &z);
            assert!(distance(&x, &z) <= 1e-14 && distance(&log_det, &[0.0; 10]) <= 1e-14);
        }
    }
}

/// Round trips of the scalar equation over all c that raw parameters can make.
fn search<E: Real>() -> (f64, u64) {
    let (mut worst, mut most): (f64, u64) = (0.0, 0);
    let epsilon: f64 = E::epsilon().as_f64();
    for raw in [-1e3, -60.0, -20.0, -8.0, -2.0, -0.1, 0.0, 0.5413, 1.0, 5.0, 50.0, 1e3, 1e6] {
        let layer = planar::<E>(&[1.0], &[raw], 0.0);
        let stretch: f64 = if raw > 30.0 { raw } else { raw.exp().ln_1p().max(epsilon) };
        let sizes = (-40..=40).map(|i| 10_f64.powf(f64::from(i) * 0.15));
        let x: Vec<f64> =
            sizes.flat_map(|size| [size, -size, stretch * size]).chain([0.0]).collect();
        let x: Vec<f64> = x.iter().map(|&x| E::of(x).as_f64()).collect();
        let input = batch(x.iter().map(|&x| E::of(x)).collect(), x.len(), 1).unwrap();
        let out = layer.inverse(&input, &Context::none(), &mut Tape::none()).unwrap();
        most = most.max(out.work.iterations);
        for (z, x) in out.value.values().iter().zip(&x) {
            let z = z.as_f64();
            // Backward error: the image of z in double precision, in units of what is summed up on
            // the way there, and of the rounding of z = x - v tanh s times the slope.
            let (t, excess) = (z.tanh(), stretch - 1.0);
            let slope = t * t + stretch * (1.0 - t * t);
            let size = z.abs() + excess.abs() * t.abs() + x.abs();
            let size = size + slope * (x.abs() + excess.abs() * t.abs());
            let error: f64 = (z + excess * t - x).abs();
            worst = worst.max(error / size.max(f64::MIN_POSITIVE) / epsilon);
        }
    }
    (worst, most)
}

#[test]
fn the_search_reaches_rounding_for_every_stretch() {
    for (worst, most) in [search::<f32>(), search::<f64>()] {
        println!("backward error {worst:.1} epsilon, at most {most} steps");
        // Four of the stopping rule, and as much for the rounding of z itself.
        assert!(worst <= 8.0 && most <= 60, "{worst} {most}");
    }
}

#[test]
fn single_precision_agrees_with_double() {
    for dim in [1, 5, 64] {
        let mut rng = stream(9, "single");
        let size = 1.0 / (dim as f64).sqrt();
        let narrow = |values: Vec<f32>, size: f64| -> Vec<f64> {
            values.iter().map(|&v| f64::from(v * size as f32)).collect()
        };
        let w = narrow(normals(dim, &mut rng), size);
        let v = narrow(normals(dim, &mut rng), 1.0);
        let z = narrow(normals(100 * dim, &mut rng), 1.0);
        for forward in [true, false] {
            let (a, a_log) = mapped(&planar::<f32>(&w, &v, 0.25), forward, &z);
            let (b, b_log) = mapped(&planar::<f64>(&w, &v, 0.25), forward, &z);
            let unit = f64::from(f32::EPSILON);
            let (value, log) = (distance(&a, &b) / unit, distance(&a_log, &b_log) / unit);
            println!("D {dim}, forward {forward}: value {value:.1}, log-det {log:.1} epsilon");
            // A sum of D products of size 1/sqrt(D), and the condition of the scalar map, here < 4.
            let allowed = 16.0 * (dim as f64).sqrt();
            assert!(value <= allowed && log <= allowed, "{dim} {forward} {value} {log}");
        }
    }
}

#[test]
fn vanishing_weights_leave_a_constant_shift() {
    let layer = planar::<f64>(&[0.0, 0.0], &[1.0, -2.0], 0.5);
    let t = 0.5_f64.tanh();
    let (x, log_det) = mapped(&layer, true, &[3.0, 4.0]);
    assert!(distance(&x, &[3.0 + t, 4.0 - 2.0 * t]) <= 1e-15 && log_det == [0.0]);
    for forward in [true, false] {
        let all = gradients(&layer, forward, &batch(vec![3.0, 4.0], 1, 2).unwrap()).unwrap();
        assert!(all.iter().all(|(_, g)| g.iter().all(|g: &f64| g.is_finite())));
    }
}

#[test]
fn the_inverse_counts_its_steps_and_names_the_row_that_fails() {
    let layer = planar::<f64>(&[0.8, 0.6], &[2.0, 1.0], 0.1);
    assert_eq!(layer.costs().inverse, Cost::Iterative);
    let mut values: Vec<f64> = normals(600, &mut stream(1, "rows"));
    let x = batch(values.clone(), 300, 2).unwrap();
    let inverse = |x| layer.inverse(&x, &Context::none(), &mut Tape::none());
    let steps = inverse(x).unwrap().work.iterations;
    assert!((2..20).contains(&steps), "{steps}");
    for bad in [f64::NAN, f64::INFINITY] {
        values[2 * 170] = bad;
        let x = batch(values.clone(), 300, 2).unwrap();
        assert!(matches!(inverse(x), Err(Error::NotConverged { row: 170, .. })));
    }
}
