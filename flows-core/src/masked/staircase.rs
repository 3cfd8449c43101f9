//! Weight matrices of masked layers, with rows and columns sorted by degree.

use std::ops::Range;
use std::sync::Arc;

use super::dependencies::Unit;
use crate::Real;
use crate::matmul::{Destination, Matrix, product_within};
use crate::operation::LANES;

/// Overhead of a product, in multiplications of a row of a batch: many narrow products multiply few
/// masked weights, few wide ones have less overhead.
const CALL: usize = 256;

/// Rows and columns of a result that the product kernel computes at a time.
const TILE: [usize; 2] = [6, 16];

/// A staircase matrix: row i may see columns `0..end`, where `end` never falls with i. A graph may
/// mask more within.
#[derive(Clone, Debug)]
pub(super) struct Staircase {
    /// Degree of each row, and of each column.
    fed: Vec<usize>,
    seen: Vec<usize>,
    /// Columns that each row may see.
    ends: Vec<usize>,
    bands: Vec<Range<usize>>,
    strips: Vec<Range<usize>>,
    /// Ranges of columns whose weight gradients are computed together.
    gathered: Vec<Range<usize>>,
    /// Whether row i may see column j, if a graph masks more than degrees do.
    allowed: Option<Arc<[bool]>>,
}

impl Staircase {
    pub(super) fn new(fed: &[Unit], seen: &[Unit]) -> Self {
        let graph = fed.iter().any(|unit| unit.inputs.is_some());
        let allowed = graph.then(|| {
            fed.iter().flat_map(|row| seen.iter().map(move |column| row.sees(column))).collect()
        });
        let degrees = |units: &[Unit]| units.iter().map(|unit| unit.degree).collect::<Vec<_>>();
        let (fed, seen) = (degrees(fed), degrees(seen));
        let ends = fed.iter().map(|reach| seen.partition_point(|degree| degree <= reach)).collect();
        let (bands, strips, gathered) = (Vec::new(), Vec::new(), Vec::new());
        let whole = Self { fed, seen, ends, bands, strips, gathered, allowed };
        let [rows, columns] = TILE;
        let depth = |strip: &Range<usize>| whole.rows() - whole.first_seeing(strip);
        let bands = divided(whole.rows(), rows, |band| whole.seen_by(band));
        // Columns are the rows of what a strip computes.
        let strips = divided(whole.columns(), rows, depth);
        let gathered = divided(whole.columns(), columns, depth);
        Self { bands, strips, gathered, ..whole }
    }

    pub(super) fn rows(&self) -> usize {
        self.fed.len()
    }

    pub(super) fn columns(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn matrix<'a, E: Real>(&self, weights: &'a [E]) -> Matrix<'a, E> {
        Matrix::new(weights, self.rows(), self.columns())
    }

    /// Ranges of rows computed together.
    pub(super) fn bands(&self) -> &[Range<usize>] {
        &self.bands
    }

    /// Ranges of columns differentiated together.
    pub(super) fn strips(&self) -> &[Range<usize>] {
        &self.strips
    }

    /// Rows of a degree.
    pub(super) fn fed_at(&self, degree: usize) -> Range<usize> {
        run_of(&self.fed, degree)
    }

    /// Columns of a degree.
    pub(super) fn seen_at(&self, degree: usize) -> Range<usize> {
        run_of(&self.seen, degree)
    }

    /// Number of columns that any of these rows may see.
    pub(super) fn seen_by(&self, rows: &Range<usize>) -> usize {
        rows.clone().last().map_or(0, |row| self.ends[row])
    }

    /// The first row that may see any of these columns.
    pub(super) fn first_seeing(&self, columns: &Range<usize>) -> usize {
        self.fed.partition_point(|&degree| degree < self.seen[columns.start])
    }

    /// Zeroes the masked weights of row `row` among columns `0..upto`.
    fn clear_row<E: Real>(&self, row: usize, upto: usize, weights: &mut [E]) {
        let columns = self.columns();
        let values = &mut weights[row * columns..row * columns + upto];
        match &self.allowed {
            None => values[self.ends[row].min(upto)..].fill(E::zero()),
            Some(allowed) => {
                let allowed = &allowed[row * columns..row * columns + upto];
                for (value, &allowed) in values.iter_mut().zip(allowed) {
                    *value = if allowed { *value } else { E::zero() };
                }
            }
        }
    }

    /// Zeroes the masked weights of a strip, from its first seeing row on, which need not see all
    /// of it.
    fn clear_strip<E: Real>(&self, strip: &Range<usize>, weights: &mut [E]) {
        let last = self.seen[strip.end - 1];
        for row in self.first_seeing(strip)..self.fed.partition_point(|&degree| degree < last) {
            self.clear_row(row, strip.end, weights);
        }
    }

    /// Zeroes the masked weights that bands or strips would multiply.
    pub(super) fn clear_forbidden<E: Real>(&self, weights: &mut [E]) {
        for strip in &self.strips {
            self.clear_strip(strip, weights);
        }
        for band in &self.bands {
            let upto = self.seen_by(band);
            for row in band.clone() {
                self.clear_row(row, upto, weights);
            }
        }
    }

    /// Zeroes every masked weight.
    pub(super) fn clear_unused<E: Real>(&self, weights: &mut [E]) {
        for row in 0..self.rows() {
            self.clear_row(row, self.columns(), weights);
        }
    }

    /// Adds `result source^T` where the mask allows it. Columns are divided, not rows, so that each
    /// row of `source` is packed for one product only.
    pub(super) fn add_weight_gradient<E: Real>(
        &self,
        result: &[E],
        source: &[E],
        gradient: &mut [E],
    ) {
        let (rows, columns) = (self.rows(), self.columns());
        let result = Matrix::new(result, rows, LANES);
        let source = Matrix::new(source, columns, LANES);
        for strip in &self.gathered {
            let first = self.first_seeing(strip);
            if first == rows {
                continue;
            }
            let seeing = result.part(first..rows, 0..LANES);
            let seen = source.part(strip.clone(), 0..LANES).transposed();
            let target = &mut gradient[first * columns + strip.start..];
            product_within(seeing, seen, target, columns, Destination::Add);
            self.clear_strip(strip, gradient);
        }
        if self.allowed.is_some() {
            self.clear_unused(gradient);
        }
    }
}

/// The division of `0..count` into ranges of least total cost: `depth` multiplications for each row
/// of a range, `tile` rows at a time.
fn divided(count: usize, tile: usize, depth: impl Fn(&Range<usize>) -> usize) -> Vec<Range<usize>> {
    let bounds: Vec<usize> = (0..count).step_by(tile).chain([count]).collect();
    // The least cost of everything up to each bound, and where the last range then starts.
    let mut least = vec![(0, 0)];
    for end in 1..bounds.len() {
        let cost = |start: usize| {
            let range = bounds[start]..bounds[end];
            least[start].0 + CALL + range.len().next_multiple_of(tile) * depth(&range)
        };
        let best = (0..end).map(|start| (cost(start), start)).min();
        least.push(best.unwrap_or_default());
    }
    let mut end = bounds.len() - 1;
    let mut ranges = Vec::new();
    while end > 0 {
        let start = least[end].1;
        ranges.push(bounds[start]..bounds[end]);
        end = start;
    }
    ranges.reverse();
    ranges
}

fn run_of(degrees: &[usize], degree: usize) -> Range<usize> {
    degrees.partition_point(|&d| d < degree)..degrees.partition_point(|&d| d <= degree)
}
