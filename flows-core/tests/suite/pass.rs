//! Chains of maps, a block of rows through all of them, against the maps one by one.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::operation::LANES;
use flows_core::testing::close;
use flows_core::{
    Bijector, Chain, Context, Cost, Costs, Error, Inverse, Layer, Parameters, Part, Pixelwise,
    Tape, Values,
};

use super::composites::outer_and_parts;
use super::maps::{
    Boxed, CONTEXT, DIRECTIONS, Flip, bend, chain, context, points, run, scale, shear, sinh,
};
use super::outcome::{one_by_one, outcome, weight};

/// Numbers of rows: none, one, and around whole blocks.
pub(super) const ROWS: [usize; 6] = [0, 1, LANES - 1, LANES, LANES + 1, 700];

/// Maps of two features with and without a context, of which one needs an iteration.
pub(super) fn maps() -> Vec<Boxed> {
    vec![shear(false), scale(2), bend(), sinh(2), scale(2)]
}

/// The chain of [`maps`] at one point, in base-to-data order.
fn plain(z: &[f64], context: &[f64]) -> ([f64; 2], f64) {
    let linear = |w: f64, c: [f64; 3], z: f64| {
        w * z + c.iter().zip(context).map(|(c, f)| c * f).sum::<f64>()
    };
    let scales = [0.4 * 1.0_f64.sin() - 0.3, 0.4 * 2.0_f64.sin() - 0.3];
    let [x, y] = [z[0], z[1] + linear(0.8, [0.3, -0.6, 0.2], z[0]).tanh()];
    let [x, y] = [x * scales[0].exp(), y * scales[1].exp()];
    let (cubic, s) = ((-1.5_f64).exp(), linear(-0.7, [0.5, 0.1, -0.4], x).tanh());
    let bent = (1.0 + 3.0 * cubic * x * x).ln() + s;
    let [x, y] = [x + cubic * x * x * x, y * s.exp()];
    let log_det = 2.0 * (scales[0] + scales[1]) + bent + x.cosh().ln() + y.cosh().ln();
    ([x.sinh() * scales[0].exp(), y.sinh() * scales[1].exp()], log_det)
}

#[test]
fn a_chain_is_its_formula_in_either_direction() {
    for rows in ROWS {
        let (chain, z, context) = (chain(2, maps()), points(rows, 2), context(rows));
        let none = &mut Tape::none();
        let forth = chain.forward(&z, &context, none).unwrap();
        let features = context.features().unwrap().values();
        for (row, (z, c)) in z.values().chunks(2).zip(features.chunks(CONTEXT)).enumerate() {
            let (x, log_det) = plain(z, c);
            close("value", &forth.value.values()[2 * row..2 * row + 2], &x, 1e-13);
            close("log-det", &forth.log_det.values()[row..=row], &[log_det], 1e-13);
        }
        let back = chain.inverse(&forth.value, &context, none).unwrap();
        close("round trip", &back.value.values(), &z.values(), 1e-12);
        let minus: Vec<f64> = back.log_det.values().iter().map(|l| -l).collect();
        close("log-det of the inverse", &minus, &forth.log_det.values(), 1e-12);
    }
}

#[test]
fn a_chain_is_its_parts_one_by_one() {
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (chain, x, context) = (chain(2, maps()), points(rows, 2), context(rows));
            let expected = one_by_one(&chain.parts(), direction, &x, &context);
            let got = outcome(&chain, direction, &x, &context);
            got.assert_close(&expected, &format!("{rows} rows, {direction:?}"));
            // The same terms in the same order, each part's log-det being one of them or two.
            assert_eq!(got.d_tensors, expected.d_tensors, "{rows} rows, {direction:?}");
            let alone = run(&chain, direction, &x, &context, &mut Tape::none()).unwrap();
            assert_eq!(alone.value.values(), got.value, "without a tape");
            assert_eq!(alone.log_det.values(), got.log_det, "without a tape");
        }
    }
}

#[test]
fn a_chain_of_chains_is_the_chain_of_all_parts() {
    let nested = || {
        let [shear, scale, bend, sinh, last] = <[Boxed; 5]>::try_from(maps()).unwrap();
        let empty = || Box::new(chain(2, Vec::new()));
        let inner = Box::new(chain(2, vec![bend, empty(), sinh]));
        chain(2, vec![empty(), Box::new(chain(2, vec![shear, scale, inner])), last])
    };
    let mut names = Vec::new();
    nested().visit(&mut |name, _, _| names.push(name.to_owned()));
    let first = ["1.0.slope", "1.0.weight", "1.1.log_scale", "1.2.0.log_cubic"];
    assert_eq!(names[..4], first, "names of tensors");
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (x, context) = (points(rows, 2), context(rows));
            let flat = outcome(&chain(2, maps()), direction, &x, &context);
            assert_eq!(outcome(&nested(), direction, &x, &context), flat, "{rows} {direction:?}");
        }
    }
}

#[test]
fn a_chain_without_parts_is_the_identity() {
    for rows in ROWS {
        for direction in DIRECTIONS {
            let x = points(rows, 3);
            let got = outcome(&chain(3, Vec::new()), direction, &x, &Context::none());
            assert_eq!(got.value, x.values());
            assert_eq!(got.log_det, vec![0.0; rows]);
            assert_eq!(got.d_input, (0..3 * rows).map(|i| weight(i)[0]).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_inverse_of_a_chain_is_the_chain_the_other_way() {
    let inverse = Inverse::new(Box::new(chain(2, maps())));
    assert_eq!(inverse.costs(), Costs { forward: Cost::Iterative, inverse: Cost::ClosedForm });
    assert_eq!(inverse.context_dim(), CONTEXT);
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (x, context) = (points(rows, 2), context(rows));
            let expected = outcome(&chain(2, maps()), direction.flipped(), &x, &context);
            assert_eq!(outcome(&inverse, direction, &x, &context), expected);
            // Among other maps: first to last is that of the outer chain.
            let inverse = || Box::new(Inverse::new(Box::new(chain(2, maps()))));
            let outer = chain(2, vec![shear(false), inverse(), scale(2)]);
            let expected = one_by_one(&outer.parts(), direction, &x, &context);
            outer_and_parts(&outer, direction, &x, &context).assert_close(&expected, "inverse");
        }
    }
}

#[test]
fn what_is_no_map_stands_between_the_maps_of_a_chain() {
    let flip = || Box::new(Flip { dim: 2 }) as Boxed;
    let parts = |which: usize| match which {
        0 => vec![shear(false), scale(2), flip(), bend(), sinh(2)],
        1 => vec![flip(), shear(false), bend(), flip(), flip(), sinh(2)],
        2 => vec![scale(2), bend(), flip()],
        _ => vec![scale(2), Box::new(chain(2, vec![shear(true), flip(), bend()])), scale(2)],
    };
    for which in 0..4 {
        for rows in ROWS {
            for direction in DIRECTIONS {
                let (chain, x, context) = (chain(2, parts(which)), points(rows, 2), context(rows));
                assert!(chain.pass(direction, rows).unwrap().is_none(), "it is no map");
                let expected = one_by_one(&chain.parts(), direction, &x, &context);
                assert!(expected.penalty.is_some(), "the case does not test what it should");
                let got = outcome(&chain, direction, &x, &context);
                got.assert_close(&expected, &format!("chain {which}, {rows} rows, {direction:?}"));
            }
        }
    }
    // In the chain that a part or an image is made of.
    let inner = || Box::new(chain(2, vec![scale(2), flip(), shear(false)]));
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (x, context) = (points(rows, 4), context(rows));
            let part = Part::new(inner(), 4, vec![3, 0]).unwrap();
            let pixelwise = Pixelwise::new(inner(), 2).unwrap();
            let chain = chain(4, vec![sinh(4), Box::new(part), scale(4), Box::new(pixelwise)]);
            let expected = one_by_one(&chain.parts(), direction, &x, &context);
            outcome(&chain, direction, &x, &context).assert_close(&expected, "composites");
        }
    }
}

#[test]
fn images_and_stages_are_those_of_the_forward_map() {
    let flip = || Box::new(Flip { dim: 2 }) as Boxed;
    for parts in [maps(), vec![shear(false), flip(), bend(), scale(2)], Vec::new()] {
        let count = parts.len();
        let (chain, z, context) = (chain(2, parts), points(300, 2), context(300));
        let none = &mut Tape::none();
        // A chain without parts that take a context refuses one.
        let context = context.if_taken(chain.context_dim());
        let forth = chain.forward(&z, &context, none).unwrap();
        let (image, work) = chain.image(&z, &context).unwrap();
        assert_eq!((image.values(), work), (forth.value.values(), forth.work));
        let stages = chain.stages(&z, &context).unwrap();
        assert_eq!(stages.len(), count + 1);
        let mut at = z.clone();
        for (part, stage) in chain.parts().into_iter().zip(&stages[1..]) {
            at = part.forward(&at, &context.if_taken(part.context_dim()), none).unwrap().value;
            assert_eq!(at.values(), stage.values());
        }
        let inverse = Inverse::new(Box::new(chain));
        let back = inverse.image(&forth.value, &context).unwrap().0;
        close("image of the inverse", &back.values(), &z.values(), 1e-12);
    }
}

/// All ways in which a bijector takes a context.
fn answers(bijector: &mut dyn Bijector<f64>, context: &Context<f64>) -> Vec<Option<Error>> {
    let (x, none) = (points(5, bijector.dim()), &mut Tape::none());
    vec![
        bijector.forward(&x, context, none).err(),
        bijector.inverse(&x, context, none).err(),
        bijector.image(&x, context).err(),
        bijector.stages(&x, context).err(),
        bijector.initialise(&x, context).err(),
    ]
}

#[test]
fn a_context_goes_to_the_parts_that_take_it_and_no_further() {
    let flip = || Box::new(Flip { dim: 2 }) as Boxed;
    let none: [fn() -> Boxed; 6] = [
        || sinh(2),
        || Box::new(chain(2, vec![scale(2), sinh(2)])),
        || Box::new(chain(2, Vec::new())),
        || Box::new(Inverse::new(Box::new(chain(2, vec![scale(2)])))),
        || Box::new(Part::new(sinh(2), 4, vec![0, 3]).unwrap()),
        || Box::new(Pixelwise::new(Box::new(chain(2, vec![scale(2)])), 2).unwrap()),
    ];
    for (index, bijector) in none.into_iter().enumerate() {
        assert_eq!(bijector().context_dim(), 0);
        for answer in answers(&mut *bijector(), &context(5)) {
            let refused = matches!(answer, Some(Error::Dimension { expected: 0, got: 3, .. }));
            assert!(refused, "{index}: {answer:?}");
        }
        assert!(answers(&mut *bijector(), &Context::none()).iter().all(Option::is_none));
    }
    // Sinh asserts that it is handed nothing, and the flip refuses what it is handed.
    let some: [Boxed; 4] = [
        Box::new(chain(2, vec![sinh(2), shear(false), flip(), scale(2)])),
        Box::new(Inverse::new(Box::new(chain(2, vec![sinh(2), shear(true)])))),
        Box::new(Part::new(Box::new(chain(2, vec![bend(), sinh(2)])), 3, vec![2, 0]).unwrap()),
        Box::new(Pixelwise::new(Box::new(chain(2, vec![shear(true), sinh(2)])), 2).unwrap()),
    ];
    for (index, mut bijector) in some.into_iter().enumerate() {
        assert_eq!(bijector.context_dim(), CONTEXT);
        assert!(answers(&mut *bijector, &context(5)).iter().all(Option::is_none), "{index}");
        let narrow = Context::of(points(5, 2));
        for wrong in [Context::none(), narrow, context(4)] {
            let all = answers(&mut *bijector, &wrong);
            assert!(all.iter().all(Option::is_some), "{index}: {all:?}");
        }
    }
}

#[test]
fn parts_that_do_not_fit_make_no_chain() {
    let refused = |parts: Vec<Boxed>| {
        let error = Chain::new(2, parts).unwrap_err();
        assert!(matches!(error, Error::Dimension { .. }), "{error}");
    };
    refused(vec![sinh(2), sinh(3)]);
    let other = super::maps::Shear { context_dim: CONTEXT + 1, implicit: false };
    let other = Layer::with_values(other, vec![vec![0.1], vec![0.1; CONTEXT + 1]]).unwrap();
    refused(vec![shear(false), sinh(2), Box::new(other)]);
    let chain = chain(2, maps());
    let error = chain.forward(&points(5, 3), &context(5), &mut Tape::none()).unwrap_err();
    assert!(matches!(error, Error::Dimension { expected: 2, got: 3, .. }), "{error}");
}
