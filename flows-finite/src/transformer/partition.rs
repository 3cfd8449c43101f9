//! The bins of a spline: an interval divided in proportion to a softmax.

pub(super) use super::lanes::Lanes;
use flows_core::Real;
use flows_core::elementwise::{exp, vectorised};
use flows_core::operation::LANES;

/// Softmax of K rows, and the factor from a probability to a width.
pub(crate) struct Partition<E> {
    probability: Vec<Lanes<E>>,
    offset: E,
    factor: E,
}

impl<E: Real> Partition<E> {
    /// Divides [-`bound`, `bound`] into bins of at least `smallest` of its length each.
    #[inline(never)]
    pub(crate) fn new(raw: &[E], smallest: f64, bound: f64) -> Self {
        let bins = raw.len() / LANES;
        let mut probability = vec![[E::zero(); LANES]; bins];
        vectorised(
            #[inline(always)]
            || {
                let largest = largest(raw);
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
            },
        );
        let offset = E::of(2.0 * bound * smallest);
        let factor = E::of(2.0 * bound * (1.0 - bins as f64 * smallest));
        Self { probability, offset, factor }
    }

    #[inline(always)]
    pub(crate) fn size(&self, bin: usize, lane: usize) -> E {
        self.factor.mul_add(self.probability[bin][lane], self.offset)
    }

    /// Backward pass: the gradient of the raw rows from that of the size of each bin.
    #[inline(always)]
    pub(crate) fn gradient(&self, size: impl Fn(usize, usize) -> E, raw: &mut [E]) {
        let mut mean = [E::zero(); LANES];
        for (bin, row) in raw.chunks_exact_mut(LANES).enumerate() {
            // Written to a local variable first, or the compiler assumes aliasing.
            let mut scaled = [E::zero(); LANES];
            for lane in 0..LANES {
                scaled[lane] = size(bin, lane) * self.factor;
                mean[lane] += self.probability[bin][lane] * scaled[lane];
            }
            row.copy_from_slice(&scaled);
        }
        for (row, probability) in raw.chunks_exact_mut(LANES).zip(&self.probability) {
            for lane in 0..LANES {
                row[lane] = probability[lane] * (row[lane] - mean[lane]);
            }
        }
    }
}

/// The largest value of each element, subtracted in a softmax.
#[inline(always)]
pub(crate) fn largest<E: Real>(raw: &[E]) -> Lanes<E> {
    let mut largest = [E::neg_infinity(); LANES];
    for row in raw.chunks_exact(LANES) {
        for (largest, &value) in largest.iter_mut().zip(row) {
            *largest = if value > *largest { value } else { *largest };
        }
    }
    largest
}
