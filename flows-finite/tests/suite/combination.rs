//! Combination-based transformers against their formulas and golden values, and as bijectors.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, close, flat, golden, largest_difference, normal_point,
    perturb,
};
use flows_core::{Error, Layer, MlpKernel, Result, stream};
use flows_finite::transformer::{
    DeepSigmoidal, DenseSigmoidal, Gaussianization, Inner, LogisticMixture, Outer,
};
use flows_finite::{Coupling, Mask, Transformer};

use crate::scalar_map::{at, raw, repeated};

fn softplus(r: f64) -> f64 {
    r.exp().ln_1p()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

fn softmax(raw: &[f64]) -> Vec<f64> {
    let total: f64 = raw.iter().map(|r| r.exp()).sum();
    raw.iter().map(|r| r.exp() / total).collect()
}

fn scale(raw: f64) -> f64 {
    (7.0 * (raw / 7.0).tanh()).exp()
}

fn mean(weights: &[f64], values: &[f64]) -> f64 {
    weights.iter().zip(values).map(|(w, v)| w * v).sum()
}

/// The deep sigmoidal map as it is written.
fn plain_deep(theta: &[f64], x: f64) -> f64 {
    let k = theta.len() / 3;
    let (w, others) = theta.split_at(k);
    let (b, a) = others.split_at(k);
    let units: Vec<f64> = (0..k).map(|i| sigmoid((softplus(a[i]) + 1e-3) * x + b[i])).collect();
    logit(mean(&softmax(w), &units))
}

/// The dense sigmoidal map as it is written.
fn plain_dense(theta: &[f64], x: f64, layers: usize, k: usize) -> f64 {
    let mut rest = theta;
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at(count);
        rest = tail;
        head
    };
    let mut h = vec![x];
    for layer in 0..layers {
        let u = if layer == 0 {
            vec![1.0; k]
        } else {
            take(k * k).chunks(k).flat_map(softmax).collect()
        };
        let (b, a) = (take(k), take(k));
        let width = h.len();
        let units: Vec<f64> = (0..k)
            .map(|j| {
                let seen = mean(&u[j * width..(j + 1) * width], &h);
                sigmoid((softplus(a[j]) + 1e-3) * seen + b[j])
            })
            .collect();
        let outputs = if layer + 1 == layers { 1 } else { k };
        h = take(k * outputs).chunks(k).map(|row| logit(mean(&softmax(row), &units))).collect();
    }
    assert!(rest.is_empty());
    h[0]
}

/// The logistic mixture as it is written.
fn plain_mixture(theta: &[f64], x: f64) -> f64 {
    let k = (theta.len() - 2) / 3;
    let (w, others) = theta.split_at(k);
    let (means, others) = others.split_at(k);
    let (scales, affine) = others.split_at(k);
    let units: Vec<f64> = (0..k).map(|i| sigmoid((x - means[i]) / scale(scales[i]))).collect();
    scale(affine[0]) * logit(mean(&softmax(w), &units)) + affine[1]
}

/// Values against `plain`, slopes against its differences, gradients against differences of the
/// kernel's own values and log-slopes.
fn check_formula(map: &dyn Transformer<f64>, plain: impl Fn(&[f64], f64) -> f64) {
    let points = [-3.0, -1.2, -0.3, 0.0, 0.4, 1.7, 2.9];
    for seed in 0..4 {
        let theta = raw(map, seed, 0.7);
        let (values, slopes, _) = at::<f64>(map, &theta, &points, false).unwrap();
        // logit(p) of the plain version loses up to e^|y| units in the last place.
        let truth: Vec<f64> = points.iter().map(|&x| plain(&theta, x)).collect();
        close("value", &values, &truth, 1e-11);
        let h = 1e-5;
        let quotient = |x: f64| (plain(&theta, x + h) - plain(&theta, x - h)) / (2.0 * h);
        for ((&x, slope), y) in points.iter().zip(slopes).zip(truth) {
            // h^2 times third derivatives, and the rounding of the plain version over the step.
            let allowed = 1e-8 + 4.0 * f64::EPSILON * y.abs().exp() / (h * quotient(x));
            assert!((slope - quotient(x).ln()).abs() <= allowed, "log-slope at {x}: {slope}");
        }
        check_gradient(map, &theta, &points);
    }
}

fn check_gradient(map: &dyn Transformer<f64>, theta: &[f64], points: &[f64]) {
    let (g, l) = (0.8, -1.3);
    let total = |theta: &[f64], points: &[f64]| -> Vec<f64> {
        let (values, slopes, _) = at::<f64>(map, theta, points, false).unwrap();
        values.iter().zip(slopes).map(|(v, s)| g * v + l * s).collect()
    };
    let mut x = vec![0.0; LANES];
    x[..points.len()].copy_from_slice(points);
    let (mut value, mut d_theta) = (vec![0.0; LANES], vec![0.0; map.arity() * LANES]);
    let outer = Outer { value: &[g; LANES], log_slope: &[l; LANES] };
    let inner = Inner { value: &mut value, theta: &mut d_theta };
    map.forward_gradient(&x, &repeated::<f64>(theta), outer, inner);
    let h = 1e-5;
    let moved = |step: f64| points.iter().map(|x| x + step).collect::<Vec<_>>();
    let quotients = |up: Vec<f64>, down: Vec<f64>| -> Vec<f64> {
        up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * h)).collect()
    };
    let expected = quotients(total(theta, &moved(h)), total(theta, &moved(-h)));
    close("gradient of x", &value[..points.len()], &expected, 1e-7);
    for p in 0..theta.len() {
        let shifted = |step: f64| {
            let mut theta = theta.to_vec();
            theta[p] += step;
            total(&theta, points)
        };
        let expected = quotients(shifted(h), shifted(-h));
        let got = &d_theta[p * LANES..p * LANES + points.len()];
        close(&format!("gradient of parameter {p}"), got, &expected, 1e-7);
    }
}

#[test]
fn kernels_are_their_formulas() {
    for k in [1, 2, 5] {
        check_formula(&DeepSigmoidal::new(k).unwrap(), plain_deep);
        check_formula(&LogisticMixture::new(k).unwrap(), plain_mixture);
        for layers in [1, 2, 3] {
            let map = DenseSigmoidal::new(layers, k).unwrap();
            check_formula(&map, |theta, x| plain_dense(theta, x, layers, k));
        }
    }
}

#[test]
fn golden_deep_sigmoidal() {
    for case in golden("deep_sigmoidal") {
        let part = |key: &str| flat(&case["parameters"][key]);
        let theta: Vec<f64> = part("weights")
            .iter()
            .map(|w| w.ln())
            .chain(part("offsets"))
            .chain(part("slopes").iter().map(|a| ((a - 1e-3).exp() - 1.0).ln()))
            .collect();
        let map = DeepSigmoidal::new(theta.len() / 3).unwrap();
        let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|k| flat(&case[k]));
        let (values, slopes, _) = at::<f64>(&map, &theta, &inputs, false).unwrap();
        close("outputs", &values, &outputs, 1e-10);
        close("log-det", &slopes, &log_det, 1e-10);
        let (values, slopes, _) = at::<f64>(&map, &theta, &outputs, true).unwrap();
        close("inverse", &values, &inputs, 1e-8);
        let negated: Vec<f64> = slopes.iter().map(|s| -s).collect();
        close("inverse log-det", &negated, &log_det, 1e-8);
    }
}

fn kernel(inputs: usize, outputs: usize) -> Result<MlpKernel> {
    MlpKernel::new(inputs, &[4], outputs, Activation::Tanh)
}

fn check(map: impl Transformer<f64> + 'static) {
    let map = Arc::new(map);
    for (dim, context) in [(1, 0), (2, 1), (3, 0)] {
        let mask = Mask::halves(dim, false).unwrap();
        let coupling = Coupling::<f64>::new(&mask, context, map.clone(), kernel).unwrap();
        let mut layer = Layer::new(coupling, &mut stream(7, "init")).unwrap();
        perturb(&mut layer, 0.4, &mut stream(3, "perturb")).unwrap();
        check_bijector(&mut layer, normal_point(1.5), Tolerance::default());
    }
}

#[test]
fn couplings_with_deep_sigmoidal_maps_are_bijective() {
    check(DeepSigmoidal::new(1).unwrap());
    check(DeepSigmoidal::new(4).unwrap());
}

#[test]
fn couplings_with_dense_sigmoidal_maps_are_bijective() {
    check(DenseSigmoidal::new(1, 4).unwrap());
    check(DenseSigmoidal::new(2, 1).unwrap());
    check(DenseSigmoidal::new(2, 4).unwrap());
    check(DenseSigmoidal::new(3, 2).unwrap());
}

#[test]
fn couplings_with_logistic_mixtures_are_bijective() {
    check(LogisticMixture::new(1).unwrap());
    check(LogisticMixture::new(4).unwrap());
}

#[test]
fn couplings_with_gaussianization_are_bijective() {
    check(Gaussianization::new(1).unwrap());
    check(Gaussianization::new(4).unwrap());
}

/// Largest |y - x| and |log-slope| of a map as it starts, over |x| <= `limit`.
fn distance_from_identity(map: &dyn Transformer<f64>, limit: f64) -> [f64; 2] {
    let middle = (LANES as f64 - 1.0) / 2.0;
    let points: Vec<f64> = (0..LANES).map(|i| limit * (i as f64 / middle - 1.0)).collect();
    let (values, slopes, _) = at::<f64>(map, &map.initial(), &points, false).unwrap();
    [largest_difference(&values, &points), largest_difference(&slopes, &vec![0.0; slopes.len()])]
}

#[test]
fn starts_are_near_the_identity() {
    for k in [1, 2, 4, 8, 32] {
        let exact = if k == 1 { 1e-14 } else { 1.0 };
        let deep = distance_from_identity(&DeepSigmoidal::new(k).unwrap(), 30.0);
        let mixture = distance_from_identity(&LogisticMixture::new(k).unwrap(), 30.0);
        for [shift, slope] in [deep, mixture] {
            assert!(shift < 0.17 * exact && slope < 0.1 * exact, "{k}: {shift} {slope}");
        }
        for layers in [2, 4] {
            let map = DenseSigmoidal::new(layers, k).unwrap();
            let [shift, _] = distance_from_identity(&map, 30.0);
            assert!(shift < 0.2 * layers as f64 * exact, "{layers} {k}: {shift}");
        }
        let [shift, _] = distance_from_identity(&Gaussianization::new(k).unwrap(), 2.0);
        assert!(shift < 0.1, "{k}: {shift}");
    }
}

#[test]
fn sizes_out_of_range_are_errors() {
    assert_error!(
        DeepSigmoidal::new(0),
        Error::Parameter { .. },
        ["units of a deep sigmoidal transformer", "between 1 and 500", "got 0"]
    );
    assert_error!(
        DeepSigmoidal::new(501),
        Error::Parameter { .. },
        ["units of a deep sigmoidal transformer", "between 1 and 500", "got 501"]
    );
    assert_error!(
        DenseSigmoidal::new(0, 4),
        Error::Parameter { .. },
        ["layers of a dense sigmoidal map", "between 1 and 20", "got 0"]
    );
    assert_error!(
        DenseSigmoidal::new(2, 0),
        Error::Parameter { .. },
        ["units of a dense sigmoidal transformer", "between 1 and 500", "got 0"]
    );
    assert_error!(
        DenseSigmoidal::new(21, 4),
        Error::Parameter { .. },
        ["layers of a dense sigmoidal map", "between 1 and 20", "got 21"]
    );
    assert_error!(
        LogisticMixture::new(0),
        Error::Parameter { .. },
        ["components of a logistic mixture", "between 1 and 500", "got 0"]
    );
    assert_error!(
        Gaussianization::new(0),
        Error::Parameter { .. },
        ["components", "between 1 and 500", "got 0"]
    );
}
