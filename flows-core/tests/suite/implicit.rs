//! Gradients of inverses by the implicit function theorem.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::testing::{Tolerance, check_bijector, normal_point};
use flows_core::{
    Base, Context, Direction, Error, Flow, HasLayout, Inverse, Layer, Layout, Map, Result, Scratch,
    Tape, Values, Work, forward_kl, stream,
};

use super::maps::{Bend, Boxed, bend, chain, context, points, scale, shear, sinh};
use super::outcome::outcome;

#[test]
fn a_map_that_solves_its_transposed_jacobian_passes_the_check() {
    let random = Layer::new(Bend { context_dim: 2 }, &mut stream(3, "init")).unwrap();
    let free = Layer::new(Bend { context_dim: 0 }, &mut stream(4, "init")).unwrap();
    let all: [Boxed; 6] = [
        bend(),
        Box::new(random),
        Box::new(free),
        Box::new(Inverse::new(bend())),
        shear(true),
        Box::new(chain(2, vec![bend(), scale(2), Box::new(Inverse::new(bend())), sinh(2)])),
    ];
    for mut bijector in all {
        check_bijector(&mut *bijector, normal_point(1.0), Tolerance::default());
    }
}

#[test]
fn implicit_and_explicit_gradients_of_an_inverse_are_the_same() {
    for rows in [1, LANES, 300] {
        let (x, context) = (points(rows, 2), context(rows));
        let of = |implicit: bool| outcome(&*shear(implicit), Direction::Inverse, &x, &context);
        of(true).assert_close_gradients(&of(false));
        let of = |implicit: bool| {
            let parts = vec![shear(implicit), scale(2), shear(implicit), bend()];
            outcome(&chain(2, parts), Direction::Inverse, &x, &context)
        };
        of(true).assert_close_gradients(&of(false));
    }
}

/// x = 2 z, whose author forgot the gradient of the inverse.
#[derive(Debug)]
struct Unfinished;

impl HasLayout for Unfinished {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl Map<f64> for Unfinished {
    fn name(&self) -> &'static str {
        "unfinished"
    }

    fn dim(&self) -> usize {
        1
    }

    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        at.value.iter_mut().zip(at.input).for_each(|(x, z)| *x = 2.0 * z);
        at.log_det.iter_mut().for_each(|sum| *sum += 2.0_f64.ln());
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        at.value.iter_mut().zip(at.input).for_each(|(z, x)| *z = x / 2.0);
        at.log_det.iter_mut().for_each(|sum| *sum -= 2.0_f64.ln());
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        at.d_input.iter_mut().zip(at.d_value).for_each(|(d, g)| *d = 2.0 * g);
        Ok(())
    }
}

#[test]
fn a_map_without_a_gradient_of_its_inverse_says_so() {
    let layer = || Box::new(Layer::with_values(Unfinished, Vec::new()).unwrap()) as Boxed;
    let all: [Boxed; 3] = [
        layer(),
        Box::new(chain(1, vec![scale(1), layer(), sinh(1)])),
        Box::new(Inverse::new(Box::new(Inverse::new(layer())))),
    ];
    for rows in [1, 300] {
        let x = points(rows, 1);
        for bijector in &all {
            // Everything else works.
            outcome(&**bijector, Direction::Forward, &x, &Context::none());
            let mut tape = Tape::recording();
            let mapped = bijector.inverse(&x, &Context::none(), &mut tape).unwrap();
            let result = tape.backward(|gradients| gradients.add(&mapped.value, &vec![1.0; rows]));
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
            let sentence = error.to_string();
            assert!(sentence.contains("inverse_gradient"), "{sentence}");
            assert!(sentence.contains("solve_transposed"), "{sentence}");
        }
        let flow = Flow::new(Base::standard_normal(1), layer()).unwrap();
        let none = &Context::none();
        assert!(flow.log_prob(&x, none, &mut Tape::none()).unwrap().value.rows() == rows);
        let error = forward_kl(&flow, &x, none, Tape::recording()).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
}
