//! The trace of a convolutional field in closed form.
//!
//! A pixel p reaches its own velocity only through the hidden pixels q that see it, each by the same
//! tap on the way in and on the way out. With slopes s and s' of the hidden layers at q,
//! ```text
//! tr J = sum_q s'(q)^T A(q) s(q),   A(q)_ij = W1_ij M(q)_ij
//! M(q)_ij = sum over channels c and taps t from q into the image of W2_(9c+t)i W0_j(9c+t)
//! ```
//! M depends on q only by which taps leave the image: there are at most nine of them where height and
//! width are 3 or more.

use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;
use flows_core::{Convolution, Real, Shape};

/// Hidden pixels with the same taps into the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pixels: Vec<usize>,
    /// The columns `9 c + tap` of W0, or rows of W2, of these taps in all channels.
    taps: Vec<usize>,
}

/// The weights of the convolutions, or their gradients, which are added to.
pub(super) struct Weights<T> {
    pub(super) read: T,
    pub(super) mixed: T,
    pub(super) written: T,
}

impl Group {
    /// All pixels of an image by their taps.
    pub(super) fn all(shape: Shape) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for pixel in 0..shape.pixels() {
            let (y, x) = (pixel / shape.width, pixel % shape.width);
            let inside = |at: usize, step: usize, size: usize| (1..=size).contains(&(at + step));
            let stays =
                |tap: &usize| inside(y, tap / 3, shape.height) && inside(x, tap % 3, shape.width);
            let taps: Vec<usize> = (0..shape.channels)
                .flat_map(|c| {
                    (0..Convolution::TAPS).filter(stays).map(move |t| c * Convolution::TAPS + t)
                })
                .collect();
            match groups.iter_mut().find(|group| group.taps == taps) {
                Some(group) => group.pixels.push(pixel),
                None => groups.push(Self { pixels: vec![pixel], taps }),
            }
        }
        groups
    }

    /// The slopes at these pixels, `(hidden, pixels of the group LANES)`.
    fn select<E: Real>(&self, slopes: &[E], plane: usize) -> Vec<E> {
        let hidden = slopes.len() / plane;
        let mut selected = vec![E::zero(); hidden * self.pixels.len() * LANES];
        let mut lanes = selected.chunks_exact_mut(LANES);
        for channel in slopes.chunks_exact(plane) {
            for (pixel, lanes) in self.pixels.iter().zip(&mut lanes) {
                lanes.copy_from_slice(&channel[pixel * LANES..][..LANES]);
            }
        }
        selected
    }

    /// Writes values at these pixels.
    fn place<E: Real>(&self, values: &[E], slopes: &mut [E], plane: usize) {
        let mut values = values.chunks_exact(LANES);
        for channel in slopes.chunks_exact_mut(plane) {
            for (pixel, values) in self.pixels.iter().zip(&mut values) {
                channel[pixel * LANES..][..LANES].copy_from_slice(values);
            }
        }
    }

    /// W0 of these taps, `(hidden, taps)`, and W2, `(taps, hidden)`.
    fn ends<E: Real>(&self, weights: &Weights<&[E]>, hidden: usize) -> [Vec<E>; 2] {
        let read = weights.read.chunks_exact(weights.read.len() / hidden);
        let read = read.flat_map(|row| self.taps.iter().map(|&tap| row[tap])).collect();
        let written =
            self.taps.iter().flat_map(|tap| &weights.written[tap * hidden..][..hidden]).copied();
        [read, written.collect()]
    }

    /// M, `(hidden, hidden)`.
    fn loops<E: Real>(&self, [read, written]: [&[E]; 2], hidden: usize) -> Vec<E> {
        let taps = self.taps.len();
        let mut loops = vec![E::zero(); hidden * hidden];
        let read = Matrix::new(read, hidden, taps).transposed();
        let written = Matrix::new(written, taps, hidden).transposed();
        product(written, read, &mut loops, Destination::Replace);
        loops
    }
}

fn times<E: Real>(a: &[E], b: &[E]) -> Vec<E> {
    a.iter().zip(b).map(|(&a, &b)| a * b).collect()
}

/// Adds the trace of each lane to `row`; the slopes of both hidden layers are `(hidden, pixels, LANES)`.
pub(super) fn add_trace<E: Real>(
    groups: &[Group],
    weights: &Weights<&[E]>,
    [first, second]: &[Vec<E>; 2],
    (hidden, row): (usize, &mut [E]),
) {
    let plane = first.len() / hidden;
    for group in groups {
        let [read, written] = group.ends(weights, hidden);
        let chain = times(weights.mixed, &group.loops([&read, &written], hidden));
        let first = group.select(first, plane);
        let second = group.select(second, plane);
        let columns = first.len() / hidden;
        let mut through = vec![E::zero(); first.len()];
        let (chain, first) =
            (Matrix::new(&chain, hidden, hidden), Matrix::new(&first, hidden, columns));
        product(chain, first, &mut through, Destination::Replace);
        let pairs = second.chunks_exact(LANES).zip(through.chunks_exact(LANES));
        pairs.for_each(|(s, a)| flows_core::lanes::add_product(row, s, a));
    }
}

/// Backward pass: from the gradient of each lane's trace, writes those of the slopes and adds to those
/// of the weights. With tau the gradient,
/// ```text
/// ds' = tau A s,   ds = A^T tau s',   dA = sum_q tau s' s^T
/// dW1 = dA M,   dM = dA W1 (elementwise),   dW2 = W0^T dM^T,   dW0 = dM^T W2^T
/// ```
pub(super) fn pull_trace<E: Real>(
    groups: &[Group],
    weights: &Weights<&[E]>,
    [first, second]: &[Vec<E>; 2],
    (hidden, tau): (usize, &[E]),
    (d_weights, [d_first, d_second]): (Weights<&mut [E]>, &mut [Vec<E>; 2]),
) {
    let plane = first.len() / hidden;
    d_first.resize(first.len(), E::zero());
    d_second.resize(second.len(), E::zero());
    let weighed = |values: &mut [E]| {
        for lanes in values.chunks_exact_mut(LANES) {
            lanes.iter_mut().zip(tau).for_each(|(value, &tau)| *value *= tau);
        }
    };
    for group in groups {
        let [read, written] = group.ends(weights, hidden);
        let loops = group.loops([&read, &written], hidden);
        let chain = times(weights.mixed, &loops);
        let first = group.select(first, plane);
        let mut second = group.select(second, plane);
        weighed(&mut second);
        let columns = first.len() / hidden;
        let square = Matrix::new(&chain, hidden, hidden);
        let of_first = Matrix::new(&first, hidden, columns);
        let of_second = Matrix::new(&second, hidden, columns);
        let mut outer = vec![E::zero(); first.len()];
        product(square, of_first, &mut outer, Destination::Replace);
        weighed(&mut outer);
        group.place(&outer, d_second, plane);
        product(square.transposed(), of_second, &mut outer, Destination::Replace);
        group.place(&outer, d_first, plane);
        let mut d_chain = vec![E::zero(); hidden * hidden];
        product(of_second, of_first.transposed(), &mut d_chain, Destination::Replace);
        flows_core::lanes::add(d_weights.mixed, &times(&d_chain, &loops));
        let d_loops = times(&d_chain, weights.mixed);
        let d_loops = Matrix::new(&d_loops, hidden, hidden).transposed();
        let taps = group.taps.len();
        let mut d_written = vec![E::zero(); taps * hidden];
        let turned = Matrix::new(&read, hidden, taps).transposed();
        product(turned, d_loops, &mut d_written, Destination::Replace);
        let mut d_read = vec![E::zero(); taps * hidden];
        let turned = Matrix::new(&written, taps, hidden).transposed();
        product(d_loops, turned, &mut d_read, Destination::Replace);
        let width = d_weights.read.len() / hidden;
        for (index, &tap) in group.taps.iter().enumerate() {
            let row = &mut d_weights.written[tap * hidden..][..hidden];
            flows_core::lanes::add(row, &d_written[index * hidden..][..hidden]);
            for unit in 0..hidden {
                let sum = &mut d_weights.read[unit * width + tap];
                *sum += d_read[unit * taps + index];
            }
        }
    }
}
