//! Composition of bijectors: determinants multiply, log-determinants add (review, Section 2.1).

use crate::bijector::{Bijector, BoxBijector, Costs, LogDet, Mapped, Purpose};
use crate::parameters::{Parameters, Visitor, VisitorMut, visit_part, visit_part_mut};
use crate::rowwise::sum;
use crate::tensor::{Batch, Mode, PutTape, SplitTape, Traced, Values, check_columns, per_row};
use crate::{Context, Error, Real, Result, Stream, Work};

/// Bijectors applied one after another; `forward` runs them first to last.
#[derive(Debug)]
pub struct Chain<E: Real> {
    dim: usize,
    parts: Vec<BoxBijector<E>>,
}

impl<E: Real> Chain<E> {
    /// A chain over `dim` features; without parts it is the identity.
    ///
    /// # Errors
    /// [`Error::Dimension`] if a part acts on another number of features.
    pub fn new(dim: usize, parts: Vec<BoxBijector<E>>) -> Result<Self> {
        for part in &parts {
            if part.dim() != dim {
                return Err(Error::Dimension { op: "chain", expected: dim, got: part.dim() });
            }
        }
        Ok(Self { dim, parts })
    }

    fn fold<'a, T: Mode<E>>(
        &self,
        input: Batch<E, T>,
        parts: impl Iterator<Item = &'a BoxBijector<E>>,
        step: impl Fn(&BoxBijector<E>, Batch<E, T>) -> Result<Mapped<E, T>>,
    ) -> Result<Mapped<E, T>> {
        check_columns("chain", &input, self.dim)?;
        let mut log_dets = Vec::with_capacity(self.parts.len());
        let mut penalties = Vec::new();
        let mut work = Work::default();
        let (mut value, mut tape) = input.split_tape();
        for part in parts {
            let mapped = step(part, value.put_tape(tape))?;
            log_dets.push(mapped.log_det);
            penalties.extend(mapped.penalty);
            (value, tape) = (mapped.value, mapped.tape);
            work += mapped.work;
        }
        let log_det = if log_dets.is_empty() {
            per_row(vec![E::zero(); value.rows()])?
        } else {
            sum(log_dets, &mut tape)?
        };
        let penalty = match penalties.len() {
            0 | 1 => penalties.pop(),
            _ => Some(sum(penalties, &mut tape)?),
        };
        Ok(Mapped { value, log_det, penalty, tape, work })
    }
}

impl<E: Real> Parameters<E> for Chain<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        for (index, part) in self.parts.iter().enumerate() {
            visit_part(part, &index.to_string(), f);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        for (index, part) in self.parts.iter_mut().enumerate() {
            visit_part_mut(part, &index.to_string(), f)?;
        }
        Ok(())
    }
}

impl<E: Real> Bijector<E> for Chain<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        self.parts.iter().fold(Costs::CLOSED_FORM, |worst, part| worst.worst(part.costs()))
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.fold(z, self.parts.iter(), |part, z| part.forward(z, context))
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.fold(x, self.parts.iter().rev(), |part, x| part.inverse(x, context))
    }

    fn forward_value(&self, z: Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        check_columns("chain", &z, self.dim)?;
        self.parts.iter().try_fold((z, Work::default()), |(z, work), part| {
            let (value, more) = part.forward_value(z, context)?;
            Ok((value, work + more))
        })
    }

    fn stages(&self, z: Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        check_columns("chain", &z, self.dim)?;
        let mut last = z.clone();
        let mut stages = vec![z];
        for part in &self.parts {
            // A part's path begins where the one before ended.
            stages.extend(part.stages(last, context)?.into_iter().skip(1));
            last = stages[stages.len() - 1].clone();
        }
        Ok(stages)
    }

    fn log_det(&self) -> LogDet {
        self.parts.iter().map(Bijector::log_det).max().unwrap_or(LogDet::Exact)
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        for part in &mut self.parts {
            part.set_purpose(purpose);
        }
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        for part in &mut self.parts {
            part.resample_probes(rng);
        }
    }

    fn velocity(
        &self,
        points: Batch<E, Traced<E>>,
        fractions: &[E],
        context: &Context<E>,
    ) -> Result<Option<Batch<E, Traced<E>>>> {
        self.parts.first().map_or(Ok(None), |part| part.velocity(points, fractions, context))
    }

    fn to_field(&self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        let Some((first, others)) = self.parts.split_first() else { return Ok(x) };
        let x = others
            .iter()
            .rev()
            .try_fold(x, |x, part| Ok::<_, Error>(part.inverse(x, context)?.value))?;
        first.to_field(x, context)
    }

    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        self.parts.iter_mut().rev().try_fold(x, |x, part| part.initialise(x, context))
    }
}
