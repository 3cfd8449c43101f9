//! The shell of a map: its tensors, and what it says of itself.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::set_values;
use flows_core::testing::{Tolerance, check_bijector, close, normal_point, perturb};
use flows_core::{
    Bijector, Context, Cost, Costs, Direction, Error, Layer, Layouts, LogDet, Parameters, Start,
    Tape, Tensors, Values, stream,
};

use super::maps::{Bend, Boxed, CONTEXT, Scale, Shear, Sinh, context, points, sinh};
use super::noted::{Noted, noted, start, tensors, values};
use super::outcome::outcome;

#[test]
fn tensors_have_the_names_shapes_roles_and_starts_of_the_layout() {
    let (map, layer) = noted();
    // Each tensor in turn takes its numbers from the stream.
    let rng = &mut stream(5, "init");
    let all = tensors(&layer);
    assert_eq!(all.len(), map.layout().len());
    for (layout, (name, role, tensor)) in map.layout().iter().zip(&all) {
        assert_eq!((&layout.name, layout.role), (name, *role));
        assert_eq!(
            (tensor.rows(), flows_core::tensor::columns(tensor)),
            (layout.rows, layout.columns)
        );
        let start = layout.draw(rng);
        if name != "refreshed" {
            assert_eq!(tensor.values(), start, "{name}");
        }
        match &layout.start {
            Start::Zeros => assert!(start.iter().all(|v| *v == 0.0)),
            Start::Uniform { fan_in } => {
                let bound = 1.0 / (*fan_in as f64).sqrt();
                assert!(start.iter().all(|v| v.abs() <= bound), "{start:?}");
                assert!(start.iter().any(|v| v.abs() > 0.5 * bound), "{start:?}");
            }
            Start::Given(values) => assert_eq!(&start, values),
        }
    }
    let names: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["location", "mixing", "corner", "refreshed", "inner.seen"]);
    assert_eq!(layer.count(), 2 + 12 + 2, "learned scalars");
    assert_eq!(layer.map().name(), "noted");
}

#[test]
fn a_layer_says_what_its_map_says() {
    let layer = Layer::with_values(Bend { context_dim: 0 }, vec![vec![0.1], vec![0.2], vec![]]);
    let layer = layer.unwrap();
    assert_eq!((layer.dim(), layer.context_dim()), (2, 0));
    assert_eq!(layer.costs(), Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative });
    assert_eq!(layer.exactness(), LogDet::Exact);
    assert!(!layer.depends_on_batch() && layer.parts().is_empty() && layer.as_field().is_none());
    let shear = Layer::new(Shear { context_dim: CONTEXT, implicit: false }, &mut stream(1, "init"));
    assert_eq!(shear.unwrap().context_dim(), CONTEXT);
}

#[test]
fn a_gradient_reaches_what_is_learned_and_nothing_else() {
    let (map, layer) = noted();
    let x = points(300, 2);
    map.calls();
    for direction in [Direction::Forward, Direction::Inverse] {
        let got = outcome(&layer, direction, &x, &Context::none());
        let sign = if direction == Direction::Forward { 1.0 } else { -1.0 };
        let weights: Vec<f64> = (0..600).map(|i| sign * super::outcome::weight(i)[0]).collect();
        let expected: Vec<f64> =
            (0..2).map(|i| weights.iter().skip(i).step_by(2).sum::<f64>()).collect();
        close("location", &got.d_tensors[0], &expected, 1e-13);
        // As the map said.
        assert_eq!(got.d_tensors[1..3], [vec![7.0; 12], vec![7.0; 2]]);
        assert_eq!(got.d_tensors[3..], [vec![0.0], vec![0.0]], "of tensors that are not learned");
    }
    assert_eq!(map.calls(), ["pull", "pull"]);
}

#[test]
fn values_that_do_not_fit_the_layout_are_refused_by_name() {
    let refused = |values: Vec<Vec<f64>>, words: [&str; 3]| {
        let error = Layer::with_values(Bend { context_dim: 3 }, values).unwrap_err();
        assert!(matches!(error, Error::Tensors { .. }), "{error}");
        let sentence = error.to_string();
        assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
    };
    refused(vec![vec![0.0], vec![0.0], vec![0.0; 4]], ["inner.weight", "3 values", "got 4"]);
    refused(vec![vec![0.0], vec![], vec![0.0; 3]], ["inner.slope", "1 values", "got 0"]);
    refused(vec![vec![0.0; 5]; 3], ["log_cubic", "1 values", "got 5"]);
    refused(vec![vec![0.0], vec![0.0]], ["layout", "3 tensors", "got 2"]);
    refused(vec![vec![0.0]; 4], ["layout", "3 tensors", "got 4"]);
    let mut layer = Layer::with_values(Scale { dim: 2 }, vec![vec![0.1, 0.2]]).unwrap();
    let error = layer.visit_mut(&mut |_, _, tensor| set_values(tensor, &[1.0; 3])).unwrap_err();
    assert!(matches!(error, Error::Tensors { .. }), "{error}");
    assert_eq!(values(&layer, "log_scale"), [0.1, 0.2]);
    let mut tensors = Tensors::new(Noted::default().layout(), start()).unwrap();
    assert!(matches!(tensors.set(&start()[..3]), Err(Error::Tensors { .. })), "three of five");
    assert!(tensors.set(&start()).is_ok());
}

#[test]
fn layers_pass_the_check() {
    let rng = &mut stream(6, "init");
    let shear = |implicit| Shear { context_dim: 2, implicit };
    let all: [Layer<f64>; 4] = [
        Layer::new(Sinh { dim: 3 }, rng).unwrap(),
        Layer::new(Scale { dim: 3 }, rng).unwrap(),
        Layer::new(shear(false), rng).unwrap(),
        Layer::new(Bend { context_dim: 2 }, rng).unwrap(),
    ];
    for mut layer in all {
        perturb(&mut layer, 0.3, rng).unwrap();
        check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
    }
}

#[test]
fn a_context_of_a_layer_has_its_width_and_rows() {
    let shear: Boxed = super::maps::shear(false);
    let (x, none) = (points(5, 2), &mut Tape::none());
    let refused =
        |context: &Context<f64>| shear.forward(&x, context, &mut Tape::none()).unwrap_err();
    let error = refused(&Context::none());
    assert!(matches!(error, Error::Dimension { op: "shear", expected: 3, got: 0 }), "{error}");
    let error = refused(&Context::of(points(5, 2)));
    assert!(matches!(error, Error::Dimension { op: "shear", expected: 3, got: 2 }), "{error}");
    let error = refused(&context(6));
    assert!(matches!(error, Error::Rows { op: "shear", expected: 5, got: 6 }), "{error}");
    let error = shear.forward(&points(5, 3), &context(5), none).unwrap_err();
    assert!(matches!(error, Error::Dimension { op: "shear", expected: 2, got: 3 }), "{error}");
    let error = sinh(2).inverse(&x, &context(5), none).unwrap_err();
    assert!(matches!(error, Error::Dimension { op: "sinh", expected: 0, got: 3 }), "{error}");
}
