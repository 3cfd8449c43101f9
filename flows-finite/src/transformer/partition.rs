//! The bins of a spline: an interval cut in proportion to a softmax.

use flows_core::Real;
use flows_core::elementwise::exp;
use flows_core::operation::LANES;

/// One value for each of LANES elements.
pub(crate) type Lanes<E> = [E; LANES];

/// Softmax of K rows and the factor from a probability to a width.
pub(crate) struct Partition<E> {
    probability: Vec<Lanes<E>>,
    offset: E,
    factor: E,
}

impl<E: Real> Partition<E> {
    #[inline(always)]
    pub(crate) fn new(raw: &[E], smallest: f64, bound: f64) -> Self {
        let bins = raw.len() / LANES;
        let mut probability = vec![[E::zero(); LANES]; bins];
        let mut largest = [E::neg_infinity(); LANES];
        for row in raw.chunks_exact(LANES) {
            for (largest, &value) in largest.iter_mut().zip(row) {
                *largest = if value > *largest { value } else { *largest };
            }
        }
        let mut total = [E::zero(); LANES];
        for (row, raw) in probability.iter_mut().zip(raw.chunks_exact(LANES)) {
            for lane in 0..LANES {
                row[lane] = exp(raw[lane] - largest[lane]);
                total[lane] += row[lane];
            }
        }
        for total in &mut total {
            *total = E::one() / *total;
        }
        for row in &mut probability {
            for lane in 0..LANES {
                row[lane] *= total[lane];
            }
        }
        let offset = E::of(2.0 * bound * smallest);
        let factor = E::of(2.0 * bound * (1.0 - bins as f64 * smallest));
        Self { probability, offset, factor }
    }

    #[inline(always)]
    pub(crate) fn size(&self, bin: usize, lane: usize) -> E {
        self.factor.mul_add(self.probability[bin][lane], self.offset)
    }

    /// Gradient of the raw rows, for the gradient `here` of the size of bin `index` and `before` of
    /// the size of each bin to its left.
    #[inline(always)]
    pub(crate) fn gradient(
        &self,
        index: &Lanes<E>,
        here: &Lanes<E>,
        before: &Lanes<E>,
        raw: &mut [E],
    ) {
        let mut mean = [E::zero(); LANES];
        for (bin, row) in raw.chunks_exact_mut(LANES).enumerate() {
            let this = E::of(bin as f64);
            for lane in 0..LANES {
                let at = if this == index[lane] { here[lane] } else { E::zero() };
                let size = if this < index[lane] { before[lane] } else { at };
                let scaled = size * self.factor;
                row[lane] = scaled;
                mean[lane] += self.probability[bin][lane] * scaled;
            }
        }
        for (row, probability) in raw.chunks_exact_mut(LANES).zip(&self.probability) {
            for lane in 0..LANES {
                row[lane] = probability[lane] * (row[lane] - mean[lane]);
            }
        }
    }
}
