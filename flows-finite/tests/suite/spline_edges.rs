//! Failures that users of other systems reported of splines, and the edges of the numbers.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::operation::LANES;
use flows_core::{Error, Real, normals, stream};
use flows_finite::transformer::{Inner, Outer};
use flows_finite::{
    CircularSpline, CubicSpline, LinearRational, LinearSpline, QuadraticSpline, Tails, Transformer,
};

use crate::elements::splines;

const BINS: usize = 5;
const BOUND: f64 = 3.0;

/// Every spline with a name and its tails.
fn all<E: Real>() -> Vec<(String, Arc<dyn Transformer<E>>, Tails)> {
    let mut all = Vec::new();
    for tails in [Tails::Identity, Tails::Linear, Tails::Circular] {
        for config in splines(BINS, BOUND, tails) {
            all.push((format!("{config:?}"), config.build().unwrap(), tails));
        }
    }
    all
}

/// One parameter set for all lanes, `scale` N(0, 1) from the identity.
fn theta<E: Real>(map: &dyn Transformer<E>, seed: u64, scale: f64) -> Vec<E> {
    let noise = normals::<f64>(map.arity(), &mut stream(seed, "raw"));
    let raw = map.initial().into_iter().zip(noise).map(|(s, n)| s + scale * n);
    raw.flat_map(|p| vec![E::of(p); LANES]).collect()
}

fn filled<E: Real>(points: &[f64]) -> Vec<E> {
    (0..LANES).map(|lane| E::of(points[lane % points.len()])).collect()
}

fn map_points<E: Real>(
    map: &dyn Transformer<E>,
    theta: &[E],
    points: &[E],
    inverse: bool,
) -> [Vec<E>; 2] {
    let (mut value, mut slope) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
    if inverse {
        map.inverse(points, theta, &mut value, &mut slope).unwrap();
    } else {
        map.forward(points, theta, &mut value, &mut slope).unwrap();
    }
    [value, slope]
}

fn gradients<E: Real>(
    map: &dyn Transformer<E>,
    theta: &[E],
    x: &[E],
    inverse: bool,
) -> [Vec<E>; 2] {
    let (mut value, mut others) = (vec![E::zero(); LANES], vec![E::zero(); theta.len()]);
    let ones = [E::one(); LANES];
    let outer = Outer { value: &ones, log_slope: &ones };
    let inner = Inner { value: &mut value, theta: &mut others };
    if inverse {
        map.inverse_gradient(x, theta, outer, inner);
    } else {
        map.forward_gradient(x, theta, outer, inner);
    }
    [value, others]
}

fn all_finite<E: Real>(what: &str, values: &[Vec<E>]) {
    let bad = values.iter().flatten().find(|v| !v.is_finite());
    assert!(bad.is_none(), "{what}: {bad:?} in {}", E::NAME);
}

fn finite_everywhere<E: Real>() {
    let small = E::min_positive_value().as_f64() / 8.0;
    let beside = BOUND * (1.0 + 1e-7);
    let edges: Vec<f64> = [0.0, BOUND, beside, 2.0 * BOUND - beside, 1e6, 1e30, small, 1.0]
        .iter()
        .flat_map(|&x| [x, -x])
        .collect();
    let modest: Vec<f64> = edges.iter().map(|x| x.clamp(-1e6, 1e6)).collect();
    let (edges, modest) = (filled(&edges), filled(&modest));
    for (name, map, _) in all::<E>() {
        for (seed, scale) in [(0, 0.0), (1, 1.0), (2, 4.0), (3, 20.0)] {
            let theta = theta(&*map, seed, scale);
            for inverse in [false, true] {
                let what = format!("{name}, scale {scale}, inverse {inverse}");
                all_finite(&what, &map_points(&*map, &theta, &edges, inverse));
                let what = format!("{what}, gradient");
                all_finite(&what, &gradients(&*map, &theta, &modest, inverse));
            }
        }
    }
}

#[test]
fn values_and_gradients_are_finite_at_all_edges() {
    // Points outside of the interval next to points inside: nflows 23 and 87, flowjax 240,
    // bayesflow 721, pyro 3139.
    finite_everywhere::<f32>();
    finite_everywhere::<f64>();
}

#[test]
fn the_discriminant_of_an_inverse_may_be_negative_by_rounding() {
    // nflows 87: every value of a fine grid around knots and ends, under steep parameters.
    fn check<E: Real>() {
        let step = |lane: usize| E::epsilon().as_f64() * BOUND * lane as f64;
        let beside = |lane| if lane % 2 == 0 { BOUND - step(lane) } else { step(lane) - BOUND };
        let points = filled(&(0..LANES).map(beside).collect::<Vec<f64>>());
        for (name, map, _) in all::<E>() {
            for seed in 0..40 {
                let theta = theta(&*map, seed, 6.0);
                let [y, _] = map_points(&*map, &theta, &points, false);
                let [x, log] = map_points(&*map, &theta, &y, true);
                all_finite(&name, &[x.clone(), log]);
                let inside = x.iter().all(|x| x.abs() <= E::of(BOUND * 1.0001));
                assert!(inside, "{name} left the interval");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn elements_outside_do_not_touch_those_inside() {
    // flowjax 240, bayesflow 721: gradients of an element are the same whatever its batch mates.
    for (name, map, _) in all::<f64>() {
        let map = &*map;
        let theta = theta(map, 5, 1.0);
        let inside = filled(&[0.3, -1.2, 2.9]);
        let mut mixed = inside.clone();
        for lane in (0..LANES).step_by(2) {
            mixed[lane] = if lane % 4 == 0 { 1e6 } else { -50.0 };
        }
        for inverse in [false, true] {
            let apart = gradients(map, &theta, &inside, inverse);
            let together = gradients(map, &theta, &mixed, inverse);
            all_finite(&name, &together);
            for (apart, together) in apart.iter().zip(&together) {
                for i in (1..apart.len()).step_by(2) {
                    assert_eq!(apart[i].to_bits(), together[i].to_bits(), "{name} {inverse}");
                }
            }
        }
    }
}

#[test]
fn all_elements_may_lie_in_the_tails() {
    // nflows 23, pyro 3139.
    for (name, map, tails) in all::<f64>() {
        let map = &*map;
        let theta = theta(map, 6, 1.0);
        let x = filled(&[3.5, -4.0, 100.0, -1e6]);
        let [y, log] = map_points(map, &theta, &x, false);
        let [back, negated] = map_points(map, &theta, &y, true);
        all_finite(&name, &[y.clone(), log.clone()]);
        all_finite(&name, &gradients(map, &theta, &x, false));
        all_finite(&name, &gradients(map, &theta, &x, true));
        for lane in 0..LANES {
            if tails == Tails::Circular {
                assert!(y[lane].abs() <= BOUND, "{name} left the circle");
                continue;
            }
            assert!((back[lane] - x[lane]).abs() <= 1e-9 * x[lane].abs(), "{name}");
            assert!((negated[lane] + log[lane]).abs() <= 1e-12, "{name}");
            assert!(y[lane].abs() > BOUND && y[lane] * x[lane] > 0.0, "{name}");
        }
    }
}

#[test]
fn identity_tails_are_the_identity_to_the_last_bit() {
    for (name, map, tails) in all::<f64>() {
        let map = &*map;
        let theta = theta(map, 7, 2.0);
        let x = filled(&[3.5, -4.0, 128.0, -1e6]);
        let [y, log] = map_points(map, &theta, &x, false);
        if tails == Tails::Identity {
            assert!(y == x && log.iter().all(|l| *l == 0.0), "{name}");
        }
    }
}

#[test]
fn the_log_slope_of_an_inverse_has_the_opposite_sign() {
    // flowtorch 100: computed afresh, by differences of the inverse itself.
    for (name, map, tails) in all::<f64>() {
        let map = &*map;
        let theta = theta(map, 8, 0.7);
        let points = [0.31, -1.27, 2.2, if tails == Tails::Circular { 0.9 } else { 3.7 }];
        let moved = |by: f64| filled::<f64>(&points.map(|p| p + by));
        let [_, log] = map_points(map, &theta, &moved(0.0), true);
        let [up, _] = map_points(map, &theta, &moved(1e-6), true);
        let [down, _] = map_points(map, &theta, &moved(-1e-6), true);
        for lane in 0..points.len() {
            let slope = (up[lane] - down[lane]) / 2e-6;
            assert!((slope.ln() - log[lane]).abs() < 1e-5, "{name}: {slope} {}", log[lane].exp());
        }
    }
}

#[test]
fn whole_turns_change_nothing_on_the_circle() {
    for (name, map, tails) in all::<f64>() {
        let map = &*map;
        let theta = theta(map, 9, 1.0);
        let points = [0.3, -2.9, 1.7, -0.001];
        for turns in [-3.0, -1.0, 1.0, 2.0] {
            let turned = filled::<f64>(&points.map(|p| p + turns * 2.0 * BOUND));
            for inverse in [false, true] {
                let [value, log] = map_points(map, &theta, &filled(&points), inverse);
                let [other, other_log] = map_points(map, &theta, &turned, inverse);
                for lane in 0..if tails == Tails::Circular { LANES } else { 0 } {
                    // 1e-15 of the point, under slopes of up to 1e2.
                    assert!((value[lane] - other[lane]).abs() < 1e-12, "{name}");
                    assert!((log[lane] - other_log[lane]).abs() < 1e-11, "{name}");
                }
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_errors() {
    let refused = |bins: usize, bound: f64| {
        let splines = [
            LinearSpline::new(bins, bound).err(),
            CircularSpline::new(bins, bound).err(),
            QuadraticSpline::new(bins, bound, Tails::Identity).err(),
            CubicSpline::new(bins, bound, Tails::Linear).err(),
            LinearRational::new(bins, bound, Tails::Circular).err(),
        ];
        splines.iter().all(|error| matches!(error, Some(Error::Parameter { .. })))
    };
    for bound in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refused(4, bound), "{bound}");
    }
    assert!(refused(0, 1.0) && refused(1, 1.0) && refused(501, 1.0) && !refused(500, 1.0));
}
