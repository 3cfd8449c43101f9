//! Errors of a row: the first one of the batch is reported, by its number there.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::tensor::batch;
use flows_core::{
    Base, Bijector, Context, Direction, Error, Flow, HasLayout, Layer, Layout, Map, Pixelwise,
    Result, Scratch, Tape, Values, Work,
};

use super::maps::{Boxed, DIRECTIONS, Flip, chain, points, run, scale};

/// x = z, which fails on values above a limit: forwards, or in its gradient.
#[derive(Debug)]
struct Limit {
    in_gradient: bool,
}

impl Limit {
    fn check(block: &[f64]) -> Result<()> {
        let Some(row) = (0..LANES).find(|&row| block[row] > 100.0) else { return Ok(()) };
        Err(Error::NonFinite { quantity: "a value", row, advice: "none" })
    }
}

impl HasLayout for Limit {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl Map<f64> for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn dim(&self) -> usize {
        2
    }

    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        at.value.copy_from_slice(at.input);
        if !self.in_gradient {
            Self::check(at.input)?;
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        self.forward(at, scratch)
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        at.d_input.copy_from_slice(at.d_value);
        Self::check(at.input)
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        self.forward_gradient(at, scratch)
    }
}

#[test]
fn the_error_of_the_first_row_in_the_batch_is_reported() {
    for rows in [vec![3], vec![128], vec![300, 640], vec![690, 5 * LANES + 7]] {
        let first = *rows.iter().min().unwrap();
        let mut values = points(700, 2).values();
        rows.iter().for_each(|row| values[2 * row] = 1000.0);
        let x = batch(values, 700, 2).unwrap();
        let limit = |in_gradient| {
            Box::new(Layer::with_values(Limit { in_gradient }, Vec::new()).unwrap()) as Boxed
        };
        let is_first =
            |error: &Error| matches!(error, Error::NonFinite { row, .. } if *row == first);
        for direction in DIRECTIONS {
            for parts in [vec![limit(false)], vec![limit(false), scale(2), limit(false)]] {
                let all = chain(2, parts);
                for tape in [&mut Tape::none(), &mut Tape::recording()] {
                    let error = run(&all, direction, &x, &Context::none(), tape).unwrap_err();
                    assert!(is_first(&error), "{rows:?}: {error}");
                }
            }
            let all = chain(2, vec![scale(2), limit(true), scale(2)]);
            let mut tape = Tape::recording();
            let mapped = run(&all, direction, &x, &Context::none(), &mut tape).unwrap();
            let result = tape.backward(|gradients| gradients.add(&mapped.value, &[1.0; 1400]));
            assert!(is_first(&result.unwrap_err()), "{rows:?}, {direction:?}");
        }
    }
}

#[test]
fn an_error_in_a_pixel_names_the_row_of_its_image() {
    const PIXELS: usize = 3;
    let limit =
        || Box::new(Layer::with_values(Limit { in_gradient: false }, Vec::new()).unwrap()) as Boxed;
    let flip = || Box::new(Flip { dim: 2 }) as Boxed;
    for parts in [vec![limit()], vec![flip(), limit()]] {
        let by_blocks = parts.len() == 1;
        let pixelwise = Pixelwise::new(Box::new(chain(2, parts)), PIXELS).unwrap();
        let mut values = points(300, 2 * PIXELS).values();
        // Both features of the second pixel.
        values[2 * PIXELS * 217 + 1] = 1000.0;
        values[2 * PIXELS * 217 + 1 + PIXELS] = 1000.0;
        let x = batch(values, 300, 2 * PIXELS).unwrap();
        let whole = pixelwise.pass(Direction::Forward, 300).unwrap().is_none();
        assert_ne!(whole, by_blocks, "one case for each way");
        let none = Context::none();
        for direction in DIRECTIONS {
            let error = run(&pixelwise, direction, &x, &none, &mut Tape::none()).unwrap_err();
            assert!(matches!(error, Error::NonFinite { row: 217, .. }), "{error}");
        }
        let error = pixelwise.image(&x, &none).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: 217, .. }), "{error}");
    }
}

#[test]
fn an_error_of_an_evaluation_in_chunks_names_the_row_among_all() {
    const ROWS: usize = 9_000;
    let limit = Layer::with_values(Limit { in_gradient: false }, Vec::new()).unwrap();
    let flow =
        Flow::new(Base::standard_normal(2), Box::new(chain(2, vec![Box::new(limit)]))).unwrap();
    for first in [0, 4_095, 4_096, 4_500, 8_999] {
        let mut values = points(ROWS, 2).values();
        values[2 * first] = 1000.0;
        let error = flow.evaluate(&values, &Context::none()).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row, .. } if row == first), "{first}: {error}");
    }
}
