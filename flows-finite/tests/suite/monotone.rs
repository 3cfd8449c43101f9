//! Splines increase, are C1 at every knot, and pass through the knots that their parameters say.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::operation::LANES;
use flows_core::testing::close_number;
use flows_core::{Real, normals, stream};
use flows_finite::{Affine, RationalQuadratic, Scale, Tails, Transformer};

const BINS: usize = 7;
const BOUND: f64 = 2.5;
/// Smallest width and height as a part of the interval, and smallest slope, as documented.
const SMALLEST: f64 = 1e-3;

fn spline(tails: Tails) -> RationalQuadratic {
    RationalQuadratic::new(BINS, BOUND, tails).unwrap()
}

/// Values and log-slopes at any points under one set of parameters.
fn at<E: Real>(
    map: &impl Transformer<E>,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> (Vec<f64>, Vec<f64>) {
    let theta: Vec<E> = raw.iter().flat_map(|&p| vec![E::of(p); LANES]).collect();
    let (mut values, mut slopes) = (Vec::new(), Vec::new());
    for part in points.chunks(LANES) {
        let mut input = vec![E::zero(); LANES];
        for (input, &point) in input.iter_mut().zip(part) {
            *input = E::of(point);
        }
        let (mut value, mut slope) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
        if inverse {
            map.inverse(&input, &theta, &mut value, &mut slope).unwrap();
        } else {
            map.forward(&input, &theta, &mut value, &mut slope).unwrap();
        }
        values.extend(value[..part.len()].iter().map(|v| v.as_f64()));
        slopes.extend(slope[..part.len()].iter().map(|v| v.as_f64()));
    }
    (values, slopes)
}

/// Raw parameters of spread `scale`.
fn raw(map: &RationalQuadratic, seed: u64, scale: f64) -> Vec<f64> {
    let arity = Transformer::<f64>::arity(map);
    normals::<f64>(arity, &mut stream(seed, "raw")).iter().map(|v| scale * v).collect()
}

/// Ends of bins of sizes softmax, each at least [`SMALLEST`] of the interval.
fn ends(raw: &[f64]) -> Vec<f64> {
    let total: f64 = raw.iter().map(|r| r.exp()).sum();
    let part = |r: &f64| SMALLEST + (1.0 - SMALLEST * raw.len() as f64) * r.exp() / total;
    let mut ends = vec![-BOUND];
    for size in raw.iter().map(part) {
        ends.push(ends[ends.len() - 1] + 2.0 * BOUND * size);
    }
    ends
}

/// Knots (x, y, slope) from raw parameters, written from the definition.
fn knots(raw: &[f64], tails: Tails) -> Vec<[f64; 3]> {
    let (x, y) = (ends(&raw[..BINS]), ends(&raw[BINS..2 * BINS]));
    let mut slopes: Vec<f64> = raw[2 * BINS..].iter().map(|r| SMALLEST + r.exp().ln_1p()).collect();
    if tails == Tails::Identity {
        slopes.insert(0, 1.0);
        slopes.push(1.0);
    }
    assert_eq!(slopes.len(), BINS + 1);
    (0..=BINS).map(|k| [x[k], y[k], slopes[k]]).collect()
}

fn cases() -> Vec<(Tails, Vec<f64>)> {
    let mut cases = Vec::new();
    for tails in [Tails::Identity, Tails::Linear] {
        for seed in 0..6 {
            let scale = [0.3, 1.0, 3.0][seed as usize % 3];
            cases.push((tails, raw(&spline(tails), seed, scale)));
        }
    }
    cases
}

#[test]
fn a_spline_passes_through_its_knots_with_its_slopes() {
    for (tails, raw) in cases() {
        for [x, y, slope] in knots(&raw, tails) {
            // Knots are sums of a few terms; a bin of width 1e-3 of the interval turns an error of
            // 1e-15 in x into 1e-12 of its width, and that into as much of the slope.
            let (values, logs) = at::<f64>(&spline(tails), &raw, &[x], false);
            close_number("value", values[0], y, 1e-11);
            close_number("log-slope", logs[0], slope.ln(), 1e-9);
            let (values, logs) = at::<f64>(&spline(tails), &raw, &[y], true);
            close_number("inverse value", values[0], x, 1e-11);
            close_number("inverse log-slope", -logs[0], slope.ln(), 1e-9);
        }
    }
}

#[test]
fn values_and_slopes_are_continuous_at_knots_and_bounds() {
    for (tails, raw) in cases() {
        for [x, y, slope] in knots(&raw, tails) {
            let h = 1e-7;
            let points = [x - h, x + h];
            let (values, logs) = at::<f64>(&spline(tails), &raw, &points, false);
            // One-sided difference quotients with the knot itself: off by h times half the second
            // derivative on that side. Slopes change by order 10 within bins of 5e-3 at worst,
            // and by a factor of a thousand more where a steep bin meets a flat one.
            let quotients = [(y - values[0]) / h, (values[1] - y) / h];
            for (quotient, log) in quotients.iter().zip(&logs) {
                close_number("one-sided slope", *quotient, slope, 5e-2);
                close_number("slope beside the knot", log.exp(), slope, 5e-2);
            }
            // Half a step halves what is left: the limit is the slope itself.
            let near = at::<f64>(&spline(tails), &raw, &[x - h / 100.0, x + h / 100.0], false).1;
            for (near, far) in near.iter().zip(&logs) {
                let (near, far) = ((near - slope.ln()).abs(), (far - slope.ln()).abs());
                assert!(near <= 0.05 * far + 1e-9, "a jump of the slope at {x}: {near} {far}");
            }
        }
    }
}

#[test]
fn tails_are_straight_lines_of_slope_one_or_the_end_slope() {
    for (tails, raw) in cases() {
        let all = knots(&raw, tails);
        for (sign, knot) in [(-1.0, all[0]), (1.0, all[BINS])] {
            let slope = if tails == Tails::Identity { 1.0 } else { knot[2] };
            for beyond in [1e-9, 0.1, 10.0, 1e6] {
                let x = sign * (BOUND + beyond);
                let y = sign * (BOUND + slope * beyond);
                let (values, logs) = at::<f64>(&spline(tails), &raw, &[x], false);
                close_number("tail", values[0], y, 1e-14);
                close_number("log-slope of a tail", logs[0], slope.ln(), 1e-13);
                let (values, logs) = at::<f64>(&spline(tails), &raw, &[y], true);
                close_number("inverse tail", values[0], x, 1e-12);
                close_number("inverse log-slope of a tail", -logs[0], slope.ln(), 1e-13);
            }
        }
    }
}

#[test]
fn splines_increase_on_a_sorted_grid() {
    let grid: Vec<f64> = (0..=1000).map(|i| 1.5 * BOUND * (f64::from(i) / 500.0 - 1.0)).collect();
    for (tails, raw) in cases() {
        for inverse in [false, true] {
            let (wide, logs) = at::<f64>(&spline(tails), &raw, &grid, inverse);
            assert!(wide.windows(2).all(|w| w[0] < w[1]), "{tails:?} inverse {inverse}");
            // Slopes of a bin lie between those of a flat and of a steep end: all positive.
            assert!(logs.iter().all(|l| l.is_finite()));
            // In single precision a flat stretch may step back by the rounding of its bin: the
            // knots are sums of up to seven terms of size 2.5, each off by half of 3e-7.
            let (narrow, _) = at::<f32>(&spline(tails), &raw, &grid, inverse);
            let slack = 8.0 * 3e-7;
            assert!(narrow.windows(2).all(|w| w[1] > w[0] - slack), "{tails:?} {inverse}");
        }
    }
}

#[test]
fn log_slopes_are_those_of_differences_and_the_inverse_undoes_the_spline() {
    let grid: Vec<f64> =
        (0..=1000).map(|i| 1.5 * BOUND * (f64::from(i) / 500.0 - 1.0) + 1e-4).collect();
    for (tails, raw) in cases() {
        let inner: Vec<f64> = knots(&raw, tails).iter().map(|k| k[0]).collect();
        let h = 1e-7;
        let shift = |by: f64| grid.iter().map(|x| x + by).collect::<Vec<_>>();
        let (values, logs) = at::<f64>(&spline(tails), &raw, &grid, false);
        let up = at::<f64>(&spline(tails), &raw, &shift(h), false).0;
        let down = at::<f64>(&spline(tails), &raw, &shift(-h), false).0;
        let (back, negated) = at::<f64>(&spline(tails), &raw, &values, true);
        for (i, x) in grid.iter().enumerate() {
            // Documented accuracy of a round trip; its log-slope is as far off as the slope
            // changes over the error, and slopes change by a factor within 5e-3 at the fastest.
            close_number("round trip", back[i], *x, 1e-9);
            close_number("inverse log-slope", -negated[i], logs[i], 1e-6);
            if inner.iter().all(|knot| (knot - x).abs() > 2.0 * h) {
                // Rounding over step: 3e-16 / 1e-7 = 3e-9 of a value of order one, and a slope of
                // 1e-4 or more; h^2 times third derivatives is far less.
                let quotient = (up[i] - down[i]) / (2.0 * h);
                assert!((quotient - logs[i].exp()).abs() < 1e-5 * (1.0 + quotient), "at {x}");
            }
        }
    }
}

#[test]
fn affine_maps_are_the_formula_and_stay_within_their_bound() {
    let points = [-1e6, -1.0, 0.0, 0.5, 1e6];
    for a in [-50.0_f64, -2.0, 0.0, 0.7, 50.0] {
        for (scale, s) in [(Scale::Exp, a), (Scale::Bounded { bound: 1.5 }, 1.5 * (a / 1.5).tanh())]
        {
            let (values, logs) =
                at::<f64>(&Affine::new(scale).unwrap(), &[a, 0.25], &points, false);
            for ((x, value), log) in points.iter().zip(values).zip(logs) {
                close_number("value", value, s.exp() * x + 0.25, 1e-13);
                close_number("log-slope", log, s, 1e-14);
            }
        }
    }
}

#[test]
fn a_steep_knot_leaves_finite_log_slopes() {
    // Equal bins and slope d at all inner knots. In the middle of a bin xi = 1/2 and the secant is
    // 1, so that the slope is (d + 1)/2 / ((d + 1)/2)^2 = 2 / (d + 1): no overflow for any d.
    for d in [1e3_f64, 1e10, 1e25] {
        let map = spline(Tails::Identity);
        let raw = [[0.0; 2 * BINS].to_vec(), vec![d; BINS - 1]].concat();
        let expected = (2.0 / (d + 1.0)).ln();
        let (values, logs) = at::<f64>(&map, &raw, &[0.0], false);
        assert!(values[0].abs() < 1e-12 && (logs[0] - expected).abs() < 1e-3, "{d:e}: {logs:?}");
        // The knots are off by a few units of 3e-7, and within 1/d of them the slope is another.
        let (values, logs) = at::<f32>(&map, &raw, &[0.0], false);
        assert!(values[0].abs() < 1e-5 && (logs[0] - expected).abs() < 1e-2, "{d:e}: {logs:?}");
    }
}
