//! Likelihoods of data given the outputs of a decoder network, independent feature by feature.

use flows_core::elementwise::{exp, ln, sigmoid, softplus, vectorised};
use flows_core::lanes::{lanes, lanes_mut, named_mut};
use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::tensor::{check_columns, columns};
use flows_core::{Batch, Error, PerRow, Real, Result, Scratch, Stream, Tape, Values};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// The likelihood of each feature given one or two outputs of a decoder network.
///
/// Outputs are `(rows, dim)` or `(rows, 2 dim)`: the first output a of every feature, then the second
/// output t of every feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Likelihood {
    /// Bernoulli with logit a, for x of 0 or 1: log p = x a - ln(1 + e^a).
    #[default]
    Bernoulli,
    /// Discretised logistic, for the levels x = 0, 1, .., L - 1. With the distribution function F of the
    /// logistic distribution with mean (1 + a) (L - 1) / 2 and scale e^t (L - 1) / 2,
    ///
    /// ```text
    /// p(x) = F(x + 1/2) - F(x - 1/2)
    /// ```
    ///
    /// where the lowest level takes all that is below it and the highest all that is above.
    ///
    /// # Reference
    /// Kingma et al., *Improved Variational Inference with Inverse Autoregressive Flow*, NeurIPS 2016;
    /// Salimans, Karpathy, Chen, Kingma, *PixelCNN++*, ICLR 2017, eq. 2.
    DiscretisedLogistic {
        /// Number of levels L, at least 2.
        levels: u32,
    },
    /// Normal with mean a and standard deviation e^t, for any real x.
    Normal,
}

/// log p(x) with its derivatives by both outputs.
#[derive(Clone, Copy)]
struct Term<E> {
    value: E,
    by_first: E,
    by_second: E,
}

impl Likelihood {
    /// Outputs of the decoder network for so many features.
    #[must_use]
    pub fn outputs(self, dim: usize) -> usize {
        match self {
            Self::Bernoulli => dim,
            Self::DiscretisedLogistic { .. } | Self::Normal => 2 * dim,
        }
    }

    /// # Errors
    /// [`Error::Parameter`] for fewer than 2 levels.
    pub fn check(self) -> Result<()> {
        match self {
            Self::DiscretisedLogistic { levels } if levels < 2 => {
                let (name, requirement) = ("levels", "at least 2");
                Err(Error::Parameter { name, requirement, value: f64::from(levels) })
            }
            _ => Ok(()),
        }
    }

    /// log p(x) of each row in nats, from the network's `outputs` and the data `x`, `(rows, dim)`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the columns fit; [`Error::Rows`] unless there are as many rows;
    /// [`Error::Caller`] for a value that the likelihood does not have.
    pub fn log_prob<E: Real>(
        self,
        outputs: &Batch<E>,
        x: &Batch<E>,
        tape: &mut Tape<E>,
    ) -> Result<PerRow<E>> {
        check_columns("outputs of a decoder", outputs, self.outputs(columns(x)))?;
        if outputs.rows() != x.rows() {
            let (expected, got) = (x.rows(), outputs.rows());
            return Err(Error::Rows { op: "outputs of a decoder", expected, got });
        }
        self.check_values(&x.values(), columns(x))?;
        let operation = LogLikelihood { likelihood: self, dim: columns(x) };
        column(apply(operation, &[outputs, x], &[], tape)?.remove(0), tape)
    }

    /// Draws x, row after row, given the network's outputs.
    pub(super) fn sample<E: Real>(
        self,
        outputs: &Batch<E>,
        dim: usize,
        rng: &mut Stream,
    ) -> Vec<E> {
        let width = self.outputs(dim);
        let mut draws = Vec::with_capacity(outputs.rows() * dim);
        for row in outputs.values().chunks(width) {
            let (first, second) = row.split_at(dim);
            let second = second.iter().map(|t| t.as_f64()).chain(std::iter::repeat(0.0));
            for (a, t) in first.iter().zip(second) {
                draws.push(E::of(self.draw(a.as_f64(), t, rng)));
            }
        }
        draws
    }

    fn draw(self, a: f64, t: f64, rng: &mut Stream) -> f64 {
        match self {
            Self::Bernoulli => f64::from(u8::from(rng.random::<f64>() < sigmoid(a))),
            Self::DiscretisedLogistic { levels } => {
                let half = half_range(levels);
                let u: f64 = rng.random();
                let x = half * (1.0 + a + t.exp() * (u / (1.0 - u)).ln());
                x.round().clamp(0.0, 2.0 * half)
            }
            Self::Normal => a + t.exp() * rng.sample::<f64, _>(StandardNormal),
        }
    }

    /// Data as the encoder network reads them: levels on [-1, 1].
    pub(super) fn network_input<E: Real>(self, values: &mut [E]) {
        let half = match self {
            Self::Bernoulli => 0.5,
            Self::DiscretisedLogistic { levels } => half_range(levels),
            Self::Normal => return,
        };
        values.iter_mut().for_each(|x| *x = *x / E::of(half) - E::one());
    }

    fn check_values<E: Real>(self, values: &[E], dim: usize) -> Result<()> {
        let (highest, expected) = match self {
            Self::Bernoulli => (1.0, "0 or 1".to_owned()),
            Self::DiscretisedLogistic { levels } => {
                let highest = f64::from(levels) - 1.0;
                (highest, format!("a whole number from 0 to {highest}"))
            }
            Self::Normal => (f64::INFINITY, "a finite number".to_owned()),
        };
        let holds = |x: f64| match self {
            Self::Normal => x.is_finite(),
            _ => x >= 0.0 && x <= highest && x.fract() == 0.0,
        };
        match values.iter().position(|x| !holds(x.as_f64())) {
            None => Ok(()),
            Some(at) => Err(Error::Caller(format!(
                "data of an autoencoder: expected {expected}, got {} (row {}, feature {}, from 0); \
                 round the data to their levels or choose another likelihood",
                values[at],
                at / dim,
                at % dim
            ))),
        }
    }

    #[inline(always)]
    fn term<E: Real>(self, x: E, a: E, t: E) -> Term<E> {
        match self {
            Self::Bernoulli => {
                let (value, by_first) = (x * a - softplus(a), x - sigmoid(a));
                Term { value, by_first, by_second: E::zero() }
            }
            Self::DiscretisedLogistic { levels } => discretised_logistic(levels, x, a, t),
            Self::Normal => {
                let inverse = exp(-t);
                let residual = (x - a) * inverse;
                Term {
                    value: -E::of(0.5) * residual * residual - t - E::of(HALF_LN_TWO_PI),
                    by_first: residual * inverse,
                    by_second: residual * residual - E::one(),
                }
            }
        }
    }
}

fn half_range(levels: u32) -> f64 {
    0.5 * (f64::from(levels) - 1.0)
}

/// With u and l the upper and the lower end in units of the scale, s(.) the sigmoid and w = u - l,
///
/// ```text
/// ln [s(u) - s(l)] = ln s(u) + ln s(-l) + ln(1 - e^-w)
/// ```
///
/// in which nothing cancels, however far the level lies from the mean.
#[inline(always)]
fn discretised_logistic<E: Real>(levels: u32, x: E, a: E, t: E) -> Term<E> {
    let half = half_range(levels);
    let (inverse, step) = (exp(-t), E::of(0.5 / half));
    let centre = x / E::of(half) - E::one() - a;
    let (upper, lower) = ((centre + step) * inverse, (centre - step) * inverse);
    let width = (step + step) * inverse;
    let (has_upper, has_lower) = (x < E::of(2.0 * half), x > E::zero());
    let mut term = Term { value: E::zero(), by_first: E::zero(), by_second: E::zero() };
    if has_upper {
        let slope = sigmoid(-upper);
        term.value -= softplus(-upper);
        term.by_first -= inverse * slope;
        term.by_second -= upper * slope;
    }
    if has_lower {
        let slope = sigmoid(lower);
        term.value -= softplus(lower);
        term.by_first += inverse * slope;
        term.by_second += lower * slope;
    }
    if has_upper && has_lower {
        term.value += ln(-(-width).exp_m1());
        // w / (e^w - 1) tends to 1 as the scale grows.
        let ratio = if width > E::zero() { width / width.exp_m1() } else { E::one() };
        term.by_second -= ratio;
    }
    term
}

/// The log-likelihood of rows as an operation on outputs and data; data get no gradient.
struct LogLikelihood {
    likelihood: Likelihood,
    dim: usize,
}

impl LogLikelihood {
    /// Calls `f` with the feature's number, the lane and the term.
    #[inline(always)]
    fn each<E: Real>(&self, inputs: &[&[E]], mut f: impl FnMut(usize, usize, Term<E>)) {
        let [outputs, x] = flows_core::lanes::named(inputs);
        let two = self.likelihood.outputs(self.dim) > self.dim;
        for i in 0..self.dim {
            let second = lanes(outputs, if two { self.dim + i } else { i });
            let values = lanes(x, i).iter().zip(lanes(outputs, i)).zip(second);
            for (lane, ((&x, &a), &t)) in values.enumerate() {
                f(i, lane, self.likelihood.term(x, a, t));
            }
        }
    }
}

impl<E: Real> Operation<E> for LogLikelihood {
    fn name(&self) -> &'static str {
        "likelihood of a decoder"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [sums] = named_mut(outputs);
        vectorised(
            #[inline(always)]
            || self.each(inputs, |_, lane, term| sums[lane] += term.value),
        );
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) -> Result<()> {
        let [outer] = flows_core::lanes::named(output_gradients);
        let [d_outputs, _] = named_mut(input_gradients);
        let two = self.likelihood.outputs(self.dim) > self.dim;
        debug_assert_eq!(outer.len(), LANES);
        vectorised(
            #[inline(always)]
            || {
                self.each(block.inputs, |i, lane, term| {
                    lanes_mut(d_outputs, i)[lane] = outer[lane] * term.by_first;
                    if two {
                        lanes_mut(d_outputs, self.dim + i)[lane] = outer[lane] * term.by_second;
                    }
                });
            },
        );
        Ok(())
    }
}
