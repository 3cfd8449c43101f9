//! Each spline against a plain version in double precision, written from the papers' formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Real;
use flows_core::operation::LANES;
use flows_core::testing::close_number;
use flows_finite::architecture::{
    CircularSplineConfig, CubicSplineConfig, LinearRationalConfig, LinearSplineConfig,
    QuadraticSplineConfig, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_finite::transformer::{Inner, Outer};
use flows_finite::{Tails, Transformer};

use crate::elements::Formula;

use super::spline_formulas::{
    BOUND, Piece, Plain, TAILS, cubic, cubic_piece, linear, linear_piece, linear_rational,
    linear_rational_piece, quadratic, quadratic_piece, rational_quadratic,
    rational_quadratic_piece,
};

type Build = fn(&[f64], usize, Tails) -> Plain;
type Kind = fn(SplineConfig) -> Arc<dyn TransformerConfig>;

/// Calls `check` for every spline: a name, the map, its plain version, and its tails.
fn for_all(check: &mut dyn FnMut(&str, &Spline, &Formula<'_>, Tails)) {
    for bins in [2, 5] {
        let spline = |kind: Kind, tails| {
            let config = kind(SplineConfig { bins, bound: BOUND, tails });
            Spline { wide: config.build().unwrap(), narrow: config.build().unwrap() }
        };
        let mut case = |name: &str, kind, build: Build, piece: Piece, tails| {
            let plain = |raw: &[f64], x: f64| build(raw, bins, tails).at(x, piece, tails);
            check(name, &spline(kind, tails), &plain, tails);
        };
        case(
            "linear",
            |config| LinearSplineConfig(config).shared(),
            linear,
            linear_piece,
            Tails::Identity,
        );
        for tails in TAILS {
            case(
                "quadratic",
                |config| QuadraticSplineConfig(config).shared(),
                quadratic,
                quadratic_piece,
                tails,
            );
            case("cubic", |config| CubicSplineConfig(config).shared(), cubic, cubic_piece, tails);
            let (build, piece): (Build, Piece) = (rational_quadratic, rational_quadratic_piece);
            case(
                "rational-quadratic",
                |config| RationalQuadraticConfig(config).shared(),
                build,
                piece,
                tails,
            );
            let (build, piece): (Build, Piece) = (linear_rational, linear_rational_piece);
            case(
                "linear-rational",
                |config| LinearRationalConfig(config).shared(),
                build,
                piece,
                tails,
            );
        }
        let plain = |raw: &[f64], x: f64| {
            let spline = rational_quadratic(&raw[1..], bins, Tails::Circular);
            let (y, log) = spline.at(x, rational_quadratic_piece, Tails::Circular);
            ((y + raw[0] + BOUND).rem_euclid(2.0 * BOUND) - BOUND, log)
        };
        let circular = spline(|config| CircularSplineConfig(config).shared(), Tails::Circular);
        check("circular", &circular, &plain, Tails::Circular);
    }
}

/// A transformer in both precisions.
struct Spline {
    wide: Arc<dyn Transformer<f64>>,
    narrow: Arc<dyn Transformer<f32>>,
}

fn at<E: Real>(
    map: &dyn Transformer<E>,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> (Vec<f64>, Vec<f64>) {
    let theta: Vec<E> = raw.iter().flat_map(|&p| vec![E::of(p); LANES]).collect();
    let (mut values, mut slopes) = (Vec::new(), Vec::new());
    for part in points.chunks(LANES) {
        let mut input: Vec<E> = part.iter().map(|&p| E::of(p)).collect();
        input.resize(LANES, E::zero());
        let (mut value, mut slope) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
        let done = if inverse {
            map.inverse(&input, &theta, &mut value, &mut slope)
        } else {
            map.forward(&input, &theta, &mut value, &mut slope).map(|()| 0)
        };
        assert_eq!(done.unwrap(), 0);
        values.extend(value[..part.len()].iter().map(|v| v.as_f64()));
        slopes.extend(slope[..part.len()].iter().map(|v| v.as_f64()));
    }
    (values, slopes)
}

impl Spline {
    fn double(&self, raw: &[f64], points: &[f64], inverse: bool) -> (Vec<f64>, Vec<f64>) {
        at(&*self.wide, raw, points, inverse)
    }

    fn single(&self, raw: &[f64], points: &[f64], inverse: bool) -> (Vec<f64>, Vec<f64>) {
        at(&*self.narrow, raw, points, inverse)
    }

    /// Gradients of x and of the parameters for those of y and the log-slope, all lanes alike.
    fn gradient(&self, raw: &[f64], x: f64, outer: [f64; 2], inverse: bool) -> (f64, Vec<f64>) {
        let theta: Vec<f64> = raw.iter().flat_map(|&p| vec![p; LANES]).collect();
        let [value, log_slope] = outer.map(|g| [g; LANES]);
        let outer = Outer { value: &value, log_slope: &log_slope };
        // Gradients are written over, not added to.
        let (mut d_x, mut d_theta) = ([7.0; LANES], vec![7.0; theta.len()]);
        let inner = Inner { value: &mut d_x, theta: &mut d_theta };
        if inverse {
            self.wide.inverse_gradient(&[x; LANES], &theta, outer, inner);
        } else {
            self.wide.forward_gradient(&[x; LANES], &theta, outer, inner);
        }
        (d_x[3], d_theta.iter().skip(3).step_by(LANES).copied().collect())
    }
}

fn raw(map: &Spline, seed: u64, scale: f64) -> Vec<f64> {
    crate::scalar_map::raw(&*map.wide, seed, scale)
}

fn grid(step: f64) -> Vec<f64> {
    let count = (1.3 * BOUND / step) as i32;
    (-count..=count).map(|i| f64::from(i) * step + 1e-4).collect()
}

#[test]
fn every_spline_is_its_formula() {
    for_all(&mut |name, map, plain, tails| {
        for seed in 0..6 {
            let raw = raw(map, seed, [0.3, 1.0, 3.0][seed as usize % 3]);
            let points = grid(0.013);
            let (values, logs) = map.double(&raw, &points, false);
            for ((x, value), log) in points.iter().zip(values).zip(logs) {
                let (y, slope) = plain(&raw, *x);
                let what = format!("{name} {tails:?} seed {seed} at {x}");
                // Knots are off by 1e-15; next to one of a bin of 1e-3 of the interval that is
                // 1e-12 of its width, and slopes there change by up to 1e3 times themselves.
                close_number(&what, value, y, 1e-11);
                close_number(&format!("{what}, log-slope"), log, slope, 1e-8);
            }
        }
    });
}

#[test]
fn every_gradient_is_that_of_the_plain_formula() {
    let outer = [0.7, -1.3];
    let weigh = |(y, log): (f64, f64)| outer[0] * y + outer[1] * log;
    let h = 1e-6;
    for_all(&mut |name, map, plain, tails| {
        for seed in 0..4 {
            let raw = raw(map, 10 + seed, 0.7);
            for x in grid(0.31) {
                let (d_x, d_raw) = map.gradient(&raw, x, outer, false);
                let what = format!("{name} {tails:?} seed {seed} at {x}");
                let of = |x: f64| weigh(plain(&raw, x));
                // Differences: h^2 times third derivatives and 1e-16 / h, both below 1e-8.
                close_number(&what, d_x, (of(x + h) - of(x - h)) / (2.0 * h), 1e-6);
                for (i, got) in d_raw.iter().enumerate() {
                    let moved = |by: f64| {
                        let mut raw = raw.clone();
                        raw[i] += by;
                        weigh(plain(&raw, x))
                    };
                    let difference = (moved(h) - moved(-h)) / (2.0 * h);
                    close_number(&format!("{what}, raw {i}"), *got, difference, 1e-6);
                }
            }
        }
    });
}

#[test]
fn inverse_gradients_follow_from_the_implicit_function_theorem() {
    let (g, l) = (0.7, -1.3);
    for_all(&mut |name, map, _, tails| {
        let raw = raw(map, 20, 0.7);
        for x in grid(0.31) {
            let (slope, of_value) = map.gradient(&raw, x, [1.0, 0.0], false);
            let (bend, of_log) = map.gradient(&raw, x, [0.0, 1.0], false);
            let back = (g - l * bend) / slope;
            let (d_y, d_raw) = map.gradient(&raw, x, [g, l], true);
            let what = format!("{name} {tails:?} at {x}");
            close_number(&what, d_y, back, 1e-11);
            for (i, got) in d_raw.iter().enumerate() {
                close_number(
                    &format!("{what}, raw {i}"),
                    *got,
                    -back * of_value[i] - l * of_log[i],
                    1e-11,
                );
            }
        }
    });
}

#[test]
fn inverses_undo_every_spline() {
    for_all(&mut |name, map, _, tails| {
        for seed in 0..6 {
            let raw = raw(map, 30 + seed, [0.3, 1.0, 3.0][seed as usize % 3]);
            let mut points = grid(0.013);
            if tails == Tails::Circular {
                points.retain(|x| x.abs() < BOUND);
            }
            let (values, logs) = map.double(&raw, &points, false);
            let (back, negated) = map.double(&raw, &values, true);
            for (i, x) in points.iter().enumerate() {
                let what = format!("{name} {tails:?} seed {seed} at {x}");
                close_number(&what, back[i], *x, 1e-9);
                close_number(&format!("{what}, log-slope"), -negated[i], logs[i], 1e-6);
            }
        }
    });
}

#[test]
fn all_parameters_of_the_identity_give_the_identity() {
    for_all(&mut |name, map, _, tails| {
        let mut points = grid(0.013);
        points.extend([0.0, BOUND, -BOUND]);
        if tails == Tails::Circular {
            points.retain(|x| x.abs() < BOUND);
        }
        for inverse in [false, true] {
            let (values, logs) = map.double(&map.wide.initial(), &points, inverse);
            for ((x, value), log) in points.iter().zip(values).zip(logs) {
                let what = format!("{name} {tails:?} inverse {inverse} at {x}");
                // Sums of five widths, about ten roundings of numbers up to the bound.
                close_number(&what, value, *x, 1e-14);
                close_number(&format!("{what}, log-slope"), log, 0.0, 1e-13);
            }
        }
    });
}

#[test]
fn splines_are_continuous_and_so_are_the_slopes_of_all_but_lines() {
    let h = 1e-9;
    for_all(&mut |name, map, _, tails| {
        for seed in 0..4 {
            let raw = raw(map, 40 + seed, 1.0);
            // The ends, and all places where a bin may begin: any point will do.
            let points = [grid(0.013), vec![BOUND, -BOUND]].concat();
            for x in points {
                let (values, logs) = map.double(&raw, &[x - h, x + h], false);
                let turn = 2.0 * BOUND;
                let step = (values[1] - values[0] + BOUND).rem_euclid(turn) - BOUND;
                let step = if tails == Tails::Circular { step } else { values[1] - values[0] };
                // Slopes stay below 2e3: bins of 1e-3 in width, of all of the height.
                assert!(step >= -1e-15 && step < 1e4 * h, "{name} {tails:?} at {x}: step {step}");
                let jump = (logs[1] - logs[0]).abs();
                assert!(name == "linear" || jump < 1e-4, "{name} {tails:?} at {x}: jump {jump}");
            }
        }
    });
}

#[test]
fn single_precision_is_as_good_as_its_rounding() {
    for_all(&mut |name, map, _, tails| {
        for seed in 0..4 {
            let rounded = |values: Vec<f64>| -> Vec<f64> {
                values.iter().map(|&value| f64::from(value as f32)).collect()
            };
            let raw = rounded(raw(map, 50 + seed, 0.7));
            let mut points = rounded(grid(0.013));
            if tails == Tails::Circular {
                points.retain(|x| x.abs() < BOUND);
            }
            let (values, logs) = map.double(&raw, &points, false);
            let (near, near_logs) = map.single(&raw, &points, false);
            let (back, _) = map.single(&raw, &rounded(values.clone()), true);
            for (i, x) in points.iter().enumerate() {
                let what = format!("{name} {tails:?} seed {seed} at {x}");
                // On the circle, off by a whole turn is not off.
                let off = |a: f64, b: f64| match tails {
                    Tails::Circular => ((a - b + BOUND).rem_euclid(2.0 * BOUND) - BOUND).abs(),
                    _ => (a - b).abs(),
                };
                // Ten roundings of the bound in x, times the slope; in the inverse, over it.
                let (error, slope) = (10.0 * 6e-8 * BOUND, logs[i].exp());
                assert!(off(near[i], values[i]) <= error * (1.0 + slope), "{what}: {}", near[i]);
                assert!(off(back[i], *x) <= error * (1.0 + 1.0 / slope), "{what}: {}", back[i]);
                let jump = name == "linear";
                assert!(jump || (near_logs[i] - logs[i]).abs() < 2e-4, "{what}, log-slope");
            }
        }
    });
}

#[test]
fn points_inside_stay_inside() {
    for_all(&mut |name, map, _, tails| {
        for seed in 0..20 {
            let raw = raw(map, 60 + seed, 3.0);
            let points: Vec<f64> = grid(0.0013).into_iter().filter(|x| x.abs() <= BOUND).collect();
            for inverse in [false, true] {
                let all =
                    [map.double(&raw, &points, inverse).0, map.single(&raw, &points, inverse).0];
                let outside = all.iter().flatten().find(|y| y.abs() > BOUND);
                assert!(outside.is_none(), "{name} {tails:?} {outside:?}");
            }
        }
    });
}
