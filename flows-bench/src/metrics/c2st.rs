//! The classifier two-sample test.

use flows_core::activation::Activation;
use flows_core::elementwise::sigmoid;
use flows_core::tensor::{batch, cast};
use flows_core::train::{Adam, AdamConfig};
use flows_core::{LastLayer, Mlp, MlpKernel, Real, Result, Stream, Tape, Values, stream};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{Distance, Pooled};

/// Parts of the rows, each classified by a network that was trained on the others.
const FOLDS: usize = 5;

/// Most passes over the rows, and most optimiser steps, of the training of one network.
const EPOCHS: usize = 100;
const STEPS: usize = 600;

/// Adam's step size; other settings are its usual ones.
const LEARNING_RATE: f64 = 3e-3;

/// Rows of a minibatch.
const BATCH: usize = 200;

/// Widths of the two hidden layers: ten units a feature, within bounds.
const UNITS_A_FEATURE: usize = 10;
const UNITS: [usize; 2] = [20, 50];

/// Relabellings for the null band, each with five networks of its own.
const RELABELLINGS: usize = 6;

/// 95 % point of Student's t distribution with as many degrees of freedom.
const STUDENT_95: f64 = 1.943_180_280_515_302_6;

/// The classifier two-sample test: the share of rows that a network assigns to the right sample, of equally
/// many rows of both, in five folds, each with a network that was trained on the four others.
///
/// 0.5 where nothing tells the samples apart, 1 where everything does. The networks are perceptrons with two
/// hidden layers of ten units a feature (20 to 50), trained by Adam on the logistic loss.
///
/// The share of one distribution has the mean 1/2 and, because every row is in the training set of four folds,
/// up to twice the variance of independent answers. The variance is therefore estimated from six random
/// relabellings, whose mean is known, and the null band is that of Student's t distribution.
///
/// # Errors
/// [`flows_core::Error`] if a network cannot be trained.
///
/// # Reference
/// Lopez-Paz, Oquab, *Revisiting Classifier Two-Sample Tests*, ICLR 2017; ten units a feature are those of
/// Lueckmann et al., *Benchmarking Simulation-Based Inference*, 2021.
pub fn c2st(pooled: &Pooled, seed: u64) -> Result<Distance> {
    let labellings = pooled.labellings(RELABELLINGS, seed);
    let shares = labellings.par_iter().map(|labels| share_of_right_answers(pooled, labels, seed));
    let shares = shares.collect::<Result<Vec<f64>>>()?;
    let null_variance = shares[1..].iter().map(|share| (share - 0.5).powi(2)).sum::<f64>();
    let null_deviation = (null_variance / RELABELLINGS as f64).sqrt();
    Ok(Distance {
        name: "c2st".into(),
        value: shares[0],
        null_median: 0.5,
        null_95: 0.5 + STUDENT_95 * null_deviation,
    })
}

fn share_of_right_answers(pooled: &Pooled, labels: &[bool], seed: u64) -> Result<f64> {
    let folds = folds(labels, &mut stream(seed, "folds"));
    let right = |fold: usize| right_answers(pooled, labels, &folds, (fold, seed));
    let right = (0..FOLDS).into_par_iter().map(right).collect::<Result<Vec<usize>>>()?;
    let count: usize = folds.iter().map(Vec::len).sum();
    Ok(right.into_iter().sum::<usize>() as f64 / count as f64)
}

/// Equally many rows of both samples, in random order, dealt to the folds in turn: within a fold both samples
/// are alternating.
fn folds(labels: &[bool], rng: &mut Stream) -> [Vec<usize>; FOLDS] {
    let [mut draws, mut others] = [true, false]
        .map(|label| (0..labels.len()).filter(|row| labels[*row] == label).collect::<Vec<usize>>());
    draws.shuffle(rng);
    others.shuffle(rng);
    let mut folds: [Vec<usize>; FOLDS] = Default::default();
    for (index, (draw, other)) in draws.into_iter().zip(others).enumerate() {
        folds[index % FOLDS].extend([draw, other]);
    }
    folds
}

fn right_answers(
    pooled: &Pooled,
    labels: &[bool],
    folds: &[Vec<usize>; FOLDS],
    (fold, seed): (usize, u64),
) -> Result<usize> {
    let others = (0..FOLDS).filter(|other| *other != fold);
    let training: Vec<usize> = others.flat_map(|other| folds[other].iter().copied()).collect();
    let [least, most] = UNITS;
    let units = (UNITS_A_FEATURE * pooled.dim()).clamp(least, most);
    let kernel = MlpKernel::new(pooled.dim(), &[units, units], 1, Activation::Relu)?;
    let mut rng = stream(seed, &format!("classifier {fold}"));
    let network = Mlp::<f32>::new(kernel, LastLayer::Random, &mut rng)?;
    let mut classifier = Classifier::new(network);
    let steps = STEPS.min(EPOCHS * training.len().div_ceil(BATCH));
    let order = |rows: &mut Vec<usize>| rows.shuffle(&mut rng);
    let rate = LEARNING_RATE;
    classifier.train((pooled, labels), training, (steps, BATCH, rate), order)?;
    let scores = classifier.scores(pooled, &folds[fold])?;
    let right = folds[fold].iter().zip(&scores);
    Ok(right.filter(|(row, score)| (**score > 0.0) == labels[**row]).count())
}

/// A network that tells draws from reference rows by the sign of its output, the log odds of a draw.
#[derive(Debug)]
pub struct Classifier<E: Real>(Mlp<E>);

impl<E: Real> Classifier<E> {
    /// With a network from the features to one output.
    #[must_use]
    pub fn new(network: Mlp<E>) -> Self {
        Self(network)
    }

    /// Minimises the mean logistic loss of some labelled rows by Adam, in steps of a minibatch with a
    /// learning rate; `order` orders the rows before each epoch.
    ///
    /// # Errors
    /// [`flows_core::Error`] where the network does not fit the rows.
    pub fn train(
        &mut self,
        (pooled, labels): (&Pooled, &[bool]),
        mut rows: Vec<usize>,
        (steps, batch, learning_rate): (usize, usize, f64),
        mut order: impl FnMut(&mut Vec<usize>),
    ) -> Result<()> {
        let mut adam = Adam::new(AdamConfig { learning_rate, ..AdamConfig::default() }, &self.0);
        let in_epoch = rows.len().div_ceil(batch).max(1);
        for step in 0..steps {
            if step.is_multiple_of(in_epoch) {
                order(&mut rows);
            }
            let first = step % in_epoch * batch;
            let end = rows.len().min(first + batch);
            self.step((pooled, labels), &rows[first..end], &mut adam)?;
        }
        Ok(())
    }

    /// The logistic loss ln(1 + e^-z) of a draw and ln(1 + e^z) of another row, with z the output, has the
    /// derivative sigmoid(z) - 1 and sigmoid(z).
    fn step(
        &mut self,
        (pooled, labels): (&Pooled, &[bool]),
        rows: &[usize],
        adam: &mut Adam<E>,
    ) -> Result<()> {
        let mut tape = Tape::recording();
        let output = self.0.forward(&features(pooled, rows)?, &mut tape)?;
        let count = E::of(rows.len() as f64);
        let slopes: Vec<E> = output
            .values()
            .into_iter()
            .zip(rows)
            .map(|(z, row)| {
                let label = if labels[*row] { E::one() } else { E::zero() };
                (sigmoid(z) - label) / count
            })
            .collect();
        let mut gradients = tape.backward(|gradients| gradients.add(&output, &slopes))?;
        adam.update(&mut self.0, &mut gradients, 1.0, 1.0)
    }

    /// The log odds that each of some pooled rows is a draw.
    ///
    /// # Errors
    /// [`flows_core::Error`] where the network does not fit the rows.
    pub fn scores(&self, pooled: &Pooled, rows: &[usize]) -> Result<Vec<f64>> {
        let output = self.0.forward(&features(pooled, rows)?, &mut Tape::none())?;
        Ok(output.values().into_iter().map(E::as_f64).collect())
    }
}

fn features<E: Real>(pooled: &Pooled, rows: &[usize]) -> Result<flows_core::Batch<E>> {
    let values: Vec<f64> = rows.iter().flat_map(|row| pooled.row(*row)).copied().collect();
    batch(cast(&values), rows.len(), pooled.dim())
}
