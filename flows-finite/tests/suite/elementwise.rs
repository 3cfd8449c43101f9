//! One transformer for each feature, with its own parameters.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{Tolerance, check_bijector, distance, normal_point, perturb};
use flows_core::{
    Bijector, Chain, Context, Cost, Costs, Inverse, Layer, Parameters, Result, Tape, Values, stream,
};
use flows_finite::architecture::{
    AffineConfig, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_finite::transformer::{Inner, Outer, Transformer};
use flows_finite::{Elementwise, FixedAffine, HalfLine, Interval, Scale, Tails};

use crate::sums::mapped;

fn lift(dim: usize, transformer: Arc<dyn Transformer<f64>>) -> Layer<f64> {
    Layer::new(Elementwise::new(dim, transformer), &mut stream(1, "init")).unwrap()
}

fn check(bijector: &mut dyn Bijector<f64>, spread: f64) {
    perturb(bijector, 0.4, &mut stream(3, "perturb")).unwrap();
    check_bijector(bijector, normal_point(spread), Tolerance::default());
}

fn affine(scale: Scale) -> Arc<dyn Transformer<f64>> {
    AffineConfig { scale, inverted: false }.shared().build().unwrap()
}

fn spline(tails: Tails) -> Arc<dyn Transformer<f64>> {
    let config = SplineConfig { bins: 4, bound: 2.0, tails };
    RationalQuadraticConfig(config).shared().build().unwrap()
}

fn interval(low: f64, high: f64) -> Arc<dyn Transformer<f64>> {
    Arc::new(Interval::new(low, high).unwrap())
}

fn above(low: f64) -> Arc<dyn Transformer<f64>> {
    Arc::new(HalfLine::new(low).unwrap())
}

fn fixed(scale: f64, shift: f64) -> Arc<dyn Transformer<f64>> {
    Arc::new(FixedAffine::new(scale, shift).unwrap())
}

#[test]
fn elementwise_maps_are_bijective() {
    for dim in [1, 2, 5] {
        for (transformer, spread) in [
            (affine(Scale::Exp), 1.0),
            (affine(Scale::Bounded { bound: 1.5 }), 1.0),
            (spline(Tails::Identity), 1.5),
            (spline(Tails::Linear), 1.5),
            (interval(-1.0, 4.0), 1.0),
            (interval(0.0, 1.0), 0.7),
            (above(0.5), 1.0),
            (fixed(3.0, -2.0), 1.0),
        ] {
            check(&mut lift(dim, transformer), spread);
        }
    }
}

#[test]
fn chains_onto_a_support_are_bijective() {
    for dim in [1, 3] {
        for support in [interval(-2.0, 3.0), above(-1.0)] {
            let maps = [
                spline(Tails::Linear),
                affine(Scale::Bounded { bound: 1.0 }),
                support,
                fixed(2.5, 1.0),
            ];
            let lift = |map| Box::new(lift(dim, map)) as Box<dyn Bijector<f64>>;
            check(&mut Chain::new(dim, maps.map(lift).into()).unwrap(), 0.7);
        }
    }
    check(&mut Inverse::new(Box::new(lift(2, spline(Tails::Identity)))), 1.5);
}

#[test]
fn every_feature_has_its_own_parameters() {
    let mut layer = lift(3, affine(Scale::Exp));
    assert_eq!(layer.count(), 6);
    let theta = [0.1, 1.0, -0.2, 2.0, 0.3, 3.0];
    layer.visit_mut(&mut |_, _, tensor| set_values(tensor, &theta)).unwrap();
    let z: Vec<f64> = (0..300 * 3).map(|i| (f64::from(i) * 0.37).sin()).collect();
    let expected: Vec<f64> = z
        .iter()
        .enumerate()
        .map(|(i, z)| theta[i % 3 * 2].exp() * z + theta[i % 3 * 2 + 1])
        .collect();
    let (x, log_det) = mapped(&layer, true, &z);
    assert!(distance(&x, &expected) <= 1e-15);
    assert!(distance(&log_det, &[0.2; 300]) <= 1e-15);
}

#[test]
fn a_map_without_parameters_has_no_tensors() {
    let layer = lift(4, above(0.0));
    let mut tensors = 0;
    layer.visit(&mut |_, _, _| tensors += 1);
    assert_eq!((tensors, layer.count()), (0, 0));
    assert_eq!(layer.costs(), Costs::CLOSED_FORM);
}

#[test]
fn training_starts_at_the_identity() {
    let layer = lift(2, spline(Tails::Identity));
    let z = [0.3, -1.2, 1.9, 5.0];
    let (x, log_det) = mapped(&layer, true, &z);
    assert!(distance(&x, &z) <= 1e-14 && distance(&log_det, &[0.0; 2]) <= 1e-14);
}

/// y = 2x, found in three "iterations".
#[derive(Debug)]
struct Searched;

impl Transformer<f64> for Searched {
    fn name(&self) -> &'static str {
        "searched"
    }

    fn arity(&self) -> usize {
        0
    }

    fn initial(&self) -> Vec<f64> {
        Vec::new()
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[f64], _: &[f64], y: &mut [f64], _: &mut [f64]) -> Result<()> {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
        Ok(())
    }

    fn inverse(&self, y: &[f64], _: &[f64], x: &mut [f64], _: &mut [f64]) -> Result<u64> {
        x.iter_mut().zip(y).for_each(|(x, y)| *x = y / 2.0);
        Ok(3)
    }

    fn forward_gradient(&self, _: &[f64], _: &[f64], _: Outer<'_, f64>, _: Inner<'_, f64>) {}
}

#[test]
fn iterations_of_an_inverse_are_counted_over_features_not_blocks() {
    let layer = lift(2, Arc::new(Searched));
    assert_eq!(layer.costs(), Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative });
    let x = batch(vec![1.0; 600], 300, 2).unwrap();
    let (none, tape) = (Context::none(), &mut Tape::none());
    assert_eq!(layer.inverse(&x, &none, tape).unwrap().work.iterations, 6);
    let out = layer.forward(&x, &none, tape).unwrap();
    assert_eq!((out.work.iterations, out.value.values()[0]), (0, 2.0));
}
