//! The maximum mean discrepancy between two samples.

use flows_core::elementwise::{exp, vectorised};
use flows_core::matmul::{Destination, Matrix, product};
use rayon::prelude::*;

use super::Pooled;

/// Rows and columns of a tile of the kernel matrix.
const TILE: usize = 256;

/// Pooled rows whose distances give the bandwidth.
const MEDIAN_ROWS: usize = 1_000;

/// The unbiased squared maximum mean discrepancy between the rows that are labelled and the others, for
/// each labelling, with a Gaussian kernel:
/// ```text
/// sum_{i≠j} k(x_i, x_j) / m(m-1) + sum_{i≠j} k(y_i, y_j) / n(n-1) - 2 sum_{ij} k(x_i, y_j) / mn
/// k(a, b) = exp(-|a - b|^2 / 2h^2)
/// ```
///
/// It may be negative. Every labelling takes the sum over all pairs of pooled rows, in double precision:
/// with K the kernel matrix without its diagonal, s the labels as 0 and 1, it follows from `s^T K s`,
/// `1^T K s` and `1^T K 1`, so that a tile of K is computed once for all labellings.
///
/// # Reference
/// Gretton, Borgwardt, Rasch, Schölkopf, Smola, *A Kernel Two-Sample Test*, JMLR 2012, eq. 3.
#[must_use]
pub fn mmd(pooled: &Pooled, bandwidth: f64, labellings: &[Vec<bool>]) -> Vec<f64> {
    let count = labellings.len();
    let members = Members::new(pooled.rows(), labellings);
    let kernel = Kernel::new(pooled, bandwidth);
    let bands: Vec<Sums> = (0..pooled.rows().div_ceil(TILE))
        .into_par_iter()
        .map(|band| {
            let mut sums = Sums::new(count);
            for other in band..pooled.rows().div_ceil(TILE) {
                sums.add_tile(&kernel, &members, band * TILE, other * TILE);
            }
            sums
        })
        .collect();
    let mut total = Sums::new(count);
    bands.iter().for_each(|band| total.add(band));
    labellings.iter().enumerate().map(|(index, labels)| total.discrepancy(index, labels)).collect()
}

/// The median distance between pooled rows, of some of them where there are many: the usual bandwidth; 1
/// where it is zero.
///
/// # Reference
/// Gretton et al. 2012, Section 8.
#[must_use]
pub fn median_distance(pooled: &Pooled) -> f64 {
    let rows = pooled.rows();
    let step = rows.div_ceil(MEDIAN_ROWS).max(1);
    let some: Vec<&[f64]> = (0..rows).step_by(step).map(|row| pooled.row(row)).collect();
    let mut distances: Vec<f64> = Vec::with_capacity(some.len() * some.len() / 2);
    for (index, a) in some.iter().enumerate() {
        let square =
            |b: &&[f64]| a.iter().zip(b.iter()).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        distances.extend(some[..index].iter().map(|b| square(b).sqrt()));
    }
    distances.sort_by(f64::total_cmp);
    let (low, high) = (distances.len().saturating_sub(1) / 2, distances.len() / 2);
    let median = distances.get(low).zip(distances.get(high)).map_or(0.0, |(a, b)| 0.5 * (a + b));
    if median > 0.0 { median } else { 1.0 }
}

/// The labels as numbers, `(rows, labellings + 1)`; the last column is all ones.
struct Members {
    values: Vec<f64>,
    columns: usize,
}

impl Members {
    fn new(rows: usize, labellings: &[Vec<bool>]) -> Self {
        let row = |row: usize| {
            let labels = labellings.iter().map(move |labels| f64::from(u8::from(labels[row])));
            labels.chain([1.0])
        };
        Self { values: (0..rows).flat_map(row).collect(), columns: labellings.len() + 1 }
    }

    /// Of `count` rows from `first` on.
    fn rows(&self, first: usize, count: usize) -> &[f64] {
        &self.values[first * self.columns..(first + count) * self.columns]
    }
}

struct Kernel<'a> {
    pooled: &'a Pooled,
    squares: Vec<f64>,
    /// 1 / 2h^2
    rate: f64,
}

impl<'a> Kernel<'a> {
    fn new(pooled: &'a Pooled, bandwidth: f64) -> Self {
        let square = |row: usize| pooled.row(row).iter().map(|v| v * v).sum();
        let squares = (0..pooled.rows()).map(square).collect();
        Self { pooled, squares, rate: 0.5 / (bandwidth * bandwidth) }
    }

    /// Rows from `top` on against rows from `left` on, `(height, width)`; zero for a row with itself.
    fn tile(&self, top: usize, left: usize) -> (Vec<f64>, usize, usize) {
        let (rows, dim) = (self.pooled.rows(), self.pooled.dim());
        let [height, width] = [top, left].map(|first| TILE.min(rows - first));
        let part = |first: usize, count: usize| {
            Matrix::new(&self.pooled.values()[first * dim..], count, dim)
        };
        let mut tile = vec![0.0; height * width];
        product(part(top, height), part(left, width).transposed(), &mut tile, Destination::Replace);
        let columns = &self.squares[left..left + width];
        for (line, square) in tile.chunks_exact_mut(width).zip(&self.squares[top..]) {
            vectorised(
                #[inline(always)]
                || {
                    for (value, other) in line.iter_mut().zip(columns) {
                        *value = exp(-self.rate * (square + other - 2.0 * *value).max(0.0));
                    }
                },
            );
        }
        if top == left {
            (0..height).for_each(|row| tile[row * width + row] = 0.0);
        }
        (tile, height, width)
    }
}

/// Sums over ordered pairs of different rows.
struct Sums {
    /// s^T K s of each labelling.
    labelled: Vec<f64>,
    /// 1^T K s of each labelling; 1^T K 1 at the end.
    crossed: Vec<f64>,
}

impl Sums {
    fn new(labellings: usize) -> Self {
        Self { labelled: vec![0.0; labellings + 1], crossed: vec![0.0; labellings + 1] }
    }

    /// Adds a tile, and its mirror image where it is not on the diagonal.
    fn add_tile(&mut self, kernel: &Kernel<'_>, members: &Members, top: usize, left: usize) {
        let (tile, height, width) = kernel.tile(top, left);
        let columns = members.columns;
        let mut sums = vec![0.0; height * columns];
        let right = Matrix::new(members.rows(left, width), width, columns);
        product(Matrix::new(&tile, height, width), right, &mut sums, Destination::Replace);
        let mirrored = if top == left { 0.0 } else { 1.0 };
        let rows = sums.chunks_exact(columns).zip(members.rows(top, height).chunks_exact(columns));
        for (sums, labels) in rows {
            let all = mirrored * sums[columns - 1];
            let totals = self.labelled.iter_mut().zip(&mut self.crossed);
            for ((labelled, crossed), (sum, label)) in totals.zip(sums.iter().zip(labels)) {
                *labelled += (1.0 + mirrored) * label * sum;
                *crossed += sum + all * label;
            }
        }
    }

    fn add(&mut self, other: &Self) {
        let pairs = [(&mut self.labelled, &other.labelled), (&mut self.crossed, &other.crossed)];
        for (total, part) in pairs {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    }

    fn discrepancy(&self, index: usize, labels: &[bool]) -> f64 {
        let m = labels.iter().filter(|label| **label).count() as f64;
        let n = labels.len() as f64 - m;
        let (own, crossed) = (self.labelled[index], self.crossed[index]);
        let all = self.crossed.last().copied().unwrap_or_default();
        let between = crossed - own;
        let others = all - 2.0 * crossed + own;
        own / (m * (m - 1.0)) + others / (n * (n - 1.0)) - 2.0 * between / (m * n)
    }
}
