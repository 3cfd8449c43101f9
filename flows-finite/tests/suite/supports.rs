//! Fixed maps onto constrained supports, against plain formulas and at their bounds.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::tensor::batch;
use flows_core::testing::{assert_error, distance, wide};
use flows_core::{Bijector, Context, Error, Layer, Real, Tape, Values, stream};
use flows_finite::transformer::Transformer;
use flows_finite::{Elementwise, FixedAffine, HalfLine, Interval};

use crate::sums::{gradients, mapped};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn points() -> Vec<f64> {
    (-400..=400).map(|i| f64::from(i) * 0.03).collect()
}

fn lift<E: Real>(transformer: Arc<dyn Transformer<E>>) -> Layer<E> {
    Layer::new(Elementwise::new(1, transformer), &mut stream(1, "init")).unwrap()
}

fn interval<E: Real>(low: f64, high: f64) -> Arc<dyn Transformer<E>> {
    Arc::new(Interval::new(low, high).unwrap())
}

fn above<E: Real>(low: f64) -> Arc<dyn Transformer<E>> {
    Arc::new(HalfLine::new(low).unwrap())
}

fn below<E: Real>(high: f64) -> Arc<dyn Transformer<E>> {
    Arc::new(HalfLine::below(high).unwrap())
}

/// Value and log-slope forward, and back, against `plain`; returns the largest differences.
fn against<E: Real>(
    transformer: Arc<dyn Transformer<E>>,
    plain: &dyn Fn(f64) -> (f64, f64),
) -> [f64; 4] {
    let layer = lift(transformer);
    let x = wide(&points().iter().map(|&x| E::of(x)).collect::<Vec<E>>());
    let (y, slopes): (Vec<f64>, Vec<f64>) = x.iter().map(|&x| plain(x)).unzip();
    let (value, log_det) = mapped(&layer, true, &x);
    let (back, back_log_det) = mapped(&layer, false, &value);
    let negated: Vec<f64> = back_log_det.iter().map(|l| -l).collect();
    [
        distance(&value, &y),
        distance(&log_det, &slopes),
        distance(&back, &x),
        distance(&negated, &slopes),
    ]
}

#[test]
fn maps_agree_with_plain_formulas() {
    fn check<E: Real>() {
        let epsilon = E::epsilon().as_f64();
        let found = [
            against::<E>(interval(-2.0, 3.0), &|x| {
                let slope = 5.0 * sigmoid(x) * sigmoid(-x);
                (-2.0 + 5.0 * sigmoid(x), slope.ln())
            }),
            against::<E>(above(-1.5), &|x| (-1.5 + softplus(x), -softplus(-x))),
            against::<E>(above(0.0), &|x| (softplus(x), -softplus(-x))),
            against::<E>(below(-1.5), &|x| (-1.5 - softplus(-x), -softplus(x))),
            against::<E>(Arc::new(FixedAffine::new(2.5, -1.0).unwrap()), &|x| {
                (2.5 * x - 1.0, 2.5_f64.ln())
            }),
        ];
        println!("{}: in epsilon {:?}", E::NAME, found.map(|f| f.map(|d| d / epsilon)));
        // A value is known to epsilon |bound|: at 12 from the middle, where the distance from the
        // bound is e^-12 of the width, its logarithm is known to e^12 = 1.6e5 times that.
        for (index, [value, slope, back, back_slope]) in found.into_iter().enumerate() {
            let condition = if matches!(index, 0 | 1 | 3) { 1.6e5 } else { 1.0 };
            assert!(value <= 4.0 * epsilon && slope <= 4.0 * epsilon, "{index}: {value} {slope}");
            let allowed = 4.0 * condition * epsilon;
            assert!(back <= allowed && back_slope <= allowed, "{index}: {back} {back_slope}");
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn gradients_agree_with_plain_formulas() {
    let x = points();
    let layer = lift(interval(-2.0, 3.0));
    let (rows, y) = (x.len(), mapped(&layer, true, &x).0);
    let grid = |values: &[f64]| batch(values.to_vec(), rows, 1).unwrap();
    let slope = |x: f64| 5.0 * sigmoid(x) * sigmoid(-x);
    let bend = |x: f64| sigmoid(-x) - sigmoid(x);
    let forward: Vec<f64> = x.iter().map(|&x| slope(x) + bend(x)).collect();
    let inverse: Vec<f64> = x.iter().map(|&x| (1.0 - bend(x)) / slope(x)).collect();
    let found = gradients(&layer, true, &grid(&x)).unwrap().remove(0).1;
    assert!(distance(&found, &forward) <= 1e-14);
    let found = gradients(&layer, false, &grid(&y)).unwrap().remove(0).1;
    // Known to e^12 epsilon again.
    assert!(distance(&found, &inverse) <= 4.0 * 1.6e5 * f64::EPSILON);

    let layer = lift(above(0.0));
    let y: Vec<f64> = x.iter().map(|&x| softplus(x)).collect();
    let forward: Vec<f64> = x.iter().map(|&x| sigmoid(x) + sigmoid(-x)).collect();
    let inverse: Vec<f64> = x.iter().map(|&x| (1.0 - sigmoid(-x)) / sigmoid(x)).collect();
    let found = gradients(&layer, true, &grid(&x)).unwrap().remove(0).1;
    assert!(distance(&found, &forward) <= 1e-14);
    let found = gradients(&layer, false, &grid(&y)).unwrap().remove(0).1;
    assert!(distance(&found, &inverse) <= 1e-13);

    let layer = lift(below(0.0));
    let forward: Vec<f64> = x.iter().map(|&x| sigmoid(-x) - sigmoid(x)).collect();
    let found = gradients(&layer, true, &grid(&x)).unwrap().remove(0).1;
    assert!(distance(&found, &forward) <= 1e-14);
}

#[test]
fn both_directions_keep_off_the_bounds() {
    fn check<E: Real>() {
        for (low, high) in [(0.0, 1.0), (-1.0, 0.0), (-2.0, 3.0), (1000.0, 1001.0), (-1e30, 1e30)] {
            let layer = lift::<E>(interval(low, high));
            let (inside, _) = mapped(&layer, true, &[-1e30, -1e6, -50.0, 50.0, 1e6, 1e30]);
            assert!(inside.iter().all(|&y| low < y && y < high), "{low} {high}: {inside:?}");
            let (ends, log_det) = mapped(&layer, false, &[low, high, inside[0], inside[5]]);
            assert!(ends.iter().chain(&log_det).all(|v| v.is_finite() && v.abs() < 800.0));
            // Ends of both directions agree, but for the rounding of a margin to the spacing of
            // numbers at the bound, at most by a factor of two.
            let unit = E::epsilon().as_f64() * 800.0;
            assert!(
                (ends[0] - ends[2]).abs() <= 0.7 + unit && (ends[1] - ends[3]).abs() <= 0.7 + unit
            );
        }
        let layer = lift::<E>(above(5.0));
        let (inside, _) = mapped(&layer, true, &[-1e30, -100.0, 1e30]);
        assert!(inside.iter().all(|&y| y > 5.0 && y.is_finite()), "{inside:?}");
        let (ends, log_det) = mapped(&layer, false, &[5.0, inside[0]]);
        assert!(ends.iter().chain(&log_det).all(|v| v.is_finite()));
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn log_slopes_come_from_the_raw_input() {
    // In f32 the logistic function of 30 is 1; its slope is not 0.
    let layer = lift::<f32>(interval(0.0, 1.0));
    let (_, log_det) = mapped(&layer, true, &[30.0, -30.0, 1000.0]);
    assert!(distance(&log_det, &[-30.0, -30.0, -1000.0]) <= 1e-6);
    let layer = lift::<f32>(above(1.0));
    let (_, log_det) = mapped(&layer, true, &[-30.0, -1000.0]);
    assert!(distance(&log_det, &[-30.0, -1000.0]) <= 1e-6);
}

#[test]
fn values_outside_of_the_support_are_errors_that_name_the_row() {
    let interval = lift::<f64>(interval(0.0, 1.0));
    let half_line = lift::<f64>(above(0.0));
    for bad in [-1e-9, -1.0, f64::NAN, f64::INFINITY] {
        let mut values = vec![0.5; 300];
        values[200] = bad;
        let x = batch(values, 300, 1).unwrap();
        let (none, tape) = (Context::none(), &mut Tape::none());
        for result in [interval.inverse(&x, &none, tape), half_line.inverse(&x, &none, tape)] {
            assert!(matches!(result, Err(Error::NonFinite { row: 200, .. })), "{bad}");
        }
    }
}

#[test]
fn impossible_supports_are_errors() {
    for (low, high) in [
        (1.0, 1.0),
        (2.0, 1.0),
        (f64::NAN, 1.0),
        (0.0, f64::INFINITY),
        (1e8, 1e8 + 1.0),
        (0.0, 1e39),
    ] {
        assert_error!(
            Interval::new(low, high),
            Error::Parameter { .. },
            ["width of an interval", "positive and finite, also in f32"],
            "{low} {high}"
        );
    }
    for low in [f64::NAN, f64::INFINITY, 1e39] {
        assert_error!(
            HalfLine::new(low),
            Error::Parameter { .. },
            ["bound of a half-line", "finite, also in f32", &format!("got {low}")]
        );
    }
    for (scale, shift) in [(0.0, 0.0), (-1.0, 0.0), (f64::NAN, 0.0), (1e39, 0.0), (1.0, f64::NAN)] {
        assert_error!(
            FixedAffine::new(scale, shift),
            Error::Parameter { .. },
            ["of a fixed map", "finite, also in f32"]
        );
    }
}

#[test]
fn a_uniform_density_on_the_unit_interval_is_normalised() {
    // The log-det of the inverse integrates a logistic base to the uniform density exactly.
    let layer = lift::<f64>(interval(0.0, 1.0));
    let y: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
    let input = batch(y, 99, 1).unwrap();
    let out = layer.inverse(&input, &Context::none(), &mut Tape::none()).unwrap();
    for (x, log_det) in out.value.values().into_iter().zip(out.log_det.values()) {
        let logistic = -softplus(x) - softplus(-x);
        assert!((logistic + log_det).abs() <= 1e-14);
    }
}
