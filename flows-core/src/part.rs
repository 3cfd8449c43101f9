//! A bijector on a subset of the features, for multi-scale architectures (review, Section 3.4).

use std::sync::Arc;

use crate::bijector::{Bijector, Mapped};
use crate::lanes::{lanes, lanes_mut};
use crate::operation::LANES;
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::pass::{Direction, Pass, Rows, RowsBack};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, Values, check_columns, columns};
use crate::{Context, Error, Real, Result, Scratch, Space, Work, custom_gradient};

/// A bijector on given features; the others stay as they are.
///
/// ```text
/// x[indices] = inner(z[indices]),   x_i = z_i elsewhere,   log |det| = log |det of inner|
/// ```
/// A multi-scale architecture factors features out as it goes from data to base: each level acts on
/// those that are left. In base-to-data order that is the chain `Part(level 3), Part(level 2),
/// level 1`, with fewer features the higher the level.
///
/// # Reference
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, section 3.6 (eq.
/// 13-16). <https://arxiv.org/abs/1605.08803>
#[derive(Debug)]
pub struct Part<E: Real> {
    inner: Box<dyn Bijector<E>>,
    dim: usize,
    indices: Arc<[usize]>,
}

impl<E: Real> Part<E> {
    /// `inner` on the features `indices` of `dim`, in the order of `indices`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless there are as many indices as `inner` has features;
    /// [`Error::Parameter`] unless they are below `dim` and distinct.
    pub fn new(inner: Box<dyn Bijector<E>>, dim: usize, indices: Vec<usize>) -> Result<Self> {
        let (expected, got) = (inner.dim(), indices.len());
        if expected != got {
            return Err(Error::Dimension { op: "features of a part", expected, got });
        }
        let mut free = vec![true; dim];
        for &index in &indices {
            if !free.get_mut(index).is_some_and(std::mem::take) {
                let (name, requirement) = ("index of a part", "below the dimension and used once");
                return Err(Error::Parameter { name, requirement, value: index as f64 });
            }
        }
        Ok(Self { inner, dim, indices: indices.into() })
    }

    /// The chosen features of a batch.
    fn chosen(&self, whole: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        check_columns("part", whole, self.dim)?;
        let (dim, indices) = (self.dim, Arc::clone(&self.indices));
        let rows = whole.values();
        let values = rows.chunks(dim.max(1)).flat_map(|row| self.indices.iter().map(|&i| row[i]));
        let count = rows.len();
        let back = move |gradient: &[E]| {
            let mut all = vec![E::zero(); count];
            // The subset may be empty.
            let own = gradient.chunks(indices.len().max(1));
            for (row, own) in all.chunks_mut(dim.max(1)).zip(own) {
                indices.iter().zip(own).for_each(|(&index, &value)| row[index] = value);
            }
            vec![all]
        };
        let size = (values.collect(), whole.rows(), self.indices.len());
        custom_gradient(&[whole], size, back, tape)
    }

    /// The batch with the chosen features replaced.
    fn replaced(
        &self,
        whole: &Batch<E>,
        chosen: &Batch<E>,
        tape: &mut Tape<E>,
    ) -> Result<Batch<E>> {
        let (dim, indices) = (self.dim, Arc::clone(&self.indices));
        let (mut values, new) = (whole.values(), chosen.values());
        let rows = values.chunks_mut(dim.max(1)).zip(new.chunks(columns(chosen).max(1)));
        for (row, new) in rows {
            indices.iter().zip(new).for_each(|(&index, &value)| row[index] = value);
        }
        let back = move |gradient: &[E]| {
            let (mut others, mut own) = (gradient.to_vec(), Vec::new());
            for row in others.chunks_mut(dim.max(1)) {
                own.extend(indices.iter().map(|&index| std::mem::take(&mut row[index])));
            }
            vec![others, own]
        };
        custom_gradient(&[whole, chosen], (values, whole.rows(), dim), back, tape)
    }

    /// For a bijector that needs the whole batch at once.
    fn whole(
        &self,
        direction: Direction,
        input: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        let chosen = self.chosen(input, tape)?;
        let mapped = match direction {
            Direction::Forward => self.inner.forward(&chosen, context, tape)?,
            Direction::Inverse => self.inner.inverse(&chosen, context, tape)?,
        };
        let value = self.replaced(input, &mapped.value, tape)?;
        Ok(Mapped { value, ..mapped })
    }
}

impl<E: Real> Parameters<E> for Part<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.inner.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.inner.visit_mut(f)
    }
}

impl<E: Real> Bijector<E> for Part<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let chosen = self.indices.iter().map(|&index| from[index]).collect();
        let whole = |part: usize| self.indices[part];
        let images = self.inner.image_space(chosen).map_err(|e| e.of_feature(whole))?;
        let mut all = from;
        self.indices.iter().zip(images).for_each(|(&index, image)| all[index] = image);
        Ok(all)
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.whole(Direction::Forward, z, context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.whole(Direction::Inverse, x, context, tape)
    }

    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        vec![&*self.inner]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        vec![&mut *self.inner]
    }

    fn pass(&self, direction: Direction, rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        let Some(inner) = self.inner.pass(direction, rows)? else { return Ok(None) };
        let features = Arc::clone(&self.indices);
        Ok(Some(Arc::new(SubsetPass { inner, dim: self.dim, features })))
    }

    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let (value, work) = self.inner.image(&self.chosen(z, &mut Tape::none())?, context)?;
        Ok((self.replaced(z, &value, &mut Tape::none())?, work))
    }

    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        let chosen = self.chosen(x, &mut Tape::none())?;
        let chosen = self.inner.initialise(&chosen, context)?;
        self.replaced(x, &chosen, &mut Tape::none())
    }
}

/// A pass on some of the features.
struct SubsetPass<E: Real> {
    inner: Arc<dyn Pass<E>>,
    dim: usize,
    features: Arc<[usize]>,
}

/// Chosen features before and after the inner pass.
#[derive(Debug, Default)]
pub(crate) struct Chosen<E> {
    pub(crate) input: Vec<E>,
    pub(crate) value: Vec<E>,
    pub(crate) scratch: Scratch,
}

pub(crate) fn gather<E: Real>(block: &[E], features: &[usize], chosen: &mut Vec<E>) {
    chosen.clear();
    for &feature in features {
        chosen.extend_from_slice(lanes(block, feature));
    }
}

pub(crate) fn scatter<E: Real>(chosen: &[E], features: &[usize], block: &mut [E]) {
    for (row, &feature) in chosen.chunks_exact(LANES).zip(features) {
        lanes_mut(block, feature).copy_from_slice(row);
    }
}

impl<E: Real> Pass<E> for SubsetPass<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn sum_lengths(&self) -> Vec<usize> {
        self.inner.sum_lengths()
    }

    fn forward(&self, rows: Rows<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Chosen { input, value, scratch } = scratch.or_default();
        gather(rows.input, &self.features, input);
        value.resize(input.len(), E::zero());
        let inner = Rows { input, value: &mut *value, ..rows };
        let work = self.inner.forward(inner, scratch)?;
        rows.value.copy_from_slice(rows.input);
        scatter(value, &self.features, rows.value);
        Ok(work)
    }

    fn backward(&self, rows: RowsBack<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let Chosen { input, value, scratch } = scratch.left();
        let mut d_value = Vec::with_capacity(value.len());
        gather(rows.d_value, &self.features, &mut d_value);
        let mut d_input = vec![E::zero(); d_value.len()];
        rows.d_input.copy_from_slice(rows.d_value);
        let inner = RowsBack { input, value, d_value: &d_value, d_input: &mut d_input, ..rows };
        self.inner.backward(inner, scratch)?;
        scatter(&d_input, &self.features, rows.d_input);
        Ok(())
    }

    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        self.inner.deliver(sums, gradients)
    }
}
