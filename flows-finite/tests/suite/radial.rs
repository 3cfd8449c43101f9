//! Radial flows.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, check_bijector, differences, distance, normal_point, perturb,
};
use flows_core::{Bijector, Chain, Costs, Inverse, Layer, Parameters, Real, normals, stream};
use flows_finite::LuLinear;
use flows_finite::Radial;

use crate::sums::{gradients, mapped, sum_of};

fn fresh<E: Real>(dim: usize, seed: u64) -> Layer<E> {
    Layer::new(Radial::new(dim), &mut stream(seed, "init")).unwrap()
}

/// With raw alpha and beta.
fn radial<E: Real>(centre: &[f64], alpha: f64, beta: f64) -> Layer<E> {
    let mut layer = fresh(centre.len(), 1);
    let values = |name: &str| match name {
        "centre" => centre.to_vec(),
        "alpha" => vec![alpha],
        _ => vec![beta],
    };
    let set = |name: &str, tensor: &mut flows_core::Batch<E>| {
        set_values(tensor, &values(name).into_iter().map(E::of).collect::<Vec<E>>())
    };
    layer.visit_mut(&mut |name, _, tensor| set(name, tensor)).unwrap();
    layer
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn plain(centre: &[f64], alpha: f64, beta: f64, z: &[f64]) -> (Vec<f64>, f64) {
    let alpha = softplus(alpha);
    let beta = softplus(beta) - alpha;
    let r = z.iter().zip(centre).map(|(z, c)| (z - c).powi(2)).sum::<f64>().sqrt();
    let h = 1.0 / (alpha + r);
    let x = z.iter().zip(centre).map(|(z, c)| z + beta * h * (z - c)).collect();
    let across = (z.len() as f64 - 1.0) * (1.0 + beta * h).ln();
    (x, across + (1.0 + alpha * beta * h * h).ln())
}

fn check(mut bijector: impl Bijector<f64>) {
    perturb(&mut bijector, 0.7, &mut stream(3, "perturb")).unwrap();
    check_bijector(&mut bijector, normal_point(1.5), Tolerance::default());
}

#[test]
fn radial_flows_are_bijective() {
    for dim in [1, 2, 5] {
        let make = |seed| Box::new(fresh::<f64>(dim, seed));
        check(*make(1));
        check(Inverse::new(make(2)));
        let lu = Layer::new(LuLinear::new(dim).unwrap(), &mut stream(1, "init")).unwrap();
        check(Chain::new(dim, vec![make(3), Box::new(lu), make(4)]).unwrap());
        assert_eq!(make(1).costs(), Costs::CLOSED_FORM);
    }
    // Strong contraction (beta = -0.95 alpha) and strong expansion.
    for (alpha, beta) in [(1.0, -2.7), (-1.0, 3.0)] {
        let mut layer = radial(&[2.0, -2.0, 2.5], alpha, beta);
        check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
    }
}

#[test]
fn values_and_gradients_agree_with_the_definition() {
    for (dim, alpha, beta) in [(1, 0.3, 1.0), (2, 0.3, -2.0), (5, -2.0, 1.0), (20, 3.0, -4.0)] {
        let mut rng = stream(dim as u64, "plain");
        let (centre, z) = (normals::<f64>(dim, &mut rng), normals::<f64>(dim, &mut rng));
        let (x, log_det) = plain(&centre, alpha, beta, &z);
        let layer = radial::<f64>(&centre, alpha, beta);
        let (value, got) = mapped(&layer, true, &z);
        assert!(distance(&value, &x) <= 1e-14 && distance(&got, &[log_det]) <= 1e-13);
        let (back, back_log_det) = mapped(&layer, false, &x);
        assert!(distance(&back, &z) <= 1e-13 && distance(&back_log_det, &[-log_det]) <= 1e-12);
        let all = gradients(&layer, true, &batch(z.clone(), 1, dim).unwrap()).unwrap();
        let sum = |centre: &[f64], alpha: f64, beta: f64, z: &[f64]| {
            let (x, log_det) = plain(centre, alpha, beta, z);
            sum_of(&x, log_det)
        };
        let expected = [
            differences(&z, |z| sum(&centre, alpha, beta, z)),
            differences(&centre, |centre| sum(centre, alpha, beta, &z)),
            differences(&[alpha], |alpha| sum(&centre, alpha[0], beta, &z)),
            differences(&[beta], |beta| sum(&centre, alpha, beta[0], &z)),
        ];
        for ((name, found), expected) in all.iter().zip(&expected) {
            let error = distance(found, expected);
            assert!(error <= 1e-7, "{dim} {name}: {error:e}");
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
            assert!(distance(&x, &z) <= 1e-15 && distance(&log_det, &[0.0; 10]) <= 1e-15);
        }
    }
}

#[test]
fn the_centre_stays_with_finite_gradients() {
    fn check_in<E: Real>() {
        for dim in [1, 2, 64] {
            for (alpha, beta) in [(0.5, 2.0), (0.5, -2.0), (-1e3, 5.0), (5.0, -1e3), (-1e3, -1e3)] {
                let centre = vec![1.5; dim];
                let layer = radial::<E>(&centre, alpha, beta);
                for forward in [true, false] {
                    let (x, log_det) = mapped(&layer, forward, &centre);
                    assert_eq!(x, centre);
                    // D log(gamma / alpha) at r = 0.
                    let radius = |raw: f64| softplus(raw).max(E::epsilon().as_f64());
                    let expected = dim as f64 * (radius(beta) / radius(alpha)).ln();
                    let expected = if forward { expected } else { -expected };
                    assert!(distance(&log_det, &[expected]) <= 16.0 * E::epsilon().as_f64());
                    let point = batch(vec![E::of(1.5); dim], 1, dim).unwrap();
                    let all = gradients(&layer, forward, &point).unwrap();
                    assert!(all.iter().all(|(_, g)| g.iter().all(|g| g.is_finite())), "{all:?}");
                }
            }
        }
    }
    check_in::<f32>();
    check_in::<f64>();
}

#[test]
fn single_precision_agrees_with_double() {
    for (dim, alpha, beta) in [(1, 0.5, 2.0), (5, 0.5, -1.5), (64, 3.0, 5.0)] {
        let mut rng = stream(9, "single");
        let narrow = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
        let centre = narrow(normals(dim, &mut rng));
        let z = narrow(normals(100 * dim, &mut rng));
        for forward in [true, false] {
            let (a, a_log) = mapped(&radial::<f32>(&centre, alpha, beta), forward, &z);
            let (b, b_log) = mapped(&radial::<f64>(&centre, alpha, beta), forward, &z);
            let unit = f64::from(f32::EPSILON);
            let (value, log) = (distance(&a, &b) / unit, distance(&a_log, &b_log) / unit);
            println!("D {dim}, forward {forward}: value {value:.1}, log-det {log:.1} epsilon");
            // The log-det is D times a logarithm that is known to a few epsilon.
            assert!(value <= 8.0 && log <= 8.0 * dim as f64, "{dim} {forward} {value} {log}");
        }
    }
}
