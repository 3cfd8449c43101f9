//! Additive and affine transformers are their formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Error;
use flows_core::testing::close_number;
use flows_finite::architecture::{AdditiveConfig, AffineConfig, TransformerConfig};
use flows_finite::transformer::{Affine, Scale};

use crate::elements::{
    Rounding, UNIT, at, check_against, check_couplings, check_single, edges, numbers_at,
};

const SCALES: [Scale; 4] =
    [Scale::Exp, Scale::Bounded { bound: 1.5 }, Scale::Softplus, Scale::Sigmoid];

fn additive() -> Arc<dyn TransformerConfig> {
    AdditiveConfig {}.shared()
}

fn affine(scale: Scale) -> Arc<dyn TransformerConfig> {
    AffineConfig { scale, inverted: false }.shared()
}

/// Where training starts.
fn start(scale: Scale) -> Vec<f64> {
    affine(scale).build::<f64>().unwrap().initial()
}

/// The scale by definition.
fn plain_scale(scale: Scale, a: f64) -> f64 {
    match scale {
        Scale::Exp => a.exp(),
        Scale::Bounded { bound: c } => (c * (a / c).tanh()).exp(),
        Scale::Softplus => (a + ((1.0_f64 - 1e-3).exp() - 1.0).ln()).exp().ln_1p() + 1e-3,
        Scale::Sigmoid => 1.0 / (1.0 + (-a - 2.0).exp()) + 1e-3,
    }
}

#[test]
fn values_and_gradients_are_those_of_the_formula() {
    let points = [-3.0, -0.2, 0.0, 1.0, 7.5];
    for scale in SCALES {
        let plain = |raw: &[f64], x: f64| {
            let scale = plain_scale(scale, raw[0]);
            (scale * x + raw[1], scale.ln())
        };
        for a in [-8.0, -2.0, 0.0, 0.7, 4.9, 8.0] {
            check_against(&affine(scale), &plain, &[a, 0.25], &points, 1e-13);
        }
    }
    check_against(&additive(), &|raw, x| (x + raw[0], 0.0), &[0.3], &points, 1e-15);
}

#[test]
fn couplings_pass_the_check() {
    for scale in SCALES {
        check_couplings(&affine(scale), &[], (0.4, 1.0), &[1, 2, 3]);
    }
    check_couplings(&additive(), &[], (0.4, 1.0), &[1, 2, 3]);
}

#[test]
fn the_start_is_the_identity() {
    let points = [-1e6, -2.0, 0.0, 0.3, 1e30];
    for scale in SCALES {
        let raw = start(scale);
        for inverse in [false, true] {
            let (values, logs) = at::<f64>(&affine(scale), &raw, &points, inverse).unwrap();
            for (i, x) in points.iter().enumerate() {
                close_number("value", values[i] / (1.0 + x.abs()), x / (1.0 + x.abs()), 1e-15);
                close_number("log-slope", logs[i], 0.0, 1e-15);
            }
        }
    }
    assert_eq!(at::<f32>(&additive(), &[0.0], &[0.3], false).unwrap().0, [f64::from(0.3_f32)]);
}

#[test]
fn the_sigmoid_stays_below_its_documented_bound_and_the_softplus_above_its_floor() {
    for a in [-1e30, -100.0, 0.0, 100.0, 1e30] {
        let log = |scale| at::<f64>(&affine(scale), &[a, 0.0], &[1.0], false).unwrap().1[0];
        let sigmoid = log(Scale::Sigmoid).exp();
        assert!((0.999e-3..=1.001 + 1e-15).contains(&sigmoid));
        assert!(log(Scale::Softplus) >= 0.999e-3_f64.ln());
    }
    let start = start(Scale::Sigmoid)[0];
    close_number("raw value of scale one", start, 4.906_754, 1e-6);
}

#[test]
fn a_bound_that_is_no_bound_is_refused() {
    for bound in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Affine::new(Scale::Bounded { bound }), Err(Error::Parameter { .. })));
    }
}

#[test]
fn edges_are_finite() {
    for scale in SCALES {
        // The others' scales outgrow f32 by right: their conditioner sees 1e30.
        if matches!(scale, Scale::Bounded { .. } | Scale::Sigmoid) {
            assert_eq!((edges::<f32>(&affine(scale)), edges::<f64>(&affine(scale))), (0, 0));
        }
        for a in [-5.0, 5.0] {
            numbers_at::<f32>(&affine(scale), &[a, 1.0], &[0.0, 1e-40, 1e6, -1e6, 1e30]);
            numbers_at::<f64>(&affine(scale), &[a, 1.0], &[0.0, 1e-310, 1e6, -1e6, 1e30]);
        }
    }
    assert_eq!((edges::<f32>(&additive()), edges::<f64>(&additive())), (0, 0));
}

#[test]
fn single_precision_is_as_accurate_as_its_rounding() {
    for scale in SCALES {
        for a in [-3.0, 0.1, 3.0] {
            // The logarithm s of the scale is off by two units of 1 + |s|, of a function of one or
            // two steps; so is its exponential, which adds two of its own, and the product one; the
            // sum takes one of y. The inverse is a formula.
            let rounding = |raw: &[f64], x: f64| {
                let factor = plain_scale(scale, raw[0]);
                let (term, log) = ((factor * x).abs(), factor.ln().abs());
                Rounding {
                    value: UNIT * ((5.0 + 2.0 * log) * term + (factor * x + raw[1]).abs()),
                    log_slope: UNIT * 2.0 * (1.0 + log),
                    x: 0.0,
                }
            };
            check_single(&affine(scale), &[a, 0.5], &[-30.0, -1.0, 0.2, 4.0], &rounding);
        }
    }
}
