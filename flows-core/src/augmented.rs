//! Augmented flows: a density of x from a flow of (x, e) with e ~ N(0, I).
//!
//! A homeomorphism of R^d cannot tear or fold space; on R^(d + extra) it can do more to the first d
//! features (paths of an ODE may pass each other).
//!
//! Reference: Dupont, Doucet, Teh, *Augmented Neural ODEs*, NeurIPS 2019,
//! <https://arxiv.org/abs/1904.01681>; Chen, Lu, Chenli, Zhu, Tian, *VFlow: More Expressive
//! Generative Flows with Variational Data Augmentation*, ICML 2020, <https://arxiv.org/abs/2002.09741>.

use crate::base::standard_normal_log_density;
use crate::tensor::{Batch, Values, batch, columns};
use crate::train::{Minibatch, Source};
use crate::{Context, Error, Flow, Real, Result, Stream, Work, normals, stream};

/// An augmented flow: a flow of (x, e) as a model of x.
///
/// # Cost
/// The density of x is the integral of that of (x, e) over e, which has no closed form. What can be
/// computed is a lower bound of the log-density; the gap is the KL divergence of N(0, I) from the
/// flow's distribution of e given x. Every pass works on `extra` more columns. Samples are exact.
#[derive(Debug)]
pub struct Augmented<E: Real> {
    flow: Flow<E>,
    extra: usize,
}

/// Bounds of the log-density of one row, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Mean of log p(x, e) - log q(e) over draws of e; its expectation is a lower bound.
    pub lower: f64,
    /// Importance-weighted bound: log of the mean of p(x, e) / q(e). It is tighter and tends to the
    /// log-density as the number of draws grows (Burda, Grosse, Salakhutdinov 2016).
    pub importance: f64,
    /// Standard error of `lower`.
    pub standard_error: f64,
}

impl<E: Real> Augmented<E> {
    /// Treats the last `extra` features of `flow` as e.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `extra` is at least 1 and below the number of features.
    pub fn new(flow: Flow<E>, extra: usize) -> Result<Self> {
        if extra == 0 || extra >= flow.dim() {
            let (name, requirement) = ("extra dimensions", "at least 1 and fewer than the flow's");
            return Err(Error::Parameter { name, requirement, value: extra as f64 });
        }
        Ok(Self { flow, extra })
    }

    /// Number of features of x.
    pub fn dim(&self) -> usize {
        self.flow.dim() - self.extra
    }

    /// The flow of (x, e).
    pub fn flow(&self) -> &Flow<E> {
        &self.flow
    }

    /// Bounds of the log-density of each row of `x`, `(rows, dim)`, from `draws` draws of e.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 draws; as [`Flow::evaluate`].
    pub fn log_prob_bound(
        &self,
        x: &Batch<E>,
        context: &Context<E>,
        draws: usize,
        rng: &mut Stream,
    ) -> Result<Vec<Bound>> {
        if draws == 0 {
            let (name, requirement) = ("draws", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        crate::tensor::check_columns("augmented flow", x, self.dim())?;
        let rows = x.rows();
        let repeated = repeat_rows(&x.values(), self.dim(), draws);
        let noise: Vec<E> = normals(rows * draws * self.extra, rng);
        let pairs = interleave(&repeated, self.dim(), &noise, self.extra);
        let context = match context.features() {
            None => Context::none(),
            Some(features) => {
                let width = columns(features);
                let values = repeat_rows(&features.values(), width, draws);
                Context::of(batch(values, features.rows() * draws, width)?)
            }
        };
        let (joint, _) = self.flow.evaluate(&pairs, &context)?;
        let terms: Vec<f64> = joint
            .iter()
            .zip(noise.chunks(self.extra))
            .map(|(joint, noise)| joint - standard_normal_log_density(noise))
            .collect();
        Ok(terms.chunks(draws).map(bound).collect())
    }

    /// Draws `rows` points, `(rows, dim)`: draws of the flow without e.
    ///
    /// # Errors
    /// As [`Flow::sample`].
    pub fn sample(
        &self,
        rows: usize,
        context: &Context<E>,
        rng: &mut Stream,
    ) -> Result<(Batch<E>, Work)> {
        let (pairs, work) = self.flow.sample(rows, context, rng)?;
        let kept = pairs.values();
        let kept = kept.chunks(self.flow.dim()).flat_map(|row| row[..self.dim()].to_vec());
        Ok((batch(kept.collect(), rows, self.dim())?, work))
    }
}

fn bound(terms: &[f64]) -> Bound {
    let count = terms.len() as f64;
    let lower = terms.iter().sum::<f64>() / count;
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ratio = terms.iter().map(|term| (term - largest).exp()).sum::<f64>() / count;
    let squares = terms.iter().map(|term| (term - lower).powi(2)).sum::<f64>();
    let variance = squares / (count - 1.0).max(1.0);
    Bound { lower, importance: largest + ratio.ln(), standard_error: (variance / count).sqrt() }
}

fn repeat_rows<E: Copy>(values: &[E], width: usize, times: usize) -> Vec<E> {
    values.chunks(width).flat_map(|row| row.repeat(times)).collect()
}

fn interleave<E: Copy>(left: &[E], left_width: usize, right: &[E], right_width: usize) -> Vec<E> {
    let rows = left.chunks(left_width).zip(right.chunks(right_width));
    rows.flat_map(|(left, right)| [left, right].concat()).collect()
}

/// Minibatches of another source, each row followed by a fresh draw of e. Maximum likelihood on
/// them maximises the lower bound of an [`Augmented`] model.
#[derive(Debug)]
pub struct AugmentedSource<S> {
    inner: S,
    extra: usize,
    seed: u64,
}

impl<S> AugmentedSource<S> {
    /// Appends `extra` columns of N(0, 1) to the rows of `inner`.
    pub fn new(inner: S, extra: usize, seed: u64) -> Self {
        Self { inner, extra, seed }
    }
}

impl<E: Real, S: Source<E>> Source<E> for AugmentedSource<S> {
    fn dim(&self) -> usize {
        self.inner.dim() + self.extra
    }

    fn context_dim(&self) -> usize {
        self.inner.context_dim()
    }

    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<E>> {
        let Minibatch { values, context } = self.inner.minibatch(step, rows)?;
        let dim = self.inner.dim();
        let rng = &mut stream(self.seed, &format!("augmentation {step}"));
        let noise: Vec<E> = normals(values.len() / dim * self.extra, rng);
        let values = match self.extra {
            0 => values,
            extra => interleave(&values, dim, &noise, extra),
        };
        Ok(Minibatch { values, context })
    }
}
