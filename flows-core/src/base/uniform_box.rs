//! The uniform distribution on a box.

use rand::RngExt;

use crate::layout::{HasLayout, Layout};
use crate::operation::{LANES, Recorded};
use crate::{Distribution, Error, Real, Result, Scratch, Space, Stream};

/// Constant inside, minus infinity outside; its gradient is zero.
#[derive(Debug)]
pub(super) struct UniformBox {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl UniformBox {
    pub(super) fn new(low: Vec<f64>, high: Vec<f64>) -> Result<Self> {
        if low.len() != high.len() {
            let op = "uniform box";
            return Err(Error::Dimension { op, expected: low.len(), got: high.len() });
        }
        for (&low, &high) in low.iter().zip(&high) {
            if !(low < high && (high - low).is_finite()) {
                let requirement = "above its low end, both finite";
                let name = "high end of a box";
                return Err(Error::Parameter { name, requirement, value: high });
            }
        }
        Ok(Self { low, high })
    }
}

impl HasLayout for UniformBox {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl<E: Real> Distribution<E> for UniformBox {
    fn dim(&self) -> usize {
        self.low.len()
    }

    fn space(&self) -> Vec<Space> {
        self.low.iter().zip(&self.high).map(|(&low, &high)| Space::Interval([low, high])).collect()
    }

    fn log_density(&self, z: &[E], _: &[&[E]], _: &mut Scratch, sums: &mut [E]) {
        for ((&low, &high), z) in self.low.iter().zip(&self.high).zip(z.chunks(LANES)) {
            let inside = E::of(-(high - low).ln());
            for (sum, &z) in sums.iter_mut().zip(z) {
                *sum +=
                    if z >= E::of(low) && z <= E::of(high) { inside } else { E::neg_infinity() };
            }
        }
    }

    fn pull_log_density(&self, _: Recorded<'_, E>, _: &[E], _: &mut [E], _: &mut [&mut [E]]) {}

    fn noise(&self, rows: usize, _: &[Vec<E>], rng: &mut Stream) -> Vec<E> {
        let dim = self.low.len();
        (0..rows * dim)
            .map(|i| E::of(rng.random_range(self.low[i % dim]..self.high[i % dim])))
            // Rounded like the ends, so that a draw stays between them.
            .collect()
    }
}
