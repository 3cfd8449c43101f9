//! Normalizing flows: a base distribution and a bijector (review, Section 2.1).

use crate::base::Base;
use crate::bijector::{Bijector, Mapped};
use crate::parameters::{Parameters, Visitor, VisitorMut, visit_part, visit_part_mut};
use crate::rowwise::{negated, sum};
use crate::tape::Tape;
use crate::tensor::{Batch, PerRow, Values, batch, columns};
use crate::{Context, Error, Real, Result, Stream, Work};

/// Rows evaluated at a time by [`Flow::evaluate`], which bounds its memory.
const CHUNK: usize = 4096;

/// A normalizing flow: the distribution of x = T(z) with z from the base.
#[derive(Debug)]
pub struct Flow<E: Real> {
    base: Base<E>,
    bijector: Box<dyn Bijector<E>>,
}

/// Log-densities of a batch.
#[derive(Debug)]
pub struct LogProb<E: Real> {
    /// Nats, `(rows,)`
    pub value: PerRow<E>,
    /// Regularisation that the bijector adds to the training loss, nats a row.
    pub penalty: Option<PerRow<E>>,
    /// Counted work.
    pub work: Work,
}

/// Draws with their log-densities.
#[derive(Debug)]
pub struct Sampled<E: Real> {
    /// `(rows, dim)`
    pub value: Batch<E>,
    /// Nats, `(rows,)`
    pub log_prob: PerRow<E>,
    /// Regularisation that the bijector adds to the training loss, nats a row.
    pub penalty: Option<PerRow<E>>,
    /// Counted work.
    pub work: Work,
}

impl<E: Real> Flow<E> {
    /// A flow of a base and a bijector.
    ///
    /// # Errors
    /// [`Error::Dimension`] if base and bijector differ in dimension; [`Error::Space`] if the
    /// bijector is not injective where the base lies.
    pub fn new(base: Base<E>, bijector: Box<dyn Bijector<E>>) -> Result<Self> {
        if base.dim() != bijector.dim() {
            let (expected, got) = (base.dim(), bijector.dim());
            return Err(Error::Dimension { op: "flow", expected, got });
        }
        bijector.image_space(base.space())?;
        Ok(Self { base, bijector })
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.base.dim()
    }

    /// The bijector.
    pub fn bijector(&self) -> &dyn Bijector<E> {
        &*self.bijector
    }

    /// The bijector, to set its purpose, begin a step or initialise it.
    pub fn bijector_mut(&mut self) -> &mut dyn Bijector<E> {
        &mut *self.bijector
    }

    /// The base distribution.
    pub fn base(&self) -> &Base<E> {
        &self.base
    }

    pub(crate) fn base_mut(&mut self) -> &mut Base<E> {
        &mut self.base
    }

    /// log p(x) = log p_base(z) + log |det dz/dx| with z the inverse image of x.
    ///
    /// # Errors
    /// As [`Bijector::inverse`].
    pub fn log_prob(
        &self,
        x: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<LogProb<E>> {
        let Mapped { value, log_det, penalty, work } = self.bijector.inverse(x, context, tape)?;
        let base = self.base.log_prob(&value, tape)?;
        Ok(LogProb { value: sum(vec![base, log_det], tape)?, penalty, work })
    }

    /// Draws `rows` points, `(rows, dim)`.
    ///
    /// # Errors
    /// As [`Bijector::forward`].
    pub fn sample(
        &self,
        rows: usize,
        context: &Context<E>,
        rng: &mut Stream,
    ) -> Result<(Batch<E>, Work)> {
        self.bijector.image(&self.base.sample(rows, rng)?, context)
    }

    /// Draws `rows` points and their log-densities in one pass, differentiable through the bijector
    /// and, as [`Base::draw`] says, through the draws of a learned base.
    ///
    /// # Errors
    /// As [`Bijector::forward`].
    pub fn sample_and_log_prob(
        &self,
        rows: usize,
        context: &Context<E>,
        tape: &mut Tape<E>,
        rng: &mut Stream,
    ) -> Result<Sampled<E>> {
        let z = self.base.draw(rows, tape, rng)?;
        self.push(&z, context, tape)
    }

    /// Images of base points with their log-densities.
    pub(crate) fn push(
        &self,
        z: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Sampled<E>> {
        let base = self.base.log_prob(z, tape)?;
        let Mapped { value, log_det, penalty, work } = self.bijector.forward(z, context, tape)?;
        let minus = negated(log_det, tape)?;
        let log_prob = sum(vec![base, minus], tape)?;
        Ok(Sampled { value, log_prob, penalty, work })
    }

    /// Log-densities of rows stored one after another, without a tape, a few thousand at a time.
    ///
    /// # Errors
    /// As [`log_prob`](Self::log_prob), with the number of the row among all; [`Error::Dimension`]
    /// unless the values fill whole rows.
    pub fn evaluate(&self, values: &[E], context: &Context<E>) -> Result<(Vec<f64>, Work)> {
        let dim = self.dim();
        if !values.len().is_multiple_of(dim) {
            let got = values.len() % dim;
            return Err(Error::Dimension { op: "last row of a batch", expected: dim, got });
        }
        let mut log_prob = Vec::with_capacity(values.len() / dim);
        let mut work = Work::default();
        if let Some(features) = context.features()
            && features.rows() != values.len() / dim
        {
            let (expected, got) = (values.len() / dim, features.rows());
            return Err(Error::Rows { op: "context", expected, got });
        }
        let features = context.features().map(|f| (f.values(), columns(f)));
        for (index, rows) in values.chunks(CHUNK * dim).enumerate() {
            let part = match &features {
                None => Context::none(),
                Some((features, width)) => {
                    let start = index * CHUNK * width;
                    let end = start + rows.len() / dim * width;
                    Context::of(batch(features[start..end].to_vec(), rows.len() / dim, *width)?)
                }
            };
            let x = batch(rows.to_vec(), rows.len() / dim, dim)?;
            let result = self.log_prob(&x, &part, &mut Tape::none());
            let result = result.map_err(|error| error.in_rows_from(index * CHUNK))?;
            log_prob.extend(result.value.values().iter().map(|v| v.as_f64()));
            work += result.work;
        }
        Ok((log_prob, work))
    }

    /// Sets learnable parameters of the base to their maximum-likelihood values for data `x`.
    ///
    /// # Errors
    /// As [`Base::fit`] and [`Bijector::inverse`].
    pub fn fit_base(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<()> {
        let z = self.bijector.inverse(x, context, &mut Tape::none())?.value;
        self.base.fit(&z)
    }
}

impl<E: Real> Parameters<E> for Flow<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.base, "base", f);
        visit_part(&*self.bijector, "bijector", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.base, "base", f)?;
        visit_part_mut(&mut *self.bijector, "bijector", f)
    }
}
