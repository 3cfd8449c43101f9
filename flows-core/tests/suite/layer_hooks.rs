//! What a layer asks of its map besides passes: preparation, refreshment, initialisation, and the
//! random numbers of an estimate.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::operation::LANES;
use flows_core::testing::{assert_error, close};
use flows_core::{
    Bijector, Context, Direction, Error, Inverse, Layer, LogDet, Parameters, Part, Pixelwise,
    Purpose, Tape, Values, stream,
};
use rand::Rng;

use super::maps::{Scale, chain, context, points, scale, sinh};
use super::noted::{noted, set, start, tensors, values};
use super::outcome::outcome;

#[test]
fn what_is_prepared_is_computed_once_and_anew_after_a_change() {
    let (map, mut layer) = noted();
    let (x, none) = (points(300, 2), Context::none());
    assert_eq!(map.calls(), ["refresh for Reporting", "prepare"]);
    for direction in [Direction::Forward, Direction::Inverse] {
        outcome(&layer, direction, &x, &none);
    }
    layer.visit(&mut |_, _, _| {});
    assert_eq!(layer.prepared().unwrap(), [vec![0.0, 0.0], vec![-1.0]]);
    assert_eq!(map.calls(), ["pull", "pull"], "nothing changed");

    set(&mut layer, "location", &[1.0, 2.0]);
    assert_eq!(layer.prepared().unwrap(), [vec![1.0, 2.0], vec![-1.0]]);
    let forth = layer.forward(&x, &none, &mut Tape::none()).unwrap();
    let expected: Vec<f64> = x.values().chunks(2).flat_map(|z| [z[0] + 1.0, z[1] + 2.0]).collect();
    assert_eq!(forth.value.values(), expected);
    layer.inverse(&x, &none, &mut Tape::none()).unwrap();
    assert_eq!(map.calls(), ["prepare"], "once for both directions");

    // Values that no map belongs to are an error of the next pass, until they are replaced.
    set(&mut layer, "location", &[f64::NAN, 0.0]);
    for _ in 0..2 {
        let error = layer.forward(&x, &none, &mut Tape::none()).unwrap_err();
        assert!(matches!(error, Error::NonFinite { quantity: "location", .. }), "{error}");
        assert_error!(
            layer.pass(Direction::Forward, 1),
            Error::NonFinite { quantity: "location", .. }
        );
        assert_error!(layer.prepared(), Error::NonFinite { quantity: "location", .. });
    }
    set(&mut layer, "location", &[0.5, 0.0]);
    assert_eq!(layer.prepared().unwrap()[0], [0.5, 0.0]);
    assert_error!(Layer::with_values(map, start()), Error::NonFinite { quantity: "location", .. });
}

#[test]
fn a_recorded_pass_keeps_the_values_it_was_made_with() {
    let none = Context::none();
    // Of the larger batch some blocks are run again on the way back.
    for rows in [300, 70 * LANES] {
        let mut layer = Layer::with_values(Scale { dim: 2 }, vec![vec![0.3, -0.2]]).unwrap();
        let x = points(rows, 2);
        let expected = outcome(&layer, Direction::Inverse, &x, &none);
        let mut tape = Tape::recording();
        let mapped = layer.inverse(&x, &none, &mut tape).unwrap();
        set(&mut layer, "log_scale", &[5.0, 5.0]);
        layer.inverse(&points(rows + 5, 2), &none, &mut Tape::none()).unwrap();
        let weights = |which: usize, count: usize| -> Vec<f64> {
            (0..count).map(|i| super::outcome::weight(i)[which]).collect()
        };
        let gradients = tape.backward(|gradients| {
            gradients.add(&mapped.value, &weights(0, 2 * rows))?;
            gradients.add(&mapped.log_det, &weights(1, rows))
        });
        let mut gradients = gradients.unwrap();
        assert_eq!(gradients.take(&x).unwrap(), expected.d_input);
        // The tensor is the same one under its new values.
        assert_eq!(gradients.take(&tensors(&layer)[0].2).unwrap(), expected.d_tensors[0]);
    }
}

#[test]
fn refreshing_happens_at_the_start_of_a_step_and_for_reporting() {
    let (map, mut layer) = noted();
    let x = points(5, 2);
    let refreshed = |layer: &Layer<f64>| values(layer, "refreshed")[0];
    assert_eq!(refreshed(&layer), 1.0, "when it was made");
    map.calls();
    layer.set_purpose(Purpose::Training).unwrap();
    assert_eq!((map.calls().len(), refreshed(&layer)), (0, 1.0));
    layer.begin_step(&mut stream(1, "probes")).unwrap();
    assert_eq!((map.calls(), refreshed(&layer)), (vec!["refresh for Training".to_owned()], 2.0));
    layer.forward(&x, &Context::none(), &mut Tape::none()).unwrap();
    assert_eq!(map.calls(), ["prepare"], "of the new values");
    assert_eq!(layer.prepared().unwrap()[1], [-2.0]);
    layer.set_purpose(Purpose::Reporting).unwrap();
    assert_eq!((map.calls(), refreshed(&layer)), (vec!["refresh for Reporting".to_owned()], 3.0));
    layer.end_step(&mut flows_core::Gradients::new()).unwrap();
    assert_eq!(map.calls().len(), 0);

    // Through whatever stands around it.
    let part = Part::new(Box::new(layer), 4, vec![0, 2]).unwrap();
    let mut all = chain(4, vec![sinh(4), Box::new(Inverse::new(Box::new(part)))]);
    all.set_purpose(Purpose::Training).unwrap();
    all.begin_step(&mut stream(1, "probes")).unwrap();
    all.set_purpose(Purpose::Reporting).unwrap();
    assert_eq!(map.calls(), ["refresh for Training", "refresh for Reporting"]);
}

#[test]
fn initialisation_sees_the_batch_that_reaches_it_once() {
    let ((first, a), (second, b)) = (noted(), noted());
    let (x, none) = (points(300, 2), Context::none());
    let mut all = chain(2, vec![Box::new(a), scale(2), sinh(2), Box::new(b)]);
    first.calls();
    second.calls();
    let z = all.initialise(&x, &none).unwrap();
    assert_eq!(z.values(), all.inverse(&x, &none, &mut Tape::none()).unwrap().value.values());
    let mean = |values: &[f64], i: usize| values.iter().skip(i).step_by(2).sum::<f64>() / 300.0;
    close("mean", &[mean(&z.values(), 0), mean(&z.values(), 1)], &[0.0, 0.0], 1e-14);
    close("last", &values(&all, "3.location"), &[mean(&x.values(), 0), mean(&x.values(), 1)], 0.0);
    assert_ne!(values(&all, "0.location"), [0.0, 0.0]);
    assert_eq!(first.calls(), ["initialise", "prepare"]);
    assert_eq!(second.calls(), ["initialise", "prepare"]);
    // Another batch changes nothing.
    let before = values(&all, "3.location");
    all.initialise(&points(200, 2), &none).unwrap();
    assert_eq!(
        (first.calls(), second.calls()),
        (vec!["initialise".to_owned()], vec!["initialise".to_owned()])
    );
    assert_eq!(values(&all, "3.location"), before);

    // On the chosen features, on all pixels, and not through an inverse.
    let (_, layer) = noted();
    let mut part = Part::new(Box::new(layer), 4, vec![3, 1]).unwrap();
    let x = points(300, 4);
    let z = part.initialise(&x, &none).unwrap();
    let of = |i: usize| x.values().iter().skip(i).step_by(4).sum::<f64>() / 300.0;
    close("part", &values(&part, "location"), &[of(3), of(1)], 1e-15);
    assert_eq!(z.values(), part.inverse(&x, &none, &mut Tape::none()).unwrap().value.values());
    let (_, layer) = noted();
    let mut pixelwise = Pixelwise::new(Box::new(layer), 2).unwrap();
    pixelwise.initialise(&x, &none).unwrap();
    let expected = [0.5 * (of(0) + of(1)), 0.5 * (of(2) + of(3))];
    close("pixels", &values(&pixelwise, "location"), &expected, 1e-14);
    let (map, layer) = noted();
    let mut inverse = Inverse::new(Box::new(layer));
    inverse.initialise(&points(300, 2), &none).unwrap();
    assert!(!map.calls().contains(&"initialise".to_owned()));

    let (_, mut layer) = noted();
    assert_error!(
        layer.initialise(&points(5, 3), &none),
        Error::Dimension { op: "noted", expected: 2, got: 3 },
        [],
        "three features"
    );
    assert_error!(
        layer.initialise(&points(5, 2), &context(5)),
        Error::Dimension { op: "noted", expected: 0, got: 3 },
        [],
        "a context"
    );
    assert_eq!(values(&layer, "inner.seen"), [-1.0]);
}

#[test]
fn estimates_have_random_numbers_of_a_row_and_a_step() {
    const ROWS: usize = 700;
    let (x, none) = (points(ROWS, 2), Context::none());
    let noise = |bijector: &dyn Bijector<f64>, rows: usize| -> (Vec<f64>, f64) {
        let x = points(rows, bijector.dim());
        let all = bijector.forward(&x, &none, &mut Tape::none()).unwrap().log_det.values();
        let seed = (all[0] / 1e6).round();
        (all.iter().map(|l| l - 1e6 * seed).collect(), seed)
    };
    let places = |rows: usize| (0..rows).map(|row| row as f64).collect::<Vec<_>>();
    let (_, mut layer) = noted();
    assert_eq!(layer.exactness(), LogDet::Exact);
    assert_eq!(layer.forward(&x, &none, &mut Tape::none()).unwrap().log_det.values(), [0.0; ROWS]);
    layer.set_purpose(Purpose::Training).unwrap();
    assert_eq!(layer.exactness(), LogDet::Estimate);
    let mut rng = stream(1, "probes");
    let mut again = rng.clone();
    for _ in 0..2 {
        layer.begin_step(&mut rng).unwrap();
        let seed = (again.next_u64() % 1000) as f64;
        for rows in [1, LANES, ROWS, ROWS] {
            assert_eq!(noise(&layer, rows), (places(rows), seed), "{rows} rows");
        }
    }
    // In a chain and on a part of the features, a row is a row; every pixel is one of its own.
    let ((_, a), (_, b)) = (noted(), noted());
    let part = Part::new(Box::new(a), 4, vec![0, 2]).unwrap();
    let mut all = chain(4, vec![Box::new(part)]);
    all.set_purpose(Purpose::Training).unwrap();
    assert_eq!(all.exactness(), LogDet::Estimate);
    all.begin_step(&mut rng).unwrap();
    assert_eq!(noise(&all, ROWS), (places(ROWS), (again.next_u64() % 1000) as f64));
    let mut pixelwise = Pixelwise::new(Box::new(b), 2).unwrap();
    pixelwise.set_purpose(Purpose::Training).unwrap();
    let both: Vec<f64> = (0..ROWS).map(|row| 4.0 * row as f64 + 1.0).collect();
    assert_eq!(noise(&pixelwise, ROWS), (both.clone(), 0.0));
    let in_chain = chain(4, vec![Box::new(pixelwise)]);
    assert_eq!(noise(&in_chain, ROWS), (both, 0.0));
    // What is exact takes no random numbers.
    let before = rng.clone();
    chain(2, vec![sinh(2), scale(2)]).begin_step(&mut rng).unwrap();
    assert_eq!(rng, before);
}
