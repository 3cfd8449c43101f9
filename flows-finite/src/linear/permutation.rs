//! Reordering of features (review, Section 3.2).

use flows_core::operation::{LANES, Operation, Recorded, apply};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Stream, Values, Work,
};
use rand::seq::SliceRandom;

use crate::image::Shape;

/// Feature i of x is feature `order[i]` of z; the log-det is zero.
///
/// The order is saved with the model.
#[derive(Debug)]
pub struct Permutation<E: Real> {
    /// `(1, dim)`
    order: Batch<E>,
}

impl<E: Real> Permutation<E> {
    /// A given order.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless every number from 0 to dim - 1 occurs once.
    pub fn new(order: &[usize]) -> Result<Self> {
        let values = order.iter().map(|&i| E::of(i as f64)).collect();
        let permutation = Self { order: batch(values, 1, order.len())? };
        permutation.indices()?;
        Ok(permutation)
    }

    /// Last feature first, as between the layers of MAF.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn reverse(dim: usize) -> Result<Self> {
        Self::new(&(0..dim).rev().collect::<Vec<_>>())
    }

    /// A random order.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn random(dim: usize, rng: &mut Stream) -> Result<Self> {
        let mut order: Vec<usize> = (0..dim).collect();
        order.shuffle(rng);
        Self::new(&order)
    }

    /// Space to depth: x is an image of `shape` (C, H, W), z the same values as (4C, H/2, W/2), both
    /// channel-major. Each 2 x 2 square of a channel becomes one pixel of four channels:
    /// ```text
    /// z[4c + 2i + j, y, x] = x[c, 2y + i, 2x + j],   i, j in {0, 1}
    /// ```
    /// It is the data-to-base direction that squeezes.
    ///
    /// # Reference
    /// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, section 3.6 and
    /// figure 3. <https://arxiv.org/abs/1605.08803>
    ///
    /// # Errors
    /// [`Error::Parameter`] for odd heights and widths.
    pub fn squeeze(shape: Shape) -> Result<Self> {
        let small = shape.squeezed()?;
        let mut order = Vec::with_capacity(shape.dim());
        for channel in 0..shape.channels {
            for (y, x) in (0..shape.height).flat_map(|y| (0..shape.width).map(move |x| (y, x))) {
                let channel = 4 * channel + 2 * (y % 2) + x % 2;
                order.push((channel * small.height + y / 2) * small.width + x / 2);
            }
        }
        Self::new(&order)
    }

    /// The order, checked: a model file may hold anything.
    fn indices(&self) -> Result<Vec<usize>> {
        indices("order of a permutation", &self.order)
    }

    fn map<T: Mode<E>>(&self, input: Batch<E, T>, order: Vec<usize>) -> Result<Mapped<E, T>> {
        check_columns("permutation", &input, order.len())?;
        let (input, mut tape) = input.split_tape();
        let mut outputs = apply(Reorder { order }, &[&input], &[], &mut tape)?;
        let log_det = per_row(vec![E::zero(); input.rows()])?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

/// A tensor of indices as what it stands for, if it is a permutation.
pub(crate) fn indices<E: Real>(name: &'static str, tensor: &Batch<E>) -> Result<Vec<usize>> {
    let values = tensor.values();
    let mut seen = vec![false; values.len()];
    for value in &values {
        let index = value.as_f64();
        let place = (index >= 0.0).then(|| seen.get_mut(index as usize)).flatten();
        match place {
            Some(free) if !*free && index.fract() == 0.0 => *free = true,
            _ => {
                let requirement = "a permutation of 0, 1, .. dim - 1";
                return Err(Error::Parameter { name, requirement, value: index });
            }
        }
    }
    Ok(values.iter().map(|v| v.as_f64() as usize).collect())
}

/// The order that undoes `order`.
pub(crate) fn inverted(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (place, &source) in order.iter().enumerate() {
        inverse[source] = place;
    }
    inverse
}

impl<E: Real> Parameters<E> for Permutation<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("order", Role::Fixed, &self.order);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("order", Role::Fixed, &mut self.order)
    }
}

impl<E: Real> Bijector<E> for Permutation<E> {
    fn dim(&self) -> usize {
        flows_core::tensor::columns(&self.order)
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(z, self.indices()?)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(x, inverted(&self.indices()?))
    }
}

struct Reorder {
    order: Vec<usize>,
}

impl<E: Real> Operation<E> for Reorder {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "permutation"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.order.len()]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        for (target, &source) in outputs[0].chunks_exact_mut(LANES).zip(&self.order) {
            target.copy_from_slice(&inputs[0][source * LANES..(source + 1) * LANES]);
        }
        Ok(())
    }

    fn backward(
        &self,
        _: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) {
        for (outer, &source) in output_gradients[0].chunks_exact(LANES).zip(&self.order) {
            input_gradients[0][source * LANES..(source + 1) * LANES].copy_from_slice(outer);
        }
    }
}
