//! The linear assignment problem, by shortest augmenting paths.

use crate::Real;
use crate::elementwise::vectorised;

/// Columns that a minimum is taken over at a time.
const WIDTH: usize = 8;

/// A square cost matrix, each row padded to a multiple of [`WIDTH`] columns.
pub(super) struct Costs {
    size: usize,
    stride: usize,
    values: Vec<f64>,
}

impl Costs {
    /// |x - y|^2 for every row of `x` and of `y`, as many of each.
    pub(super) fn squared_distances<E: Real>(x: &[E], y: &[E], dim: usize) -> Self {
        let size = x.len() / dim;
        let stride = size.next_multiple_of(WIDTH);
        // Feature by feature: the inner loop runs along the columns of the matrix.
        let mut features = vec![0.0; dim * stride];
        for (column, y) in y.chunks_exact(dim).enumerate() {
            for (feature, &y) in features.chunks_exact_mut(stride).zip(y) {
                feature[column] = y.as_f64();
            }
        }
        let mut values = vec![0.0; size * stride];
        vectorised(
            #[inline(always)]
            || {
                for (costs, x) in values.chunks_exact_mut(stride).zip(x.chunks_exact(dim)) {
                    for (feature, &x) in features.chunks_exact(stride).zip(x) {
                        let x = x.as_f64();
                        for (cost, &y) in costs.iter_mut().zip(feature) {
                            *cost += (x - y) * (x - y);
                        }
                    }
                }
            },
        );
        Self { size, stride, values }
    }

    /// Whether no path length overflows: each is a sum and difference of a few costs.
    pub(super) fn are_bounded(&self) -> bool {
        (8.0 * self.values.iter().sum::<f64>()).is_finite()
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.stride..(row + 1) * self.stride]
    }
}

/// State of the columns in the search from one row.
struct Columns {
    /// Dual variables, subtracted from the costs.
    prices: Vec<f64>,
    /// The row that a column is assigned to.
    owners: Vec<Option<usize>>,
    /// Length of the shortest path found so far.
    lengths: Vec<f64>,
    /// The row from which that path enters the column.
    entered_from: Vec<usize>,
    /// Infinite where the shortest path is final, 0 elsewhere: branch-free exclusion.
    barriers: Vec<f64>,
}

/// The assignment of least total cost: the column of each row; costs must be bounded.
///
/// Rows are added one by one, each along the shortest augmenting path in reduced costs (Jonker,
/// Volgenant, *A shortest augmenting path algorithm for dense and sparse linear assignment
/// problems*, Computing 38, 1987, without its initial reductions, which save little time on
/// distances in few dimensions). A step of the search is a branch-free pass over the columns: on
/// groups of 128 this is two to four times as fast as the crates lsap, lapjv and pathfinding,
/// which matters because every gradient step needs its assignments anew.
pub(super) fn assign(costs: &Costs) -> Vec<usize> {
    let mut columns = Columns {
        prices: vec![0.0; costs.stride],
        owners: vec![None; costs.stride],
        lengths: vec![0.0; costs.stride],
        entered_from: vec![0; costs.stride],
        barriers: vec![0.0; costs.stride],
    };
    let mut assigned = vec![0; costs.size];
    for row in 0..costs.size {
        let mut column = columns.shortest_path(costs, row);
        // Along the path each row takes the column that it enters and leaves its own to the next.
        loop {
            let owner = columns.entered_from[column];
            columns.owners[column] = Some(owner);
            let left = std::mem::replace(&mut assigned[owner], column);
            if owner == row {
                break;
            }
            column = left;
        }
    }
    assigned
}

impl Columns {
    /// The free column nearest to the free row `start`; adjusts the prices so that assigned pairs
    /// stay the cheapest of their rows.
    fn shortest_path(&mut self, costs: &Costs, start: usize) -> usize {
        self.lengths.fill(f64::INFINITY);
        self.barriers.fill(f64::INFINITY);
        self.barriers[..costs.size].fill(0.0);
        let (mut row, mut offset) = (start, 0.0);
        // Each pass makes one more column final, and one of them is free.
        let nearest = loop {
            let least = vectorised(
                #[inline(always)]
                || self.relax(costs.row(row), row, offset),
            );
            let column = self.open_at(least);
            self.barriers[column] = f64::INFINITY;
            match self.owners[column] {
                Some(owner) => row = owner,
                None => break column,
            }
            offset = self.lengths[column] - (costs.row(row)[column] - self.prices[column]);
        };
        let total = self.lengths[nearest];
        let seen = self.barriers.iter().zip(&self.lengths);
        for (price, (&barrier, &length)) in self.prices[..costs.size].iter_mut().zip(seen) {
            if barrier > 0.0 {
                *price += length - total;
            }
        }
        nearest
    }

    /// Takes paths through `row` where they are shorter; returns the least length of an open one.
    #[inline(always)]
    fn relax(&mut self, costs: &[f64], row: usize, offset: f64) -> f64 {
        let (prices, barriers) = (&self.prices[..costs.len()], &self.barriers[..costs.len()]);
        let lengths = &mut self.lengths[..costs.len()];
        let entered_from = &mut self.entered_from[..costs.len()];
        for j in 0..costs.len() {
            let through = costs[j] - prices[j] + offset + barriers[j];
            let shorter = through < lengths[j];
            lengths[j] = if shorter { through } else { lengths[j] };
            entered_from[j] = if shorter { row } else { entered_from[j] };
        }
        let mut least = [f64::INFINITY; WIDTH];
        for (lengths, barriers) in lengths.chunks_exact(WIDTH).zip(barriers.chunks_exact(WIDTH)) {
            for ((least, &length), &barrier) in least.iter_mut().zip(lengths).zip(barriers) {
                let open = length + barrier;
                *least = if open < *least { open } else { *least };
            }
        }
        least.into_iter().fold(f64::INFINITY, f64::min)
    }

    /// The first open column at that length.
    fn open_at(&self, length: f64) -> usize {
        let mut columns = self.lengths.iter().zip(&self.barriers);
        columns.position(|(&l, &barrier)| l + barrier == length).unwrap_or(0)
    }
}
