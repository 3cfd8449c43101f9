//! Combination-based transformers far out, in single precision, and as densities.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::tensor::batch;
use flows_core::testing::{close, distance, perturb};
use flows_core::{
    Base, Bijector, Context, Flow, Inverse, Layer, MlpKernel, Real, Result, Tape, Values, normals,
    stream,
};
use flows_finite::transformer::{
    DeepSigmoidal, DenseSigmoidal, Gaussianization, Inner, LogisticMixture, Outer,
};
use flows_finite::{Coupling, Mask, Transformer};

use crate::scalar_map::{at, raw, repeated};

/// Calls `check` with every transformer under parameters near and far from the start.
fn for_all<E: Real>(
    check: impl Fn(&str, &dyn Fn(&[f64], bool) -> Result<(Vec<f64>, Vec<f64>, u64)>),
) {
    fn each<E: Real, T: Transformer<E> + Transformer<f64>>(
        map: &T,
        check: &impl Fn(&str, &dyn Fn(&[f64], bool) -> Result<(Vec<f64>, Vec<f64>, u64)>),
    ) {
        for (seed, spread) in [(0, 0.0), (1, 0.5), (2, 1.5), (3, 3.0)] {
            let theta = raw(map, seed, spread);
            let name = format!("{} {map:?} spread {spread}", E::NAME);
            check(&name, &|points, inverse| at::<E>(map, &theta, points, inverse));
        }
    }
    for k in [1, 4, 16] {
        each::<E, _>(&DeepSigmoidal::new(k).unwrap(), &check);
        each::<E, _>(&DenseSigmoidal::new(2, k).unwrap(), &check);
        each::<E, _>(&LogisticMixture::new(k).unwrap(), &check);
        each::<E, _>(&Gaussianization::new(k).unwrap(), &check);
    }
}

fn edges<E: Real>() -> Vec<f64> {
    let subnormal = E::min_positive_value().as_f64() / 8.0;
    let positive = [1.0, 10.0, 100.0, 1e4, 1e6, 1e30, subnormal];
    positive.iter().flat_map(|&v| [v, -v]).chain([0.0, -0.0]).collect()
}

fn edges_are_finite<E: Real>() {
    for_all::<E>(|name, map| {
        let points = edges::<E>();
        let (values, slopes, _) = map(&points, false).unwrap();
        assert!(
            values.iter().chain(&slopes).all(|v| v.is_finite()),
            "{name}: {values:?} {slopes:?}"
        );
        for point in points {
            // Either a number or an error: 1e30 may be the image of nothing that E can hold.
            match map(&[point], true) {
                Ok((values, slopes, _)) => {
                    assert!(values[0].is_finite() && slopes[0].is_finite(), "{name} {point}");
                    let back = map(&values, false).unwrap().0[0];
                    // A value x is off by 4 units of 1 + |x|, its image by that times the slope,
                    // and by the rounding of the map itself.
                    let epsilon = E::epsilon().as_f64();
                    let rounding = epsilon * (8.0 * (1.0 + values[0].abs()) * (-slopes[0]).exp());
                    let allowed = rounding + 64.0 * epsilon * (1.0 + point.abs());
                    assert!((back - point).abs() <= allowed, "{name} at {point}: {back}");
                }
                Err(error) => assert!(point.abs() > 1e6, "{name} {point}: {error}"),
            }
        }
    });
}

#[test]
fn edges_are_finite_in_either_precision() {
    edges_are_finite::<f32>();
    edges_are_finite::<f64>();
}

fn gradients_have_no_nan<E: Real>(map: &(impl Transformer<E> + Transformer<f64>)) {
    for spread in [0.0, 1.0, 3.0] {
        let theta: Vec<E> = repeated(&raw(map, 5, spread));
        let mut x = vec![E::zero(); LANES];
        for (x, edge) in x.iter_mut().zip(edges::<E>()) {
            *x = E::of(edge);
        }
        for (g, l) in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)] {
            let (g, l) = ([E::of(g); LANES], [E::of(l); LANES]);
            let outer = Outer { value: &g, log_slope: &l };
            let mut value = vec![E::zero(); LANES];
            let mut d_theta = vec![E::zero(); theta.len()];
            for inverse in [false, true] {
                let inner = Inner { value: &mut value, theta: &mut d_theta };
                if inverse {
                    map.inverse_gradient(&x, &theta, outer, inner);
                } else {
                    map.forward_gradient(&x, &theta, outer, inner);
                }
                assert!(value.iter().chain(&d_theta).all(|v| !v.is_nan()), "{map:?} {spread}");
            }
        }
    }
}

#[test]
fn gradients_at_edges_have_no_nan() {
    for k in [1, 4] {
        gradients_have_no_nan::<f32>(&DeepSigmoidal::new(k).unwrap());
        gradients_have_no_nan::<f64>(&DeepSigmoidal::new(k).unwrap());
        gradients_have_no_nan::<f32>(&DenseSigmoidal::new(2, k).unwrap());
        gradients_have_no_nan::<f64>(&DenseSigmoidal::new(2, k).unwrap());
        gradients_have_no_nan::<f32>(&LogisticMixture::new(k).unwrap());
        gradients_have_no_nan::<f64>(&LogisticMixture::new(k).unwrap());
        gradients_have_no_nan::<f32>(&Gaussianization::new(k).unwrap());
        gradients_have_no_nan::<f64>(&Gaussianization::new(k).unwrap());
    }
}

#[test]
fn far_out_the_slope_is_that_of_the_flattest_unit() {
    let slopes = [0.5, 2.0, 0.9];
    let raw_slopes = slopes.map(|a: f64| ((a - 1e-3).exp() - 1.0).ln());
    let theta = [[0.3, -1.0, 0.5], [1.0, -2.0, 0.1], raw_slopes].concat();
    let map = DeepSigmoidal::new(3).unwrap();
    for x in [1e4, 1e6, 1e30, -1e4, -1e6, -1e30] {
        let (values, logs, _) = at::<f32>(&map, &theta, &[x], false).unwrap();
        close("value", &[values[0] / (0.5 * x)], &[1.0], 1e-3);
        close("log-slope", &logs, &[0.5_f64.ln()], 3e-7);
    }
    // Units that share the tail: y = x + constant where all slopes are 1.
    for map in [DeepSigmoidal::new(1), DeepSigmoidal::new(16)].map(Result::unwrap) {
        let theta = Transformer::<f32>::initial(&map);
        let points = [1e4, 1e6, 1e9, 1e30, -1e4, -1e6, -1e9, -1e30];
        let (_, logs, _) = at::<f32>(&map, &theta, &points, false).unwrap();
        close("log-slope of a shared tail", &logs, &[0.0; 8], 1e-6);
    }
    // A gap: two steep units far apart, between them a slope of about e^-200.
    let steep = ((20.0 - 1e-3_f64).exp() - 1.0).ln();
    let theta = [0.0, 0.0, -200.0, 200.0, steep, steep];
    let map = DeepSigmoidal::new(2).unwrap();
    let (values, logs, _) = at::<f32>(&map, &theta, &[0.0], false).unwrap();
    // D = w a (e^-200 + e^-200), C = S = 1/2
    close("value in the gap", &values, &[0.0], 1e-6);
    close("log-slope in the gap", &logs, &[(4.0 * 20.0_f64).ln() - 200.0], 1e-6);
}

/// Largest differences of values and of log-slopes between the precisions, relative to 1 + size.
fn differences<T: Transformer<f32> + Transformer<f64>>(map: &T, seed: u64) -> [f64; 2] {
    let points: Vec<f64> = (0..LANES).map(|i| f64::from((i as f32 - 63.5) / 12.0)).collect();
    // Parameters that single precision holds exactly.
    let theta: Vec<f64> = raw(map, seed, 1.0).iter().map(|&p| f64::from(p as f32)).collect();
    let narrow = at::<f32>(map, &theta, &points, false).unwrap();
    let wide = at::<f64>(map, &theta, &points, false).unwrap();
    [distance(&narrow.0, &wide.0), distance(&narrow.1, &wide.1)]
}

#[test]
fn single_precision_is_near_double_precision() {
    for seed in 0..4 {
        let all = [
            differences(&DeepSigmoidal::new(8).unwrap(), seed),
            differences(&DenseSigmoidal::new(2, 8).unwrap(), seed),
            differences(&LogisticMixture::new(8).unwrap(), seed),
            differences(&Gaussianization::new(8).unwrap(), seed),
        ];
        // Sixteen roundings of 6e-8, one after another.
        assert!(all.iter().flatten().all(|&difference| difference < 1e-6), "{all:?}");
    }
}

/// Where a density has died away: the flattest units have slopes of 0.05 or so, and 0.05 times this
/// is 20.
const REACH: f64 = 400.0;

/// Integral of the density of a flow on a line, by the trapezoidal rule on a fine grid.
fn mass(flow: &Flow<f64>) -> f64 {
    let (low, high, count) = (-REACH, REACH, 200_001);
    let step = (high - low) / (count - 1) as f64;
    let points: Vec<f64> = (0..count).map(|i| low + step * i as f64).collect();
    let points = batch(points, count, 1).unwrap();
    let log_prob = flow.log_prob(&points, &Context::none(), &mut Tape::none()).unwrap();
    log_prob.value.values().iter().map(|l| l.exp() * step).sum()
}

#[test]
fn densities_integrate_to_one_and_samples_are_finite() {
    fn check(map: impl Transformer<f64> + 'static) {
        let map = Arc::new(map);
        for seed in 0..3 {
            let mask = Mask::halves(1, false).unwrap();
            let kernel = |inputs, outputs| MlpKernel::new(inputs, &[4], outputs, Activation::Tanh);
            let coupling = Coupling::<f64>::new(&mask, 0, map.clone(), kernel).unwrap();
            let mut layer = Layer::new(coupling, &mut stream(7, "init")).unwrap();
            perturb(&mut layer, 0.7, &mut stream(seed, "perturb")).unwrap();
            let base = normals::<f64>(5_000, &mut stream(seed, "samples"));
            let base = batch(base, 5_000, 1).unwrap();
            let samples = layer.inverse(&base, &Context::none(), &mut Tape::none()).unwrap();
            assert!(samples.value.values().iter().all(|v| v.is_finite()), "{map:?}");
            let largest = samples.value.values().iter().fold(0.0_f64, |a, v| a.max(v.abs()));
            assert!(largest < REACH, "{map:?}: {largest}");
            let inverse = Box::new(Inverse::new(Box::new(layer)));
            let flow = Flow::new(Base::standard_normal(1), inverse).unwrap();
            let mass = mass(&flow);
            assert!((mass - 1.0).abs() < 1e-6, "{map:?} {seed}: {mass}");
        }
    }
    check(DeepSigmoidal::new(8).unwrap());
    check(DenseSigmoidal::new(2, 8).unwrap());
    check(LogisticMixture::new(8).unwrap());
    check(Gaussianization::new(8).unwrap());
}

#[test]
fn the_root_search_takes_few_evaluations() {
    fn counts<E: Real>() {
        for_all::<E>(|name, map| {
            let near: Vec<f64> = normals(LANES, &mut stream(9, "y"));
            let near = map(&near, true).unwrap().2;
            let far = map(&[1e6, -1e6], true).unwrap().2;
            // Straight lines end in as many steps as near to 0, a square root doubles its digits
            // only after the search has grown there: 4^10 is 1e6, and 1e12 is the root.
            assert!(near <= 16 && far <= 24, "{name}: near {near}, far {far}");
        });
    }
    counts::<f64>();
    counts::<f32>();
}
