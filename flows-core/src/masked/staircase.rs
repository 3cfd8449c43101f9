//! The weights of a masked layer: rows and columns sorted by degree.

use std::ops::Range;
use std::sync::Arc;

use super::dependencies::Unit;
use crate::Real;
use crate::matmul::{Destination, Matrix, product_within};
use crate::operation::LANES;

/// Rows of a band and columns of a strip: wide enough for fast products, narrow enough that few
/// products with a forbidden weight are computed.
const NARROWEST: usize = 16;
const BANDS: usize = 8;

/// Row i may see columns `0..end` where `end` never falls with i; within, a graph may forbid more.
#[derive(Clone, Debug)]
pub(super) struct Staircase {
    /// Degree of each row, and of each column.
    fed: Vec<usize>,
    seen: Vec<usize>,
    /// Columns that each row may see.
    ends: Vec<usize>,
    bands: Vec<Range<usize>>,
    strips: Vec<Range<usize>>,
    /// Where a graph forbids more than degrees do: whether row i may see column j.
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
        let (bands, strips) = (runs(&fed), runs(&seen));
        let ends = fed.iter().map(|reach| seen.partition_point(|degree| degree <= reach)).collect();
        Self { fed, seen, ends, bands, strips, allowed }
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

    /// Ranges of rows to be computed together.
    pub(super) fn bands(&self) -> &[Range<usize>] {
        &self.bands
    }

    /// Ranges of columns to be differentiated together.
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

    pub(super) fn multiplications(&self, rows: Range<usize>) -> usize {
        rows.len() * self.seen_by(&rows)
    }

    /// Zeroes what row `row` may not see among columns `0..upto`.
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

    /// Zeroes the forbidden weights that bands or strips would multiply with.
    pub(super) fn clear_forbidden<E: Real>(&self, weights: &mut [E]) {
        for strip in &self.strips {
            // A strip starts at its first seeing row, which need not see all of it.
            let (first, last) = (self.first_seeing(strip), strip.end - 1);
            let full = self.fed.partition_point(|&degree| degree < self.seen[last]);
            for row in first..full {
                self.clear_row(row, strip.end, weights);
            }
        }
        for band in &self.bands {
            let upto = self.seen_by(band);
            for row in band.clone() {
                self.clear_row(row, upto, weights);
            }
        }
    }

    /// Zeroes every weight that is not allowed.
    pub(super) fn clear_unused<E: Real>(&self, weights: &mut [E]) {
        for row in 0..self.rows() {
            self.clear_row(row, self.columns(), weights);
        }
    }

    /// Adds `result source^T` where the mask allows it.
    pub(super) fn add_weight_gradient<E: Real>(
        &self,
        result: &[E],
        source: &[E],
        gradient: &mut [E],
    ) {
        let columns = self.columns();
        let source = Matrix::new(source, columns, LANES);
        for band in &self.bands {
            let upto = self.seen_by(band);
            if upto == 0 {
                continue;
            }
            let result = Matrix::new(result, self.rows(), LANES).part(band.clone(), 0..LANES);
            let seen = source.part(0..upto, 0..LANES).transposed();
            let target = &mut gradient[band.start * columns..];
            product_within(result, seen, target, columns, Destination::Add);
            for row in band.clone() {
                self.clear_row(row, upto, gradient);
            }
        }
    }
}

/// Ranges of whole degrees, each at least [`NARROWEST`] wide and some [`BANDS`] of them.
fn runs(degrees: &[usize]) -> Vec<Range<usize>> {
    let least = NARROWEST.max(degrees.len().div_ceil(BANDS));
    let mut runs = Vec::new();
    let mut start = 0;
    for end in 1..=degrees.len() {
        let boundary = end == degrees.len() || degrees[end] != degrees[end - 1];
        if boundary && (end - start >= least || end == degrees.len()) {
            runs.push(start..end);
            start = end;
        }
    }
    runs
}

fn run_of(degrees: &[usize], degree: usize) -> Range<usize> {
    degrees.partition_point(|&d| d < degree)..degrees.partition_point(|&d| d <= degree)
}
