//! A model file may hold anything: an order that is none is an error, not a panic.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::assert_error;
use flows_core::{Bijector, Context, Error, Layer, Parameters, Role, Tape, Values, stream};
use flows_finite::{LuLinear, Mask, Permutation};

fn with_order(mut bijector: Layer<f64>, order: &[f64]) -> Layer<f64> {
    let mut seen = 0;
    let result = bijector.visit_mut(&mut |_, role, tensor| {
        if role == Role::Learned {
            return Ok(());
        }
        seen += 1;
        set_values(tensor, order)
    });
    result.unwrap();
    assert_eq!(seen, 1, "one order is saved with the model");
    bijector
}

fn bijectors() -> [Layer<f64>; 2] {
    let order = [2, 0, 1];
    let eye = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let lu = LuLinear::from_factors(&order, &eye, &eye, &[1.0; 3]).unwrap();
    [lu, Layer::new(Permutation::new(&order).unwrap(), &mut stream(0, "init")).unwrap()]
}

#[test]
fn feature_i_of_the_image_is_the_one_that_the_order_names() {
    for bijector in bijectors() {
        let z = batch(vec![10.0, 11.0, 12.0], 1, 3).unwrap();
        let (none, tape) = (Context::none(), &mut Tape::none());
        let out = bijector.forward(&z, &none, tape).unwrap();
        assert_eq!(out.value.values(), [12.0, 10.0, 11.0]);
        assert_eq!(out.log_det.values(), [0.0]);
        let back = bijector.inverse(&out.value, &none, tape).unwrap();
        assert_eq!(back.value.values(), z.values());
    }
}

#[test]
fn an_order_that_is_no_permutation_is_an_error_in_either_direction() {
    let bad = [
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 3.0],
        [-1.0, 1.0, 2.0],
        [0.5, 1.0, 2.0],
        [f64::NAN, 1.0, 2.0],
        [1e30, 1.0, 2.0],
        [f64::INFINITY, 1.0, 2.0],
    ];
    for order in bad {
        for bijector in bijectors() {
            let bijector = with_order(bijector, &order);
            let z = batch(vec![1.0; 3], 1, 3).unwrap();
            let (none, tape) = (Context::none(), &mut Tape::none());
            let forward = bijector.forward(&z, &none, tape);
            let inverse = bijector.inverse(&z, &none, tape);
            for result in [forward, inverse] {
                assert_error!(
                    result,
                    Error::Parameter { .. },
                    ["order", "a permutation of 0, 1, .. dim - 1"],
                    "{order:?}"
                );
            }
        }
    }
}

#[test]
fn orders_factors_and_masks_that_make_no_sense_are_not_built() {
    for order in [&[0, 0][..], &[1, 2], &[2, 0]] {
        assert_error!(
            Permutation::new(order),
            Error::Parameter { .. },
            ["order of a permutation", "a permutation of 0, 1, .. dim - 1"],
            "{order:?}"
        );
    }
    let zeros = [0.0; 4];
    assert_error!(
        LuLinear::from_factors::<f32>(&[0, 0], &zeros, &zeros, &[1.0, 1.0]),
        Error::Parameter { .. },
        ["order of a linear layer", "a permutation of 0, 1, .. dim - 1"]
    );
    for diagonal in [[0.0, 1.0], [-1.0, 1.0], [f64::NAN, 1.0]] {
        assert_error!(
            LuLinear::from_factors::<f32>(&[0, 1], &zeros, &zeros, &diagonal),
            Error::Parameter { .. },
            ["diagonal of U", "positive and finite", &format!("got {}", diagonal[0])]
        );
    }
    assert_error!(
        LuLinear::from_factors::<f32>(&[0, 1], &zeros[..3], &zeros, &[1.0, 1.0]),
        Error::Dimension { op: "factors of a linear layer", expected: 4, got: 3 }
    );
    assert_error!(
        Mask::new(vec![false, false]),
        Error::Parameter { .. },
        ["transformed features of a mask", "at least 1"]
    );
    assert_error!(
        Mask::halves(0, false),
        Error::Parameter { .. },
        ["transformed features of a mask", "at least 1"]
    );
    for dim in 1..8 {
        for mask in
            [Mask::halves(dim, false), Mask::halves(dim, true), Mask::alternating(dim, true)]
        {
            let mask = mask.unwrap();
            let mut all = [mask.kept(), mask.transformed()].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..dim) && !mask.transformed().is_empty());
        }
    }
}

#[test]
fn a_linear_layer_without_features_is_not_built() {
    assert_error!(
        LuLinear::new(0),
        Error::Parameter { .. },
        ["features of a linear layer", "at least 1"]
    );
}
