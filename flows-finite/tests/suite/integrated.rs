//! Integrated networks: against Simpson's rule, the golden values for several numbers of steps.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use std::f64::consts::PI;

use flows_core::Error;
use flows_core::testing::{assert_error, close_number, distance, flat, golden};
use flows_finite::architecture::{IntegratedConfig, TransformerConfig};
use flows_finite::transformer::Integrated;

use crate::elements::{
    Rounding, UNIT, at, check_against, check_couplings, check_single, draws, edges, left_by_search,
    numbers_at,
};

/// With a fixed number of steps.
fn map(hidden: usize, steps: usize) -> Arc<dyn TransformerConfig> {
    within(hidden, steps, f64::INFINITY)
}

fn within(hidden: usize, steps: usize, tolerance: f64) -> Arc<dyn TransformerConfig> {
    IntegratedConfig { hidden, steps, tolerance }.shared()
}

fn integrand(raw: &[f64], u: f64) -> f64 {
    let hidden = (raw.len() - 2) / 3;
    let s: f64 = (0..hidden)
        .map(|h| raw[2 * hidden + h] * (raw[h] * u + raw[hidden + h]).tanh())
        .sum::<f64>()
        + raw[3 * hidden];
    if s < 0.0 { s.exp() } else { 1.0 + s }
}

/// Simpson's rule with `2 half` steps.
fn plain(half: usize, raw: &[f64], x: f64) -> (f64, f64) {
    let h = x / (2 * half) as f64;
    let g = |i: usize| integrand(raw, i as f64 * h);
    let inner: f64 = (0..half).map(|i| g(2 * i) + 4.0 * g(2 * i + 1) + g(2 * i + 2)).sum();
    (raw[raw.len() - 1] + h / 3.0 * inner, integrand(raw, x).ln())
}

/// Parameters of `hidden` units, drawn from N(0, 1), with b2 = `level`.
fn raw(hidden: usize, seed: u64, level: f64) -> Vec<f64> {
    let mut raw = draws(3 * hidden + 2, seed);
    raw[3 * hidden] = level;
    raw
}

#[test]
fn values_and_gradients_are_those_of_simpsons_rule() {
    let points = [-2.0, -0.4, 0.0, 0.7, 1.9];
    for (seed, level) in [(0, 8.0), (1, -8.0)] {
        // s keeps its sign: 50 steps are exact to rounding.
        let raw = raw(3, seed, level);
        check_against(&map(3, 50), &|raw, x| plain(400, raw, x), &raw, &points, 1e-9);
    }
    for seed in 0..3 {
        // Gradients of parameters have a kink where s changes its sign: 1 / N^2.
        let raw = raw(3, seed, 0.3);
        check_against(&map(3, 2_000), &|raw, x| plain(2_000, raw, x), &raw, &points, 1e-8);
    }
}

/// Clenshaw-Curtis by its definition: the integral over [0, x] of the polynomial that agrees with g
/// at x (1 - cos(pi j / N)) / 2, j = 0 .. N, from its Chebyshev coefficients.
fn interpolated(steps: usize, raw: &[f64], x: f64) -> f64 {
    let cosine = |j: usize| (PI * (j % (2 * steps)) as f64 / steps as f64).cos();
    let half = |j: usize| if j == 0 || j == steps { 0.5 } else { 1.0 };
    let terms: Vec<f64> =
        (0..=steps).map(|j| half(j) * integrand(raw, x * (1.0 - cosine(j)) / 2.0)).collect();
    let coefficient = |k: usize| {
        let sum: f64 = terms.iter().enumerate().map(|(j, term)| term * cosine(j * k)).sum();
        half(k) * 2.0 / steps as f64 * sum
    };
    // The mean of a Chebyshev polynomial of even degree k is 1 / (1 - k^2), of an odd one 0.
    let mean: f64 = (0..=steps).step_by(2).map(|k| coefficient(k) / (1.0 - (k * k) as f64)).sum();
    raw[raw.len() - 1] + x * mean
}

#[test]
fn the_quadrature_is_that_of_the_interpolating_polynomial_for_every_number_of_steps() {
    let points = [-2.5, -0.4, 0.7, 1.9];
    for steps in (2..=30).chain([51, 1000]) {
        for (seed, level) in [(0, 8.0), (1, -8.0), (2, 0.3), (3, 0.3)] {
            let raw = raw(3, seed, level);
            let (values, _) = at::<f64>(&map(3, steps), &raw, &points, false).unwrap();
            for (value, x) in values.into_iter().zip(points) {
                // Weights are positive with sum 1: some roundings of s, of which tanh has four.
                let what = format!("{steps} steps, seed {seed}, at {x}");
                close_number(&what, value, interpolated(steps, &raw, x), 1e-14);
            }
        }
    }
}

#[test]
fn couplings_pass_the_check() {
    // b2 moved so that s keeps its sign.
    let lifted = |level| [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, level, 0.0];
    check_couplings(&map(2, 30), &lifted(4.0), (0.4, 1.0), &[1, 2, 3]);
    check_couplings(&map(2, 30), &lifted(-4.0), (0.4, 1.0), &[1]);
    // s changes its sign: the slope of the sum is g to 0.1 / N^2.
    check_couplings(&map(2, 400), &[], (0.4, 1.0), &[1]);
}

#[test]
fn golden_values_within_the_tolerance() {
    for case in golden("integrated_positive_network") {
        let raw: Vec<f64> = ["w1", "b1", "w2", "b2", "beta"]
            .iter()
            .flat_map(|key| flat(&case["parameters"][key]))
            .collect();
        let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|k| flat(&case[k]));
        for tolerance in [1e-2, 1e-4, 1e-8] {
            for steps in [4, 20, 51] {
                let map = within((raw.len() - 2) / 3, steps, tolerance);
                let (values, logs) = at::<f64>(&map, &raw, &inputs, false).unwrap();
                for i in 0..inputs.len() {
                    close_number("output", values[i], outputs[i], tolerance);
                    close_number("log-det", logs[i], log_det[i], 1e-14);
                }
            }
        }
    }
}

/// The integral of g over [0, x] by Gauss-Legendre with 16 nodes on each of 1,000 panels.
fn reference(raw: &[f64], x: f64) -> f64 {
    // Half of the nodes and weights on [-1, 1].
    const HALF: [(f64, f64); 8] = [
        (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
        (0.281_603_550_779_258_9, 0.182_603_415_044_923_6),
        (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
        (0.617_876_244_402_643_8, 0.149_595_988_816_576_73),
        (0.755_404_408_355_003, 0.124_628_971_255_533_87),
        (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
        (0.944_575_023_073_232_6, 0.062_253_523_938_647_89),
        (0.989_400_934_991_649_9, 0.027_152_459_411_754_094),
    ];
    let width = x / 1_000.0;
    let panel = |k: u32| {
        let middle = (f64::from(k) + 0.5) * width;
        let pair = |(node, weight): &(f64, f64)| {
            let step = 0.5 * width * node;
            weight * (integrand(raw, middle - step) + integrand(raw, middle + step))
        };
        0.5 * width * HALF.iter().map(pair).sum::<f64>()
    };
    raw[raw.len() - 1] + (0..1_000).map(panel).sum::<f64>()
}

#[test]
fn the_tolerance_holds_for_weights_of_every_size() {
    let points: Vec<f64> = (0..25).map(|i| f64::from(i) * 0.33 - 4.0).collect();
    let tolerances = [1e-2, 1e-3, 1e-4];
    let mut worst = [0.0_f64; 3];
    for hidden in [1, 3, 16] {
        for scale in [0.1, 0.3, 1.0, 3.0, 10.0, 30.0] {
            for seed in 100..102 {
                let mut raw = draws(3 * hidden + 2, seed);
                raw.iter_mut().for_each(|weight| *weight *= scale);
                let truth: Vec<f64> = points.iter().map(|&x| reference(&raw, x)).collect();
                for (tolerance, worst) in tolerances.into_iter().zip(&mut worst) {
                    let map = within(hidden, 20, tolerance);
                    let (values, _) = at::<f64>(&map, &raw, &points, false).unwrap();
                    for (value, truth) in values.iter().zip(&truth) {
                        let error = (value - truth).abs() / (1.0 + truth.abs()) / tolerance;
                        *worst = worst.max(error);
                    }
                }
            }
        }
    }
    eprintln!("largest error over the tolerance: {worst:.3?}");
    assert!(worst.iter().all(|worst| *worst <= 1.0), "{worst:?}");
}

#[test]
fn gradients_are_those_of_the_rule_that_each_element_took() {
    // Jumps where an element takes the next rule are too rare for differences to meet.
    let points = [-2.0, -0.4, 0.0, 0.7, 1.9];
    for (seed, level) in [(0, 8.0), (1, 0.3), (2, -0.3)] {
        let raw: Vec<f64> = raw(3, seed, level);
        let fine = within(3, 20, 1e-9);
        check_against(&fine, &|raw, x| plain(20_000, raw, x), &raw, &points, 1e-5);
    }
}

#[test]
fn an_element_does_not_depend_on_what_its_neighbours_need() {
    let map = within(2, 20, 1e-6);
    let raw = [40.0, 1.0, -30.0, 0.2, 1.5, -2.0, 0.1, 0.0];
    let points: Vec<f64> = (0..40).map(|i| f64::from(i) * 0.2 - 4.0).collect();
    let (together, _) = at::<f32>(&map, &raw, &points, false).unwrap();
    for (&point, value) in points.iter().zip(together) {
        let alone = at::<f32>(&map, &raw, &[point], false).unwrap().0[0];
        assert_eq!(alone.to_bits(), value.to_bits(), "{point}");
    }
}

#[test]
fn what_the_finest_rule_is_not_enough_for_is_an_error() {
    // Ten thousand steps do not see a unit that turns within 1e-7.
    let raw = [1e7, -0.5e7, 50.0, 0.0, 0.0];
    let result = at::<f64>(&within(1, 20, 1e-8), &raw, &[0.0, 1.0], false);
    assert_error!(result, Error::Stopped { row: Some(1), .. }, ["integrated network", "act-norm"]);
}

#[test]
fn golden_values_with_fixed_steps() {
    let mut crossing = 0;
    for case in golden("integrated_positive_network") {
        let raw: Vec<f64> = ["w1", "b1", "w2", "b2", "beta"]
            .iter()
            .flat_map(|key| flat(&case["parameters"][key]))
            .collect();
        let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|k| flat(&case[k]));
        let (low, high) = (inputs[0].min(0.0), inputs[inputs.len() - 1].max(0.0));
        let above = |i: u32| integrand(&raw, low + (high - low) * f64::from(i) / 1e3) > 1.0;
        let smooth = (0..=1000).all(|i| above(i) == above(0));
        crossing += usize::from(!smooth);
        for steps in [10, 20, 50, 51, 100, 200, 400, 1000] {
            let map = map((raw.len() - 2) / 3, steps);
            let allowed = match (smooth, steps) {
                (false, _) => 0.5 / (steps as f64).powi(3),
                (true, 10) => 1e-6,
                (true, 20) => 1e-10,
                (true, _) => 1e-13,
            };
            let (values, logs) = at::<f64>(&map, &raw, &inputs, false).unwrap();
            let (back, _) = at::<f64>(&map, &raw, &outputs, true).unwrap();
            for i in 0..inputs.len() {
                close_number("output", values[i], outputs[i], allowed);
                close_number("log-det", logs[i], log_det[i], 1e-14);
                // An error of y is one over g of x; g changes little over it.
                let error = (back[i] - inputs[i]).abs() * log_det[i].exp();
                assert!(error <= 1.2 * allowed * (1.0 + outputs[i].abs()), "{steps} {error:e}");
            }
        }
    }
    assert!(crossing > 0, "no golden case in which the second derivative jumps");
}

#[test]
fn poles_set_the_rate() {
    // One unit, its poles beside the middle of [0, 1].
    for (w1, steps, most, least) in
        [(5.0, 50, 1e-13, 0.0), (20.0, 50, 1e-6, 1e-9), (20.0, 200, 1e-12, 0.0)]
    {
        let raw = [w1, -0.5 * w1 + 0.1, 1.0, 3.0, 0.0];
        let value = at::<f64>(&map(1, steps), &raw, &[1.0], false).unwrap().0[0];
        let error = (value - plain(20_000, &raw, 1.0).0).abs();
        assert!(error < most && error >= least, "{w1} {steps}: {error:e}");
    }
}

#[test]
fn the_start_is_the_identity() {
    for hidden in [1, 2, 5] {
        let raw = map(hidden, 20).build::<f64>().unwrap().initial();
        let points = [-1e6, -2.0, 0.0, 0.3, 1e6];
        for inverse in [false, true] {
            let (values, logs) = at::<f64>(&map(hidden, 20), &raw, &points, inverse).unwrap();
            assert!(distance(&values, &points) < 1e-15 && logs.iter().all(|l| *l == 0.0));
        }
        // Units that are equal would have equal gradients.
        let bias = &raw[hidden..2 * hidden];
        assert!(bias.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn round_trips_do_not_depend_on_the_number_of_steps() {
    let points: Vec<f64> = (0..=200).map(|i| 3.0 * (f64::from(i) / 100.0 - 1.0)).collect();
    for steps in [8, 50] {
        for seed in 0..4 {
            let raw = raw(4, seed, 0.5);
            let (values, logs) = at::<f64>(&map(4, steps), &raw, &points, false).unwrap();
            let (back, negated) = at::<f64>(&map(4, steps), &raw, &values, true).unwrap();
            let negated: Vec<f64> = negated.iter().map(|l| -l).collect();
            assert!(distance(&back, &points) < 1e-12 && distance(&negated, &logs) < 1e-12);
        }
    }
}

#[test]
fn edges_are_finite_or_errors() {
    for map in [map(3, 50), within(3, 20, 1e-4)] {
        assert_eq!((edges::<f32>(&map), edges::<f64>(&map)), (0, 0));
        for seed in 0..3 {
            let raw = raw(3, seed, 1.0);
            numbers_at::<f32>(&map, &raw, &[0.0, 1e6, -1e6, 1e30, 1e-40]);
            numbers_at::<f64>(&map, &raw, &[0.0, 1e6, -1e6, 1e30, 1e-310]);
        }
    }
}

#[test]
fn a_slope_below_the_numbers_keeps_its_logarithm() {
    let raw = [1.0, 0.0, 1.0, -1000.0, 0.5];
    for log in [
        at::<f32>(&map(1, 50), &raw, &[0.0, 2.0], false).unwrap().1,
        at::<f64>(&map(1, 50), &raw, &[0.0, 2.0], false).unwrap().1,
    ] {
        close_number("log-slope", log[0], -1000.0, 1e-7);
        close_number("log-slope", log[1], -1000.0 + 2.0_f64.tanh(), 1e-7);
    }
    // The search leaves the numbers.
    let quantity = "value or log-slope of an integrated network";
    for result in
        [at::<f64>(&map(1, 50), &raw, &[1.0], true), at::<f32>(&map(1, 50), &raw, &[1.0], true)]
    {
        assert_error!(result, Error::NonFinite { row: 0, .. }, [quantity]);
    }
}

#[test]
fn sizes_outside_the_documented_range_are_refused() {
    for (hidden, steps) in [(0, 50), (1001, 50), (3, 1), (3, 10_001)] {
        assert!(matches!(Integrated::new(hidden, steps), Err(Error::Parameter { .. })));
    }
    for tolerance in [0.0, -1.0, 1e-13, f64::NAN] {
        let refused = Integrated::new(3, 20).unwrap().within(tolerance);
        assert!(matches!(refused, Err(Error::Parameter { .. })));
    }
}

/// With u the unit, w1 u + b1 is off by 3u of its terms, of which tanh lets 1 - h^2 through and adds
/// four units of h; w2 . h + b2 is off by that and one of each of its H + 1 terms for each addition.
/// The logarithm of g changes no faster than s. The value has N + 1 such terms, all of one sign, with
/// a unit for each addition and four for exp, weight and x.
fn rounding(steps: usize, raw: &[f64], x: f64) -> Rounding {
    let hidden = (raw.len() - 2) / 3;
    let exponent = |u: f64| -> f64 {
        let terms = (0..hidden).map(|h| {
            let (w1, b1, w2) = (raw[h], raw[hidden + h], raw[2 * hidden + h].abs());
            let unit = (w1 * u + b1).tanh();
            let inner = 3.0 * ((w1 * u).abs() + b1.abs()) * (1.0 - unit * unit);
            w2 * (inner + (4.0 + hidden as f64) * unit.abs())
        });
        UNIT * (terms.sum::<f64>() + (hidden + 1) as f64 * raw[3 * hidden].abs())
    };
    let (value, log) = plain(400, raw, x);
    let constant = raw[raw.len() - 1];
    let most = (0..=100).map(|i| exponent(x * f64::from(i) / 100.0)).fold(0.0, f64::max);
    let terms = most + (steps + 5) as f64 * UNIT;
    Rounding {
        value: terms * (value - constant).abs() + UNIT * value.abs(),
        log_slope: exponent(x) + 4.0 * UNIT * (1.0 + log.abs()),
        x: left_by_search(x),
    }
}

#[test]
fn single_precision_is_as_accurate_as_its_rounding() {
    let points: Vec<f64> = (0..101).map(|i| f64::from(i) * 0.08 - 4.0).collect();
    for seed in 0..4 {
        let rounding = |raw: &[f64], x: f64| rounding(50, raw, x);
        check_single(&map(6, 50), &raw(6, seed, 0.5), &points, &rounding);
    }
}
