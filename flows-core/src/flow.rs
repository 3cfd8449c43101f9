//! A flow: a base distribution and a bijector (review, Section 2.1).

use crate::base::Base;
use crate::bijector::{Bijector, BoxBijector, Mapped};
use crate::parameters::{Parameters, Visitor, VisitorMut, visit_part, visit_part_mut};
use crate::rowwise::{negated, sum};
use crate::tensor::{Batch, Mode, NoneTape, PerRow, PutTape, SplitTape, Values, batch, columns};
use crate::{Context, Error, Real, Result, Stream, Work};

/// Rows evaluated at a time by [`Flow::evaluate`], which bounds its memory.
const CHUNK: usize = 4096;

/// The distribution of x = T(z) with z from the base.
#[derive(Debug)]
pub struct Flow<E: Real> {
    base: Base<E>,
    bijector: BoxBijector<E>,
}

/// Log-densities with the tape that recorded them.
#[derive(Debug)]
pub struct LogProb<E: Real, T = NoneTape> {
    /// Nats, `(rows,)`
    pub value: PerRow<E>,
    /// What the bijector adds to the training loss, nats a row.
    pub penalty: Option<PerRow<E>>,
    /// The one tape.
    pub tape: T,
    /// What it took.
    pub work: Work,
}

/// Draws with their log-densities.
#[derive(Debug)]
pub struct Sampled<E: Real, T = NoneTape> {
    /// `(rows, dim)`
    pub value: Batch<E>,
    /// Nats, `(rows,)`
    pub log_prob: PerRow<E>,
    /// What the bijector adds to the training loss, nats a row.
    pub penalty: Option<PerRow<E>>,
    /// The one tape.
    pub tape: T,
    /// What it took.
    pub work: Work,
}

impl<E: Real> Flow<E> {
    /// A flow from its parts.
    ///
    /// # Errors
    /// [`Error::Dimension`] if base and bijector differ in dimension.
    pub fn new(base: Base<E>, bijector: BoxBijector<E>) -> Result<Self> {
        if base.dim() != bijector.dim() {
            let (expected, got) = (base.dim(), bijector.dim());
            return Err(Error::Dimension { op: "flow", expected, got });
        }
        Ok(Self { base, bijector })
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.base.dim()
    }

    /// The transformation.
    pub fn bijector(&self) -> &BoxBijector<E> {
        &self.bijector
    }

    /// The transformation, to set its purpose, draw its probes or initialise it.
    pub fn bijector_mut(&mut self) -> &mut BoxBijector<E> {
        &mut self.bijector
    }

    /// The base distribution.
    pub fn base(&self) -> &Base<E> {
        &self.base
    }

    /// log p(x) = log p_base(z) + log |det dz/dx| with z the inverse image of x.
    ///
    /// A tape may come in on `x`, on the context, or on both.
    ///
    /// # Errors
    /// As [`Bijector::inverse`].
    pub fn log_prob<T: Mode<E>>(
        &self,
        x: Batch<E, T>,
        context: Context<E, T>,
    ) -> Result<LogProb<E, T>> {
        let (x, context) = context.join(x);
        let mapped = self.bijector.inverse(x, &context)?;
        let (base, mut tape) = self.base.log_prob(mapped.value.put_tape(mapped.tape))?;
        let value = sum(vec![base, mapped.log_det], &mut tape)?;
        Ok(LogProb { value, penalty: mapped.penalty, tape, work: mapped.work })
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
        self.bijector.forward_value(self.base.sample(rows, rng)?, context)
    }

    /// Draws `rows` points and their log-densities in one pass, differentiable where a tape is given:
    /// through the bijector, and through the draws of a learned base as [`Base::draw`] says.
    ///
    /// # Errors
    /// As [`Bijector::forward`].
    pub fn sample_and_log_prob<T: Mode<E>>(
        &self,
        rows: usize,
        context: Context<E, T>,
        tape: T,
        rng: &mut Stream,
    ) -> Result<Sampled<E, T>> {
        let (z, tape) = self.base.draw(rows, tape, rng)?;
        self.push(z.put_tape(tape), context)
    }

    /// Images of base points with their log-densities.
    pub(crate) fn push<T: Mode<E>>(
        &self,
        z: Batch<E, T>,
        context: Context<E, T>,
    ) -> Result<Sampled<E, T>> {
        let (z, context) = context.join(z);
        let (z, tape) = z.split_tape();
        let (base, tape) = self.base.log_prob(z.clone().put_tape(tape))?;
        let mapped = self.bijector.forward(z.put_tape(tape), &context)?;
        let mut tape = mapped.tape;
        let minus = negated(mapped.log_det, &mut tape)?;
        let log_prob = sum(vec![base, minus], &mut tape)?;
        let Mapped { value, penalty, work, .. } = mapped;
        Ok(Sampled { value, log_prob, penalty, tape, work })
    }

    /// Log-densities of many rows (stored row by row) without a tape, a few thousand at a time.
    ///
    /// # Errors
    /// As [`log_prob`](Self::log_prob); [`Error::Dimension`] unless the values fill whole rows.
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
            let result = self.log_prob(batch(rows.to_vec(), rows.len() / dim, dim)?, part)?;
            log_prob.extend(result.value.values().iter().map(|v| v.as_f64()));
            work += result.work;
        }
        Ok((log_prob, work))
    }

    /// Sets learnable parameters of the base to their maximum-likelihood values for data `x`.
    ///
    /// # Errors
    /// As [`Base::fit`] and [`Bijector::inverse`].
    pub fn fit_base(&mut self, x: Batch<E>, context: &Context<E>) -> Result<()> {
        let z = self.bijector.inverse(x, context)?.value;
        self.base.fit(&z)
    }
}

impl<E: Real> Parameters<E> for Flow<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.base, "base", f);
        visit_part(&self.bijector, "bijector", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.base, "base", f)?;
        visit_part_mut(&mut self.bijector, "bijector", f)
    }
}
