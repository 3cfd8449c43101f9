//! The linear part of a 3 x 3 convolution with zero padding, as a matrix product over gathered
//! neighbours.

use crate::Real;
use crate::lanes::add;
use crate::matmul::{Destination, Matrix, product};

/// A 3 x 3 convolution with zero padding on images of this size.
///
/// An image is `(channels, height, width, pixel)`, with `pixel` values for each pixel: the lanes of a
/// block, and their tangents where there are any. A convolution of few channels into many is one
/// matrix product with weights `(out, 9 in)` behind [`gather`](Self::gather); one of many into few is
/// a product with weights `(9 out, in)` followed by [`scatter`](Self::scatter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

/// A run of neighbouring values of a channel seen through the same tap: `length` values from `here`
/// see those from `there`.
struct Run {
    tap: usize,
    here: usize,
    there: usize,
    length: usize,
}

impl Convolution {
    /// Neighbours of a pixel, itself among them.
    pub const TAPS: usize = 9;

    /// Number of pixels.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Rows `9 c + tap` of the result hold channel c as seen from each pixel through `tap`: tap `3 i
    /// + j` leads to the pixel (i - 1, j - 1) away.
    #[must_use]
    pub fn gather<E: Real>(self, image: &[E], pixel: usize) -> Vec<E> {
        let plane = self.pixels() * pixel;
        let mut seen = vec![E::zero(); Self::TAPS * image.len()];
        let channels = image.chunks_exact(plane).zip(seen.chunks_exact_mut(Self::TAPS * plane));
        for (channel, seen) in channels {
            for run in self.runs(pixel) {
                let target = &mut seen[run.tap * plane + run.here..][..run.length];
                target.copy_from_slice(&channel[run.there..][..run.length]);
            }
        }
        seen
    }

    /// The transpose of [`gather`](Self::gather): adds each row to where it was seen.
    #[must_use]
    pub fn scatter<E: Real>(self, seen: &[E], pixel: usize) -> Vec<E> {
        let plane = self.pixels() * pixel;
        let mut image = vec![E::zero(); seen.len() / Self::TAPS];
        let channels = image.chunks_exact_mut(plane).zip(seen.chunks_exact(Self::TAPS * plane));
        for (channel, seen) in channels {
            for run in self.runs(pixel) {
                let source = &seen[run.tap * plane + run.here..][..run.length];
                add(&mut channel[run.there..][..run.length], source);
            }
        }
        image
    }

    /// For each tap, the runs of pixels that see anything but padding.
    fn runs(self, pixel: usize) -> impl Iterator<Item = Run> {
        let Self { height, width } = self;
        (0..Self::TAPS).flat_map(move |tap| {
            let (down, right) = (tap / 3, tap % 3);
            let first = 1_usize.saturating_sub(right);
            let count = width.min(width + 1 - right).saturating_sub(first);
            (0..height).filter_map(move |y| {
                let row = (y + down).checked_sub(1).filter(|&row| row < height && count > 0)?;
                Some(Run {
                    tap,
                    here: (y * width + first) * pixel,
                    there: (row * width + first + right - 1) * pixel,
                    length: count * pixel,
                })
            })
        })
    }

    /// The 1 x 1 convolution `weight source`: one channel of the result for each row of the weight.
    pub fn pointwise<E: Real>(self, weight: &[E], source: &[E], pixel: usize, out: &mut Vec<E>) {
        let plane = self.pixels() * pixel;
        let fan_in = source.len() / plane;
        let units = weight.len() / fan_in;
        out.resize(units * plane, E::zero());
        let weight = Matrix::new(weight, units, fan_in);
        product(weight, Matrix::new(source, fan_in, plane), out, Destination::Replace);
    }

    /// Backward pass of [`pointwise`](Self::pointwise): adds to the gradient of the weight and writes
    /// that of its source.
    pub fn pull_pointwise<E: Real>(
        self,
        (weight, d_weight): (&[E], &mut [E]),
        source: &[E],
        gradient: &[E],
        (pixel, below): (usize, &mut Vec<E>),
    ) {
        let plane = self.pixels() * pixel;
        let fan_in = source.len() / plane;
        let units = weight.len() / fan_in;
        let rows = Matrix::new(gradient, units, plane);
        let columns = Matrix::new(source, fan_in, plane).transposed();
        product(rows, columns, d_weight, Destination::Add);
        below.resize(source.len(), E::zero());
        let weight = Matrix::new(weight, units, fan_in).transposed();
        product(weight, rows, below, Destination::Replace);
    }
}
