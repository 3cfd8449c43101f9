//! The normal quantile of Gaussianization against a slow one, in both tails.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::train::{AdamConfig, Budget, TableSource, TrainConfig, Trainer};
use flows_core::{Architecture, Base, Context, Flow, Real, Values, normals, stream};
use flows_finite::architecture::{
    GaussianizationConfig, GaussianizationFlow, MixtureConfig, TransformerConfig,
};

use crate::elements;

fn log_density(t: f64) -> f64 {
    -t * t / 2.0 - std::f64::consts::TAU.ln() / 2.0
}

/// log((1 - Phi(t)) / phi(t)) for t >= 0: the series of the error function up to 2, then the
/// continued fraction of Laplace, far more terms of either than are needed.
fn log_mills(t: f64) -> f64 {
    if t < 2.0 {
        // Phi(t) - 1/2 = phi(t) (t + t^3/3 + t^5/15 + ..)
        let (mut term, mut sum) = (t, t);
        for n in 1..100 {
            term *= t * t / f64::from(2 * n + 1);
            sum += term;
        }
        return (0.5 / log_density(t).exp() - sum).ln();
    }
    let fraction = (1..=1_000).rev().fold(0.0, |rest, n| f64::from(n) / (t + rest));
    -(t + fraction).ln()
}

/// t with log(1 - Phi(t)) = `log`, by bisection.
fn quantile(log: f64) -> f64 {
    let (mut low, mut high) = (0.0, 2.0 * (-log).sqrt() + 1.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if log_density(middle) + log_mills(middle) > log { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// logit Phi(3) and the slope of the quantile of the sigmoid there.
fn straight_from() -> [f64; 2] {
    let log_tail = log_density(3.0) + log_mills(3.0);
    let log_rest = (-log_tail.exp()).ln_1p();
    [log_rest - log_tail, (log_mills(3.0) + log_rest).exp()]
}

/// y and log dy/dx of one component of mean 0 and scale 1, where y = Phi^-1(sigmoid(x)).
fn at<E: Real>(points: &[f64]) -> Vec<(f64, f64)> {
    let map = GaussianizationConfig(MixtureConfig { components: 1 }).shared();
    let (y, slope) = elements::at::<E>(&map, &[0.0; 3], points, false).unwrap();
    y.into_iter().zip(slope).collect()
}

/// From 1e-6 to 1e30 in steps of a twentieth of a decade, of either sign.
fn points() -> Vec<f64> {
    let positive: Vec<f64> = (-120..=600).map(|i| 10_f64.powf(f64::from(i) / 20.0)).collect();
    positive.iter().flat_map(|&x| [x, -x]).collect()
}

fn errors<E: Real>() -> [f64; 2] {
    let [from, slope_there] = straight_from();
    let points: Vec<f64> = points().into_iter().map(|x| E::of(x).as_f64()).collect();
    let mut worst = [0.0_f64; 2];
    for (&x, (y, slope)) in points.iter().zip(at::<E>(&points)) {
        let size = x.abs();
        // log sigmoid(-|x|)
        let log = -size - (-size).exp().ln_1p();
        let (t, truth) = if size > from {
            (3.0 + slope_there * (size - from), slope_there.ln())
        } else {
            let t = quantile(log);
            (t, log_mills(t) - (-size).exp().ln_1p())
        };
        let relative = (y.abs() - t).abs() / t.max(1.0);
        assert_eq!(y > 0.0, x > 0.0, "{x}");
        worst = [worst[0].max(relative), worst[1].max((slope - truth).abs() / (1.0 + truth.abs()))];
    }
    worst
}

#[test]
fn the_quantile_and_its_straight_ends_are_accurate() {
    let [value, slope] = errors::<f64>();
    eprintln!("f64: {value:e} {slope:e}");
    // A dozen roundings, and as many of the yardstick.
    assert!(value < 4e-15 && slope < 4e-15, "{value:e} {slope:e}");
    let [value, slope] = errors::<f32>();
    eprintln!("f32: {value:e} {slope:e}");
    assert!(value < 1e-6 && slope < 1e-6, "{value:e} {slope:e}");
}

#[test]
fn in_the_middle_the_slope_is_that_of_the_quantile() {
    // dy/dx = sigmoid'(0) / phi(0) = sqrt(2 pi) / 4.
    let (y, slope) = at::<f64>(&[0.0])[0];
    let truth = (std::f64::consts::TAU.sqrt() / 4.0).ln();
    // A few roundings of logarithms below 1.
    assert!(y.abs() < 2e-15 && (slope - truth).abs() < 3e-15, "{y:e} {slope}");
}

#[test]
fn a_stack_stretches_far_draws_by_a_power_only() {
    // Draws of 5 deviations, through eight inverses at the start of 20 components: by the slope that
    // the map has far out, 0.304 over the components' scale of sqrt(2 + 1 / 400) / pi, each time at
    // most, and 1 for the distance that the straight line has from its origin.
    let map = GaussianizationConfig(MixtureConfig { components: 20 }).shared();
    let raw = map.build::<f64>().unwrap().initial();
    let slope = straight_from()[1] / ((2.0 + 1.0 / 400.0_f64).sqrt() / std::f64::consts::PI);
    let mut draw = 5.0;
    for layer in 1..=8 {
        let before = draw;
        draw = elements::at::<f64>(&map, &raw, &[draw], true).unwrap().0[0];
        assert!(draw > before && draw <= (before + 1.0) / slope, "layer {layer}: {draw}");
    }
    assert!(draw < 100.0, "{draw}");
}

#[test]
fn draws_of_a_flow_that_was_trained_briefly_are_no_further_than_its_data_many_times_over() {
    // 160 rows of N(0, I); the quantile alone threw one draw in 20,000 to 5e12.
    let rows = normals(2 * 160, &mut stream(1, "rows"));
    let chain = GaussianizationFlow::default().build::<f32>(2, 0, &mut stream(2, "init")).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    let optimiser = AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() };
    let config = TrainConfig { optimiser, ..TrainConfig::default() };
    let trainer = Trainer::new(flow, config, Budget::Steps { steps: 60 }, 3).unwrap();
    let flow = trainer.fit(&TableSource::new(rows, 2, 4).unwrap()).unwrap();
    let (draws, _) = flow.sample(20_000, &Context::none(), &mut stream(5, "draws")).unwrap();
    let farthest = draws.values().into_iter().fold(0.0_f32, |all, v| all.max(v.abs()));
    eprintln!("farthest draw {farthest}");
    assert!(farthest < 300.0, "{farthest}");
}
