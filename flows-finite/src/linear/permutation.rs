//! Permutations of features (review, Section 3.2).

use flows_core::lanes::{lanes, lanes_mut, named};
use flows_core::map::{Block, Pull};
use flows_core::{
    Error, HasLayout, Layout, Map, Real, Result, Scratch, Shape, Space, Stream, Work,
};
use rand::seq::SliceRandom;

/// A permutation: feature i of x is feature `order[i]` of z; the log-det is zero.
///
/// The order is saved with the model.
#[derive(Clone, Debug)]
pub struct Permutation {
    /// Initially.
    order: Vec<usize>,
}

impl Permutation {
    /// A permutation by its order.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless every number from 0 to dim - 1 occurs once.
    pub fn new(order: &[usize]) -> Result<Self> {
        check_order(NAME, &values_of(order))?;
        Ok(Self { order: order.to_vec() })
    }

    /// The reversal, as between the layers of MAF.
    ///
    /// # Errors
    /// As [`new`](Self::new), which accepts every order made here.
    pub fn reverse(dim: usize) -> Result<Self> {
        Self::new(&(0..dim).rev().collect::<Vec<_>>())
    }

    /// A random permutation.
    ///
    /// # Errors
    /// As [`new`](Self::new), which accepts every order made here.
    pub fn random(dim: usize, rng: &mut Stream) -> Result<Self> {
        Self::new(&shuffled(dim, rng))
    }

    /// The squeeze (space to depth): x is an image of `shape` (C, H, W), z the same values as (4C,
    /// H/2, W/2), both channel-major. Each 2 x 2 square of a channel becomes one pixel of four
    /// channels:
    /// ```text
    /// z[4c + 2i + j, y, x] = x[c, 2y + i, 2x + j],   i, j in {0, 1}
    /// ```
    /// The data-to-base direction squeezes.
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
}

const NAME: &str = "order of a permutation";

/// An order as the values of a tensor.
pub(super) fn values_of(order: &[usize]) -> Vec<f64> {
    order.iter().map(|&i| i as f64).collect()
}

/// The tensor of an order.
pub(super) fn order_layout(order: &[usize]) -> Layout {
    Layout::given("order", 1, order.len(), values_of(order)).fixed()
}

/// A random order.
pub(super) fn shuffled(dim: usize, rng: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dim).collect();
    order.shuffle(rng);
    order
}

/// Checks that values are a permutation: a model file may hold anything.
pub(super) fn check_order<E: Real>(name: &'static str, values: &[E]) -> Result<()> {
    let mut seen = vec![false; values.len()];
    for value in values {
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
    Ok(())
}

/// Row i of `to` becomes row `order[i]` of `from`.
pub(super) fn gather<E: Real>(order: &[E], from: &[E], to: &mut [E]) {
    for (i, source) in order.iter().enumerate() {
        lanes_mut(to, i).copy_from_slice(lanes(from, source.as_f64() as usize));
    }
}

/// Row `order[i]` of `to` becomes row i of `from`.
pub(super) fn scatter<E: Real>(order: &[E], from: &[E], to: &mut [E]) {
    for (i, target) in order.iter().enumerate() {
        lanes_mut(to, target.as_f64() as usize).copy_from_slice(lanes(from, i));
    }
}

impl HasLayout for Permutation {
    fn layout(&self) -> Vec<Layout> {
        vec![order_layout(&self.order)]
    }
}

impl<E: Real> Map<E> for Permutation {
    fn name(&self) -> &'static str {
        "permutation"
    }

    fn dim(&self) -> usize {
        self.order.len()
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        Ok(self.order.iter().map(|&source| from[source]).collect())
    }

    fn prepare(&self, tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        check_order(NAME, &tensors[0])?;
        Ok(tensors)
    }

    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [order] = named(at.parameters);
        gather(order, at.input, at.value);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [order] = named(at.parameters);
        scatter(order, at.input, at.value);
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [order] = named(at.parameters);
        scatter(order, at.d_value, at.d_input);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [order] = named(at.parameters);
        gather(order, at.d_value, at.d_input);
        Ok(())
    }
}
