//! Chains of maps, a block of rows through all of them, against the maps one by one.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::parameters::Role;
use flows_core::tensor::set_values;
use flows_core::{
    Batch, Bijector, Chain, Context, Cost, Costs, Direction, Error, Gradients, Inverse, LastLayer,
    Layer, Mlp, MlpKernel, Parameters, Part, Pixelwise, Tape, Values, stream,
};

use super::composites::{composite, outer_and_parts, rearranged, tensor_gradients};
use super::maps::{
    Boxed, CONTEXT, DIRECTIONS, Flip, Outcome, bend, chain, close, context, cut, one_by_one,
    outcome, points, run, scale, shear, sinh, weight,
};

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

fn bits(outcome: &Outcome) -> Vec<u64> {
    let Outcome { value, log_det, d_input, d_context, d_tensors, .. } = outcome;
    let all = [value, log_det, d_input, d_context].into_iter().chain(d_tensors);
    all.flatten().map(|v| v.to_bits()).collect()
}

#[test]
fn nothing_depends_on_the_number_of_threads() {
    let pools: Vec<_> = (1..=3)
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
        .collect();
    let same = |what: &str, once: &(dyn Fn() -> Vec<u64> + Sync)| {
        let all: Vec<_> = pools.iter().map(|pool| pool.install(once)).collect();
        assert!(all.iter().all(|other| *other == all[0]), "{what}");
    };
    let chain = composite();
    let kernel = MlpKernel::new(4, &[5], 2, Activation::Tanh).unwrap();
    let network = Mlp::<f64>::new(kernel, LastLayer::Random, &mut stream(7, "init")).unwrap();
    for blocks in (1..=40).chain([64, 65, 90]) {
        let rows = blocks * LANES - 5;
        let (x, context) = (points(rows, 4), context(rows));
        for direction in DIRECTIONS {
            let what = format!("{blocks} blocks, {direction:?}");
            same(&what, &|| bits(&outcome(&chain, direction, &x, &context)));
        }
        same(&format!("a network, {blocks} blocks"), &|| {
            let mut tape = Tape::recording();
            let y = network.forward(&x, &mut tape).unwrap();
            let weights: Vec<f64> = (0..2 * rows).map(|i| weight(i)[0]).collect();
            let mut gradients = tape.backward(|gradients| gradients.add(&y, &weights)).unwrap();
            let all = network.tensors().iter().chain([&x]);
            all.flat_map(|t| gradients.take(t).unwrap()).map(f64::to_bits).collect()
        });
    }
}

#[test]
fn a_row_is_the_same_alone_and_in_any_batch() {
    const MOST: usize = 700;
    let (chain, x, context) = (composite(), points(MOST, 4), context(MOST));
    let features = context.features().unwrap();
    for direction in DIRECTIONS {
        let whole = run(&chain, direction, &x, &context, &mut Tape::none()).unwrap();
        let (value, log_det) = (whole.value.values(), whole.log_det.values());
        let batches =
            [0..1, 131..132, 699..700, 1..128, 5..133, 100..229, 256..512, 3..700, 695..700];
        for rows in batches {
            let part = (cut(&x, rows.clone()), Context::of(cut(features, rows.clone())));
            let some = run(&chain, direction, &part.0, &part.1, &mut Tape::none()).unwrap();
            let same = |a: &[f64], b: &[f64]| {
                a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
            };
            let expected = &value[4 * rows.start..4 * rows.end];
            assert!(same(&some.value.values(), expected), "{rows:?}, {direction:?}");
            assert!(same(&some.log_det.values(), &log_det[rows.clone()]), "{rows:?}");
        }
    }
}

#[test]
fn sums_over_rows_are_those_of_the_rows_alone() {
    const MOST: usize = 700;
    let (chain, x, context) = (composite(), points(MOST, 4), context(MOST));
    let features = context.features().unwrap();
    for direction in DIRECTIONS {
        let mut whole = outcome(&chain, direction, &x, &context);
        let mut sums: Vec<Vec<f64>> = whole.d_tensors.iter().map(|t| vec![0.0; t.len()]).collect();
        for row in 0..MOST {
            let (x, own) = (cut(&x, row..row + 1), Context::of(cut(features, row..row + 1)));
            let of_value: Vec<f64> = (4 * row..4 * row + 4).map(|i| weight(i)[0]).collect();
            let outer = (&*of_value, &[weight(row)[1]][..]);
            let mut one = rearranged(&chain, direction, (&x, &own), outer);
            let d_input = one.gradients.take(&x).unwrap();
            assert_eq!(d_input, whole.d_input[4 * row..4 * row + 4], "row {row}");
            for (sum, own) in sums.iter_mut().zip(tensor_gradients(&chain, &mut one.gradients)) {
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
        }
        for (got, expected) in whole.d_tensors.iter_mut().zip(&sums) {
            // 700 roundings of sums of terms of order ten, of which some cancel.
            close("tensor", got, expected, 1e-11);
        }
    }
}

#[test]
fn large_batches_are_their_pieces() {
    // Of many blocks the forward pass is run again instead of being kept.
    const MOST: usize = 90 * LANES - 3;
    let (chain, x, context) = (composite(), points(MOST, 4), context(MOST));
    let features = context.features().unwrap();
    for direction in DIRECTIONS {
        let whole = outcome(&chain, direction, &x, &context);
        let mut sums: Vec<Vec<f64>> = whole.d_tensors.iter().map(|t| vec![0.0; t.len()]).collect();
        for rows in [0..5000, 5000..9000, 9000..MOST] {
            let (x, own) = (cut(&x, rows.clone()), Context::of(cut(features, rows.clone())));
            let of_value: Vec<f64> = (4 * rows.start..4 * rows.end).map(|i| weight(i)[0]).collect();
            let of_log_det: Vec<f64> = rows.clone().map(|i| weight(i)[1]).collect();
            let outer = (&*of_value, &*of_log_det);
            let mut piece = rearranged(&chain, direction, (&x, &own), outer);
            let wide = 4 * rows.start..4 * rows.end;
            assert_eq!(piece.mapped.value.values(), whole.value[wide.clone()]);
            assert_eq!(piece.mapped.log_det.values(), whole.log_det[rows.clone()]);
            assert_eq!(piece.gradients.take(&x).unwrap(), whole.d_input[wide]);
            let of_context = CONTEXT * rows.start..CONTEXT * rows.end;
            let d_context = piece.gradients.take(own.features().unwrap()).unwrap();
            assert_eq!(d_context, whole.d_context[of_context]);
            for (sum, own) in sums.iter_mut().zip(tensor_gradients(&chain, &mut piece.gradients)) {
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
        }
        for (got, expected) in whole.d_tensors.iter().zip(&sums) {
            close("tensor", got, expected, 1e-11);
        }
    }
}

#[test]
fn passes_may_overlap_and_a_layer_may_be_used_twice() {
    let (chain, context) = (chain(2, maps()), context(300));
    let (x, y) = (points(300, 2), cut(&points(500, 2), 200..500));
    let expected = [&x, &y].map(|x| outcome(&chain, Direction::Inverse, x, &context));
    // Two tapes at a time, run backwards in the order in which they were recorded.
    let forth = |x: &Batch<f64>| {
        let mut tape = Tape::recording();
        let mapped = chain.inverse(x, &context, &mut tape).unwrap();
        (tape, mapped)
    };
    let both = [forth(&x), forth(&y)];
    drop(forth(&x));
    for (((tape, mapped), x), expected) in both.into_iter().zip([&x, &y]).zip(&expected) {
        let weights = |count: usize, which: usize| -> Vec<f64> {
            (0..count).map(|index| weight(index)[which]).collect()
        };
        let start = |gradients: &mut Gradients<f64>| {
            gradients.add(&mapped.value, &weights(600, 0))?;
            gradients.add(&mapped.log_det, &weights(300, 1))
        };
        let mut gradients = tape.backward(start).unwrap();
        assert_eq!(gradients.take(x).unwrap(), expected.d_input);
        assert_eq!(tensor_gradients(&chain, &mut gradients), expected.d_tensors);
    }
    // Twice the same layer on one tape, against two layers of the same values.
    let twice = one_by_one(&[chain.parts()[0]; 2], Direction::Forward, &x, &context);
    let two = super::maps::chain(2, vec![shear(false), shear(false)]);
    let two = outcome(&two, Direction::Forward, &x, &context);
    assert_eq!(twice.value, two.value);
    assert_eq!(twice.d_input, two.d_input);
    for (slot, got) in twice.d_tensors[..2].iter().enumerate() {
        let sum: Vec<f64> =
            two.d_tensors[slot].iter().zip(&two.d_tensors[slot + 2]).map(|(a, b)| a + b).collect();
        close("a layer used twice", got, &sum, 1e-13);
    }
}

#[test]
fn a_change_of_one_part_is_seen_by_the_chain() {
    let mut chain = chain(2, maps());
    let (x, context) = (points(200, 2), context(200));
    let before = outcome(&chain, Direction::Inverse, &x, &context);
    let changed = chain.visit_mut(&mut |name, role, tensor| {
        assert_eq!(role, Role::Learned);
        if name == "1.log_scale" { set_values(tensor, &[0.2, -0.7]) } else { Ok(()) }
    });
    changed.unwrap();
    let after = outcome(&chain, Direction::Inverse, &x, &context);
    assert_ne!(after.value, before.value);
    after.assert_close(&one_by_one(&chain.parts(), Direction::Inverse, &x, &context), "changed");
}
