//! The Adam and AdamW optimisers.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use crate::elementwise::vectorised;
use crate::parameters::{Parameters, Role};
use crate::tape::Gradients;
use crate::tensor::{Values, set_values};
use crate::{Real, Result};

/// Settings of Adam; with `weight_decay` it is AdamW.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `learning_rate` | 1e-3 | step size before the schedule | > 0 |
/// | `betas` | `[0.9, 0.999]` | decay of the moments | each in [0, 1) |
/// | `epsilon` | 1e-8 | added to the root of the second moment | > 0 |
/// | `weight_decay` | 0 | decoupled decay a step, times the learning rate | >= 0 |
///
/// # Reference
/// Kingma, Ba, *Adam*, ICLR 2015, algorithm 1; Loshchilov, Hutter, *Decoupled weight decay
/// regularization*, ICLR 2019.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Step size before the schedule.
    pub learning_rate: f64,
    /// Decay of the first and the second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam: the moments of every learned tensor, in the order of [`Parameters::visit`].
///
/// Unlike dfdx's Adam, which gives the same result (tested), its single vectorised pass includes
/// gradient clipping and the schedule, and its moments are plain vectors that a checkpoint can
/// hold.
#[derive(Clone, Debug)]
pub struct Adam<E> {
    config: AdamConfig,
    steps: u64,
    first: Vec<Vec<E>>,
    second: Vec<Vec<E>>,
}

/// Factors of one update, the same for all scalars.
#[derive(Clone, Copy)]
struct Factors<E> {
    gradient: E,
    beta1: E,
    beta2: E,
    correction1: E,
    correction2: E,
    rate: E,
    epsilon: E,
    keep: E,
}

/// Values that a thread updates at a time; smaller tensors stay on one thread.
const TOGETHER: usize = 1 << 15;

impl<E: Real> Adam<E> {
    /// An optimiser with zero moments for every learned tensor of `model`.
    pub fn new(config: AdamConfig, model: &(impl Parameters<E> + ?Sized)) -> Self {
        let mut first = Vec::new();
        model.visit(&mut |_, role, tensor| {
            if role == Role::Learned {
                first.push(vec![E::zero(); tensor.values().len()]);
            }
        });
        Self { config, steps: 0, second: first.clone(), first }
    }

    /// One step at `rate` times the learning rate, with the gradients scaled by `scale`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) if memory runs out.
    pub fn update(
        &mut self,
        model: &mut (impl Parameters<E> + ?Sized),
        gradients: &mut Gradients<E>,
        rate: f64,
        scale: f64,
    ) -> Result<()> {
        self.steps += 1;
        let factors = self.factors(rate, scale);
        let mut buffer = Vec::new();
        let mut moments = self.first.iter_mut().zip(&mut self.second);
        model.visit_mut(&mut |_, role, tensor| {
            if role == Role::Fixed {
                return Ok(());
            }
            let Some((first, second)) = moments.next() else {
                return Ok(());
            };
            let values = tensor.read_into(&mut buffer);
            step(values, gradients.of(tensor)?, first, second, factors);
            set_values(tensor, values)
        })
    }

    /// Adds the moments to a checkpoint as vectors named `prefix.first` and `prefix.second`; the number of
    /// steps is the caller's to keep.
    pub fn save_to(&self, file: &mut Checkpoint<E>, prefix: &str) {
        file.add_vectors(&format!("{prefix}.first"), &self.first);
        file.add_vectors(&format!("{prefix}.second"), &self.second);
    }

    /// This optimiser after `steps` steps, with the moments that [`save_to`](Self::save_to) added.
    ///
    /// # Errors
    /// [`Error::Tensors`](crate::Error::Tensors) if they are missing or those of another model.
    pub fn restored(&self, file: &Checkpoint<E>, prefix: &str, steps: u64) -> Result<Self> {
        let mut adam = Self { steps, ..self.clone() };
        file.restore_vectors(&format!("{prefix}.first"), &mut adam.first)?;
        file.restore_vectors(&format!("{prefix}.second"), &mut adam.second)?;
        Ok(adam)
    }

    fn factors(&self, rate: f64, scale: f64) -> Factors<E> {
        let AdamConfig { learning_rate, betas: [beta1, beta2], epsilon, weight_decay } =
            self.config;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate = rate * learning_rate;
        Factors {
            gradient: E::of(scale),
            beta1: E::of(beta1),
            beta2: E::of(beta2),
            correction1: E::of(1.0 / (1.0 - beta1.powi(steps))),
            correction2: E::of(1.0 / (1.0 - beta2.powi(steps))),
            rate: E::of(rate),
            epsilon: E::of(epsilon),
            keep: E::of(1.0 - rate * weight_decay),
        }
    }
}

fn step<E: Real>(
    values: &mut [E],
    gradient: &[E],
    first: &mut [E],
    second: &mut [E],
    f: Factors<E>,
) {
    let moments = first.par_chunks_mut(TOGETHER).zip(second.par_chunks_mut(TOGETHER));
    let chunks = values.par_chunks_mut(TOGETHER).zip(gradient.par_chunks(TOGETHER));
    chunks.zip(moments).for_each(|((values, gradient), (first, second))| {
        step_chunk(values, gradient, first, second, f);
    });
}

fn step_chunk<E: Real>(
    values: &mut [E],
    gradient: &[E],
    first: &mut [E],
    second: &mut [E],
    f: Factors<E>,
) {
    vectorised(
        #[inline(always)]
        || {
            let moments = first.iter_mut().zip(second.iter_mut());
            for ((value, &gradient), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
                let g = gradient * f.gradient;
                *m = f.beta1 * *m + (E::one() - f.beta1) * g;
                *v = f.beta2 * *v + (E::one() - f.beta2) * g * g;
                let root = (*v * f.correction2).sqrt() + f.epsilon;
                *value = *value * f.keep - f.rate * (*m * f.correction1) / root;
            }
        },
    );
}

/// Euclidean norm of all gradients together.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) if memory runs out.
pub fn gradient_norm<E: Real>(
    model: &(impl Parameters<E> + ?Sized),
    gradients: &mut Gradients<E>,
) -> Result<f64> {
    let mut total = 0.0;
    let mut result = Ok(());
    model.visit(&mut |_, role, tensor| {
        if role == Role::Learned && result.is_ok() {
            match gradients.of(tensor) {
                Ok(gradient) => total += square_sum(gradient),
                Err(error) => result = Err(error),
            }
        }
    });
    result.map(|()| f64::sqrt(total))
}

/// Sum of squares, in double precision because squares can overflow, over 16 running sums for
/// vector code in a fixed order.
fn square_sum<E: Real>(values: &[E]) -> f64 {
    let mut sums = [0.0; 16];
    vectorised(
        #[inline(always)]
        || {
            let chunks = values.chunks_exact(16);
            for (sum, value) in sums.iter_mut().zip(chunks.remainder()) {
                *sum += value.as_f64() * value.as_f64();
            }
            for chunk in chunks {
                for (sum, value) in sums.iter_mut().zip(chunk) {
                    *sum += value.as_f64() * value.as_f64();
                }
            }
        },
    );
    sums.iter().sum()
}
