//! The handwritten digits that autoencoders learn.

use flows_bench::table::digits;
use flows_core::train::{Minibatch, Source, TableSource};
use flows_core::{Error, Result, Stream, stream};
use flows_inference::amortised::Likelihood;
use rand::RngExt;
use rand::seq::SliceRandom;

/// Pixels of a digit.
pub(super) const DIM: usize = 64;

/// Levels of a pixel: 0 to 16.
const LEVELS: u16 = 17;

/// Digits that are tested on, and validated on.
pub(super) const TEST: usize = 360;
const VALIDATION: usize = 180;

/// How a pixel is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// Black with probability level / 16, drawn anew in every step.
    Binary,
    /// Its level.
    Levels,
}

impl Pixels {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Levels => "17 levels",
        }
    }

    pub(super) fn likelihood(self) -> Likelihood {
        match self {
            Self::Binary => Likelihood::Bernoulli,
            Self::Levels => Likelihood::DiscretisedLogistic { levels: LEVELS.into() },
        }
    }

    /// The value of a black pixel.
    pub(super) fn black(self) -> f64 {
        match self {
            Self::Binary => 1.0,
            Self::Levels => f64::from(LEVELS - 1),
        }
    }
}

/// Digits, split once.
pub(super) struct Digits {
    training: Vec<f32>,
    validation: Vec<f32>,
    test: Vec<f32>,
}

/// What a model is trained, validated and tested on.
pub(super) struct Parts<'a> {
    pub(super) source: Box<dyn Source<f32> + 'a>,
    pub(super) validation: Vec<f32>,
    pub(super) test: Vec<f32>,
}

impl Digits {
    pub(super) fn new(seed: u64) -> Result<Self> {
        let table = digits().map_err(|error| Error::Caller(error.to_string()))?.table;
        let mut rows: Vec<&[f64]> = table.values().chunks(DIM).collect();
        rows.shuffle(&mut stream(seed, "split"));
        let of = |rows: &[&[f64]]| rows.concat().iter().map(|&level| level as f32).collect();
        let (test, rest) = rows.split_at(TEST);
        let (validation, training) = rest.split_at(VALIDATION);
        Ok(Self { training: of(training), validation: of(validation), test: of(test) })
    }

    /// The parts for a training with a seed; digits that are held out are made binary once.
    pub(super) fn parts(&self, pixels: Pixels, seed: u64) -> Result<Parts<'_>> {
        let table = TableSource::new(self.training.clone(), DIM, seed)?;
        let (validation, test) = (&self.validation, &self.test);
        if pixels == Pixels::Levels {
            let source = Box::new(table);
            return Ok(Parts { source, validation: validation.clone(), test: test.clone() });
        }
        let fixed = |levels: &[f32], name| binary(levels, &mut stream(0, name));
        Ok(Parts {
            source: Box::new(Binary { table, seed }),
            validation: fixed(validation, "validation"),
            test: fixed(test, "test"),
        })
    }
}

/// Pixels that are black with probability level / 16.
fn binary(levels: &[f32], rng: &mut Stream) -> Vec<f32> {
    let largest = f32::from(LEVELS - 1);
    let pixel = |level: &f32| f32::from(u8::from(rng.random::<f32>() * largest < *level));
    levels.iter().map(pixel).collect()
}

/// Rows of a table, made binary anew in every step.
struct Binary {
    table: TableSource<f32>,
    seed: u64,
}

impl Source<f32> for Binary {
    fn dim(&self) -> usize {
        DIM
    }

    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<f32>> {
        let levels = self.table.minibatch(step, rows)?.values;
        let rng = &mut stream(self.seed, &format!("binary {step}"));
        Ok(Minibatch { values: binary(&levels, rng), context: Vec::new() })
    }
}
