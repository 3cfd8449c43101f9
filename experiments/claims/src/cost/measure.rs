//! Counts and times of a density, a draw and a training step.

use std::time::Instant;

use anyhow::{Context as _, Result};
use flows_core::matmul::multiplications;
use flows_core::tensor::batch;
use flows_core::{Batch, Context, Tape, Values, Work, normals, stream};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::model::Model;
use super::quantity::{Operation, Quantity};
use super::size::Size;
use crate::Setting;
use crate::helper::timing::median;
use crate::helper::training::{Aim, Learner};
use crate::memory::peak_bytes;

/// The cost of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    work: Work,
    multiplications: u64,
    /// Of a training step, where they are counted.
    bytes: Option<u64>,
    /// The median.
    seconds: f64,
}

impl Cost {
    /// The number; not one where it was not measured.
    pub(super) fn of(&self, quantity: Quantity) -> f64 {
        match quantity {
            Quantity::Evaluations => self.work.evaluations() as f64,
            Quantity::Multiplications => self.multiplications as f64,
            Quantity::Seconds => self.seconds,
            Quantity::Bytes => self.bytes.map_or(f64::NAN, |bytes| bytes as f64),
        }
    }
}

/// The cost of each of [`Operation::ALL`] at each size.
///
/// Sizes are timed in turn, so that whatever else the machine does slows all of them.
pub(super) fn sweep(model: Model, sizes: &[Size], setting: &Setting) -> Result<Vec<[Cost; 3]>> {
    let (mut subjects, mut costs) = (Vec::new(), Vec::new());
    for &size in sizes {
        // With all that stays: weights, moments of the optimiser, buffers for the next step.
        let (first, bytes) = peak_bytes(|| Subject::new(model, size, setting.seed)?.stepped());
        let mut subject = first.with_context(|| format!("{}, {size:?}", model.name()))?;
        costs.push(subject.counted(bytes)?);
        subjects.push(subject);
    }
    let mut seconds = vec![Operation::ALL.map(|_| Vec::new()); sizes.len()];
    let (clock, budget) = (Instant::now(), setting.either(0.3, 4.0));
    for round in 0.. {
        if round >= REPETITIONS && clock.elapsed().as_secs_f64() > budget {
            break;
        }
        for (subject, seconds) in subjects.iter_mut().zip(&mut seconds) {
            for (seconds, operation) in seconds.iter_mut().zip(Operation::ALL) {
                seconds.push(subject.timed(operation)?.1);
            }
        }
    }
    for (costs, seconds) in costs.iter_mut().zip(seconds) {
        for (cost, seconds) in costs.iter_mut().zip(seconds) {
            cost.seconds = median(seconds);
        }
    }
    Ok(costs)
}

/// Runs of each operation at least.
const REPETITIONS: usize = 3;

/// A flow in training with a batch, and the threads that it may use.
struct Subject {
    pool: ThreadPool,
    learner: Learner<f32>,
    x: Batch<f32>,
    seed: u64,
}

impl Subject {
    fn new(model: Model, size: Size, seed: u64) -> Result<Self> {
        let Size { dim, rows, threads, .. } = size;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        // So many steps that the rate stays what it is.
        let learner = Learner::new(model.flow(size, seed)?, 1e-4, 1 << 40, seed);
        let x = batch(normals(rows * dim, &mut stream(seed, "rows")), rows, dim)?;
        Ok(Self { pool, learner, x, seed })
    }

    /// After one step.
    fn stepped(mut self) -> Result<Self> {
        self.timed(Operation::Step)?;
        Ok(self)
    }

    /// The counts of each operation, without times.
    fn counted(&mut self, bytes: Option<u64>) -> Result<[Cost; 3]> {
        let mut costs = Vec::new();
        for operation in Operation::ALL {
            // Normalised weights are made the first time.
            self.timed(operation)?;
            let (run, multiplications) = multiplications(|| self.timed(operation));
            let bytes = bytes.filter(|_| operation == Operation::Step);
            costs.push(Cost { work: run?.0, multiplications, bytes, seconds: f64::NAN });
        }
        <[Cost; 3]>::try_from(costs).ok().context("a cost for each operation")
    }

    /// What an operation took, and its seconds.
    fn timed(&mut self, operation: Operation) -> Result<(Work, f64)> {
        let Self { pool, learner, x, seed } = self;
        pool.install(|| {
            let clock = Instant::now();
            let work = run(operation, learner, x, *seed)?;
            Ok((work, clock.elapsed().as_secs_f64()))
        })
    }
}

fn run(
    operation: Operation,
    learner: &mut Learner<f32>,
    x: &Batch<f32>,
    seed: u64,
) -> Result<Work> {
    let none = &Context::none();
    Ok(match operation {
        Operation::Density => learner.flow()?.log_prob(x, none, &mut Tape::none())?.work,
        Operation::Draw => learner.flow()?.sample(x.rows(), none, &mut stream(seed, "draws"))?.1,
        Operation::Step => learner.step(Aim::Likelihood, x)?,
    })
}
