//! Composition of bijectors: determinants multiply, log-determinants add (review, Section 2.1).

use std::sync::Arc;

use crate::bijector::{Bijector, FieldFlow, Mapped};
use crate::parameters::{Parameters, Visitor, VisitorMut, visit_part, visit_part_mut};
use crate::pass::{Direction, Pass, Sequence};
use crate::rowwise::sum;
use crate::run_pass::{Pools, run_pass};
use crate::tape::Tape;
use crate::tensor::{Batch, Values, check_columns};
use crate::{Context, Error, Real, Result, Space, Work};

/// A composition of bijectors; `forward` runs them first to last.
///
/// Neighbours that compute block by block are fused: a block of rows passes through all of them
/// while it is in the cache.
#[derive(Debug)]
pub struct Chain<E: Real> {
    dim: usize,
    parts: Vec<Box<dyn Bijector<E>>>,
    /// Buffers of each fused run, at the index of its first part.
    pools: Vec<Pools<E>>,
}

impl<E: Real> Chain<E> {
    /// A chain over `dim` features; without parts, the identity.
    ///
    /// # Errors
    /// [`Error::Dimension`] if a part acts on another number of features, or two take contexts of
    /// different widths.
    pub fn new(dim: usize, parts: Vec<Box<dyn Bijector<E>>>) -> Result<Self> {
        let mut context = 0;
        for part in &parts {
            if part.dim() != dim {
                return Err(Error::Dimension { op: "chain", expected: dim, got: part.dim() });
            }
            match part.context_dim() {
                0 => {}
                got if context == 0 => context = got,
                got if got == context => {}
                got => {
                    let op = "context of a part of a chain";
                    return Err(Error::Dimension { op, expected: context, got });
                }
            }
        }
        let pools = (0..=parts.len()).map(|_| Pools::default()).collect();
        Ok(Self { dim, parts, pools })
    }

    /// Checks columns and context; a context that no part takes would be silently ignored.
    fn check(&self, input: &Batch<E>, context: &Context<E>) -> Result<()> {
        check_columns("chain", input, self.dim)?;
        context.check("context of a chain", self.context_dim(), input.rows())
    }

    /// The parts in the order of a direction, neighbours that compute block by block fused.
    fn runs(&self, direction: Direction, rows: usize) -> Result<Vec<Run<'_, E>>> {
        let mut runs = Vec::new();
        let order: Vec<usize> = match direction {
            Direction::Forward => (0..self.parts.len()).collect(),
            Direction::Inverse => (0..self.parts.len()).rev().collect(),
        };
        for index in order {
            let part = &*self.parts[index];
            match (part.pass(direction, rows)?, runs.last_mut()) {
                (None, _) => runs.push(Run::Whole(part)),
                (Some(pass), Some(Run::Blocks { passes, .. })) => passes.push(pass),
                (Some(pass), _) => runs.push(Run::Blocks { passes: vec![pass], first: index }),
            }
        }
        Ok(runs)
    }

    fn run(
        &self,
        direction: Direction,
        input: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        self.check(input, context)?;
        let mut runs = self.runs(direction, input.rows())?.into_iter();
        let mut all = match runs.next() {
            Some(run) => self.step(run, direction, input, context, tape)?,
            None => {
                let nothing = Run::Blocks { passes: Vec::new(), first: 0 };
                self.step(nothing, direction, input, context, tape)?
            }
        };
        for run in runs {
            let next = self.step(run, direction, &all.value, context, tape)?;
            let log_det = sum(vec![all.log_det, next.log_det], tape)?;
            let penalty = match (all.penalty, next.penalty) {
                (Some(a), Some(b)) => Some(sum(vec![a, b], tape)?),
                (a, b) => a.or(b),
            };
            all = Mapped { value: next.value, log_det, penalty, work: all.work + next.work };
        }
        Ok(all)
    }

    fn step(
        &self,
        run: Run<'_, E>,
        direction: Direction,
        input: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        match run {
            Run::Blocks { passes, first } => {
                let pass = Arc::new(Sequence::new(self.dim, passes));
                let pools = (&self.pools[first], direction);
                run_pass(("chain", self.context_dim()), pass, (input, context), pools, tape)
            }
            Run::Whole(part) => {
                let context = context.if_taken(part.context_dim());
                match direction {
                    Direction::Forward => part.forward(input, &context, tape),
                    Direction::Inverse => part.inverse(input, &context, tape),
                }
            }
        }
    }
}

/// Parts of a chain that run together.
enum Run<'a, E: Real> {
    Blocks { passes: Vec<Arc<dyn Pass<E>>>, first: usize },
    Whole(&'a dyn Bijector<E>),
}

impl<E: Real> Parameters<E> for Chain<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        for (index, part) in self.parts.iter().enumerate() {
            visit_part(&**part, &index.to_string(), f);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        for (index, part) in self.parts.iter_mut().enumerate() {
            visit_part_mut(&mut **part, &index.to_string(), f)?;
        }
        Ok(())
    }
}

impl<E: Real> Bijector<E> for Chain<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        self.parts.iter().try_fold(from, |from, part| part.image_space(from))
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.run(Direction::Forward, z, context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.run(Direction::Inverse, x, context, tape)
    }

    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        self.parts.iter().map(|part| &**part).collect()
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        let mut parts: Vec<&mut dyn Bijector<E>> = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            parts.push(&mut **part);
        }
        parts
    }

    fn pass(&self, direction: Direction, rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        let runs = self.runs(direction, rows)?;
        let passes = match runs.into_iter().next() {
            None => Vec::new(),
            // A part that is not block-wise is a run of its own.
            Some(Run::Blocks { passes, .. }) if passes.len() == self.parts.len() => passes,
            Some(_) => return Ok(None),
        };
        Ok(Some(Arc::new(Sequence::new(self.dim, passes))))
    }

    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        self.check(z, context)?;
        let mut all = (z.clone(), Work::default());
        for run in self.runs(Direction::Forward, z.rows())? {
            let (value, work) = match run {
                Run::Whole(part) => part.image(&all.0, &context.if_taken(part.context_dim()))?,
                blocks => {
                    let none = &mut Tape::none();
                    let mapped = self.step(blocks, Direction::Forward, &all.0, context, none)?;
                    (mapped.value, mapped.work)
                }
            };
            all = (value, all.1 + work);
        }
        Ok(all)
    }

    fn stages(&self, z: &Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        self.check(z, context)?;
        let mut stages = vec![z.clone()];
        for part in &self.parts {
            // A part's stages begin with the end of the part before.
            let last = stages[stages.len() - 1].clone();
            let own = part.stages(&last, &context.if_taken(part.context_dim()))?;
            stages.extend(own.into_iter().skip(1));
        }
        Ok(stages)
    }

    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        self.check(x, context)?;
        self.parts.iter_mut().rev().try_fold(x.clone(), |x, part| {
            let context = context.if_taken(part.context_dim());
            part.initialise(&x, &context)
        })
    }

    fn as_field(&self) -> Option<&dyn FieldFlow<E>> {
        self.parts.first().and_then(|part| part.as_field()).map(|_| self as &dyn FieldFlow<E>)
    }
}

/// The field must be next to the base; the parts after it are inverted first.
impl<E: Real> FieldFlow<E> for Chain<E> {
    fn velocity(
        &self,
        points: &Batch<E>,
        fractions: &[E],
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Batch<E>> {
        self.check(points, context)?;
        let (part, field) = self.field()?;
        field.velocity(points, fractions, &context.if_taken(part.context_dim()), tape)
    }

    fn to_field(&self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        self.check(x, context)?;
        let (part, field) = self.field()?;
        let x = self.parts[1..].iter().rev().try_fold(x.clone(), |x, part| {
            let context = context.if_taken(part.context_dim());
            Ok::<_, Error>(part.inverse(&x, &context, &mut Tape::none())?.value)
        })?;
        field.to_field(&x, &context.if_taken(part.context_dim()))
    }
}

impl<E: Real> Chain<E> {
    /// The part next to the base, if it is the flow of a field.
    fn field(&self) -> Result<(&dyn Bijector<E>, &dyn FieldFlow<E>)> {
        let part = self.parts.first().map(|part| &**part);
        let advice = "put a continuous flow next to the base";
        let missing = Error::Unavailable { what: "the vector field of a chain", advice };
        part.and_then(|part| Some((part, part.as_field()?))).ok_or(missing)
    }
}
