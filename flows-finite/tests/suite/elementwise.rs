//! One transformer for each feature, with its own parameters.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{
    Bijector, BoxBijector, Chain, Context, Cost, Costs, Inverse, Parameters, Result, Values, stream,
};
use flows_finite::transformer::{Inner, Outer, Transformer};
use flows_finite::{Affine, RationalQuadratic, Scale, Tails};
use flows_finite::{Elementwise, FixedAffine, HalfLine, Interval};

use crate::sums::{distance, mapped};

fn check(mut bijector: impl Bijector<f64>, spread: f64) {
    perturb(&mut bijector, 0.4, &mut stream(3, "perturb")).unwrap();
    check_bijector(&mut bijector, 0, normal_point(spread), Tolerance::default());
}

fn spline(tails: Tails) -> RationalQuadratic {
    RationalQuadratic::new(4, 2.0, tails).unwrap()
}

#[test]
fn elementwise_maps_are_bijective() {
    for dim in [1, 2, 5] {
        check(Elementwise::new(dim, Affine::new(Scale::Exp).unwrap()).unwrap(), 1.0);
        check(Elementwise::new(dim, Affine::new(Scale::Bounded(1.5)).unwrap()).unwrap(), 1.0);
        for tails in [Tails::Identity, Tails::Linear] {
            check(Elementwise::new(dim, spline(tails)).unwrap(), 1.5);
        }
        check(Elementwise::new(dim, Interval::new(-1.0, 4.0).unwrap()).unwrap(), 1.0);
        check(Elementwise::new(dim, Interval::new(0.0, 1.0).unwrap()).unwrap(), 0.7);
        check(Elementwise::new(dim, HalfLine::new(0.5).unwrap()).unwrap(), 1.0);
        check(Elementwise::new(dim, FixedAffine::new(3.0, -2.0).unwrap()).unwrap(), 1.0);
    }
}

#[test]
fn chains_onto_a_support_are_bijective() {
    for dim in [1, 3] {
        let onto = |interval: bool| {
            let parts = vec![
                BoxBijector::new(Elementwise::new(dim, spline(Tails::Linear)).unwrap()),
                BoxBijector::new(
                    Elementwise::new(dim, Affine::new(Scale::Bounded(1.0)).unwrap()).unwrap(),
                ),
                if interval {
                    let interval = Interval::new(-2.0, 3.0).unwrap();
                    BoxBijector::new(Elementwise::new(dim, interval).unwrap())
                } else {
                    BoxBijector::new(Elementwise::new(dim, HalfLine::new(-1.0).unwrap()).unwrap())
                },
                BoxBijector::new(
                    Elementwise::new(dim, FixedAffine::new(2.5, 1.0).unwrap()).unwrap(),
                ),
            ];
            Chain::new(dim, parts).unwrap()
        };
        check(onto(true), 0.7);
        check(onto(false), 0.7);
    }
    check(Inverse(Elementwise::new(2, spline(Tails::Identity)).unwrap()), 1.5);
}

#[test]
fn every_feature_has_its_own_parameters() {
    let mut layer = Elementwise::<f64, _>::new(3, Affine::new(Scale::Exp).unwrap()).unwrap();
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
    let layer = Elementwise::<f64, _>::new(4, HalfLine::new(0.0).unwrap()).unwrap();
    let mut tensors = 0;
    layer.visit(&mut |_, _, _| tensors += 1);
    assert_eq!((tensors, layer.count()), (0, 0));
    assert_eq!(layer.costs(), Costs::CLOSED_FORM);
}

#[test]
fn training_starts_at_the_identity() {
    let layer = Elementwise::<f64, _>::new(2, spline(Tails::Identity)).unwrap();
    let z = [0.3, -1.2, 1.9, 5.0];
    let (x, log_det) = mapped(&layer, true, &z);
    assert!(distance(&x, &z) <= 1e-14 && distance(&log_det, &[0.0; 2]) <= 1e-14);
}

/// y = 2x, found in three "iterations".
#[derive(Clone, Debug)]
struct Searched;

impl Transformer<f64> for Searched {
    fn name(&self) -> &'static str {
        "searched"
    }

    fn arity(&self) -> usize {
        0
    }

    fn identity(&self) -> Vec<f64> {
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
    let layer = Elementwise::new(2, Searched).unwrap();
    assert_eq!(layer.costs(), Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative });
    let x = batch(vec![1.0; 600], 300, 2).unwrap();
    let none = Context::none();
    assert_eq!(layer.inverse(x.clone(), &none).unwrap().work.iterations, 6);
    let out = layer.forward(x, &none).unwrap();
    assert_eq!((out.work.iterations, out.value.values()[0]), (0, 2.0));
}
