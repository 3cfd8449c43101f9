//! Rows of a pass: alone, in batches of any size, on any number of threads, in passes that overlap.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::parameters::Role;
use flows_core::tensor::set_values;
use flows_core::testing::close;
use flows_core::{
    Batch, Bijector, Context, Direction, Gradients, LastLayer, Mlp, MlpKernel, Parameters, Tape,
    Values, stream,
};

use super::composites::{composite, rearranged, tensor_gradients};
use super::maps::{CONTEXT, DIRECTIONS, chain, context, cut, points, run, shear};
use super::outcome::{StopReason, one_by_one, outcome, weight};
use super::pass::maps;

fn bits(outcome: &StopReason) -> Vec<u64> {
    let StopReason { value, log_det, d_input, d_context, d_tensors, .. } = outcome;
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
