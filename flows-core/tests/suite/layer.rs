//! The shell of a map: its tensors, what is computed of them once, and its hooks.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::{Arc, Mutex};

use flows_core::lanes::{lanes, lanes_mut, named};
use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::tensor::set_values;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Direction, Error, EvalMode, Exactness, HasLayout,
    Inverse, Layer, Layout, Map, Parameters, Part, Pixelwise, Purpose, Result, Role, Scratch,
    Start, Tape, Tensors, Values, Work, stream,
};
use rand::Rng;

use super::maps::{
    Bend, Boxed, CONTEXT, Scale, Shear, Sinh, chain, close, context, outcome, points, scale, sinh,
};

/// x = z + location, which notes what it is asked for.
#[derive(Clone, Debug, Default)]
struct Noted {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Noted {
    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    /// What it was asked for since this was called last.
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl HasLayout for Noted {
    fn layout(&self) -> Vec<Layout> {
        vec![
            Layout::zeros("location", 1, 2),
            Layout::uniform("mixing", 3, 4, 16),
            Layout::given("corner", 2, 1, vec![1.5, -2.5]),
            Layout::zeros("refreshed", 1, 1).fixed(),
            Layout::given("seen", 1, 1, vec![-1.0]).fixed().within("inner"),
        ]
    }
}

/// Prepared are the location alone and minus the number of refreshments.
impl Map<f64> for Noted {
    fn name(&self) -> &'static str {
        "noted"
    }

    fn dim(&self) -> usize {
        2
    }

    fn exactness(&self, purpose: Purpose) -> Exactness {
        match purpose {
            Purpose::Training => Exactness::Estimated,
            Purpose::Reporting => Exactness::Exact,
        }
    }

    fn prepare(&self, tensors: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        self.note("prepare");
        if tensors[0].iter().any(|t| t.is_nan()) {
            return Err(Error::NonFinite { quantity: "location", row: 0, advice: "none" });
        }
        Ok(vec![tensors[0].clone(), vec![-tensors[3][0]]])
    }

    /// Of the tensors that are not learned something as well, which nobody may see.
    fn pull_prepared(
        &self,
        tensors: &Tensors<f64>,
        prepared: &[Vec<f64>],
        gradient: &[Vec<f64>],
    ) -> Result<Option<Vec<Vec<f64>>>> {
        self.note("pull");
        let values = tensors.values();
        assert_eq!(prepared, [values[0].clone(), vec![-values[3][0]]]);
        let mut all: Vec<Vec<f64>> = values.iter().map(|t| vec![7.0; t.len()]).collect();
        all[0].clone_from(&gradient[0]);
        Ok(Some(all))
    }

    /// The mean of the first batch, once.
    fn initialise(&self, tensors: &Tensors<f64>, x: &Batch<f64>) -> Result<Option<Vec<Vec<f64>>>> {
        self.note("initialise");
        let mut values = tensors.values();
        if values[4] == [1.0] {
            return Ok(None);
        }
        let mean = |i| x.values().iter().skip(i).step_by(2).sum::<f64>() / x.rows() as f64;
        (values[0], values[4]) = (vec![mean(0), mean(1)], vec![1.0]);
        Ok(Some(values))
    }

    fn refresh(&self, tensors: &Tensors<f64>, purpose: Purpose) -> Result<Option<Vec<Vec<f64>>>> {
        self.note(format!("refresh for {purpose:?}"));
        let mut values = tensors.values();
        values[3][0] += 1.0;
        Ok(Some(values))
    }

    /// For each row its place and the seed.
    fn noise(&self, mode: EvalMode, rows: usize) -> Vec<f64> {
        match mode.purpose {
            Purpose::Reporting => Vec::new(),
            Purpose::Training => {
                (0..rows).flat_map(|row| [row as f64, (mode.seed % 1000) as f64]).collect()
            }
        }
    }

    /// What is no log-det in training is the noise, by which it can be told apart.
    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [location, refreshed] = named(at.parameters);
        for (i, &t) in location.iter().enumerate() {
            let pairs = lanes_mut(at.value, i).iter_mut().zip(lanes(at.input, i));
            pairs.for_each(|(x, z)| *x = z + t);
        }
        if at.mode.purpose == Purpose::Training {
            for (lane, sum) in at.log_det.iter_mut().enumerate() {
                *sum += lanes(at.noise, 0)[lane] + 1e6 * lanes(at.noise, 1)[lane];
            }
        } else {
            assert!(at.noise.is_empty());
        }
        assert!(refreshed[0] < 0.0, "never refreshed");
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [location, _] = named(at.parameters);
        for (i, &t) in location.iter().enumerate() {
            let pairs = lanes_mut(at.value, i).iter_mut().zip(lanes(at.input, i));
            pairs.for_each(|(z, x)| *z = x - t);
        }
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        at.d_input.copy_from_slice(at.d_value);
        for (i, sum) in at.gradients[0].iter_mut().enumerate() {
            *sum += lanes(at.d_value, i).iter().sum::<f64>();
        }
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        at.d_input.copy_from_slice(at.d_value);
        for (i, sum) in at.gradients[0].iter_mut().enumerate() {
            *sum -= lanes(at.d_value, i).iter().sum::<f64>();
        }
        Ok(())
    }
}

/// Values of the right sizes.
fn start() -> Vec<Vec<f64>> {
    Noted::default().layout().iter().map(|l| vec![f64::NAN; l.rows * l.columns]).collect()
}

fn noted() -> (Noted, Layer<f64>) {
    let map = Noted::default();
    let layer = Layer::new(map.clone(), &mut stream(5, "init")).unwrap();
    (map, layer)
}

fn tensors(model: &(impl Parameters<f64> + ?Sized)) -> Vec<(String, Role, Batch<f64>)> {
    let mut all = Vec::new();
    model.visit(&mut |name, role, tensor| all.push((name.to_owned(), role, tensor.clone())));
    all
}

fn values(model: &(impl Parameters<f64> + ?Sized), name: &str) -> Vec<f64> {
    let all = tensors(model);
    all.iter().find(|(this, ..)| this == name).unwrap().2.values()
}

fn set(model: &mut (impl Parameters<f64> + ?Sized), name: &str, values: &[f64]) {
    let result = model.visit_mut(&mut |this, _, tensor| {
        if this == name { set_values(tensor, values) } else { Ok(()) }
    });
    result.unwrap();
}

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
    assert_eq!(layer.exactness(), Exactness::Exact);
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
        let weights: Vec<f64> = (0..600).map(|i| sign * super::maps::weight(i)[0]).collect();
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
        assert!(layer.pass(Direction::Forward, 1).is_err() && layer.prepared().is_err());
    }
    set(&mut layer, "location", &[0.5, 0.0]);
    assert_eq!(layer.prepared().unwrap()[0], [0.5, 0.0]);
    assert!(Layer::with_values(map, start()).is_err());
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
            (0..count).map(|i| super::maps::weight(i)[which]).collect()
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
    assert!(layer.initialise(&points(5, 3), &none).is_err(), "three features");
    assert!(layer.initialise(&points(5, 2), &context(5)).is_err(), "a context");
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
    assert_eq!(layer.exactness(), Exactness::Exact);
    assert_eq!(layer.forward(&x, &none, &mut Tape::none()).unwrap().log_det.values(), [0.0; ROWS]);
    layer.set_purpose(Purpose::Training).unwrap();
    assert_eq!(layer.exactness(), Exactness::Estimated);
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
    assert_eq!(all.exactness(), Exactness::Estimated);
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
