//! Log-densities of rows in their own units, and of the cells of discrete columns.

use anyhow::Result;
use flows_core::{Flow, Real};

use crate::data::{self, RunData};
use crate::rows::Rows;

/// Points of a cell that its mean density is taken over.
const POINTS: usize = 16;

/// The log-density of rows in their own units, nats; -inf outside of a support.
///
/// Where the run added noise of one step to columns, a row stands for its cell: the logarithm of the
/// mean density over points of it, log 1/n sum_k p(x + step u_k). The points u_k are those of a
/// low-discrepancy sequence, the same for every row, so that a row alone has the value that it has in a
/// table. With steps of 1 this is the log-probability of the row.
pub(super) fn log_densities<E: Real>(
    flow: &Flow<E>,
    record: &RunData,
    rows: &Rows,
) -> Result<Vec<f64>> {
    let noise = &record.dequantisation;
    if noise.columns.is_empty() {
        return data::log_densities(flow, record, rows);
    }
    let mut corner = rows.values().to_vec();
    noise.restore(&mut corner, rows.dim());
    let mut sums = vec![(f64::NEG_INFINITY, 0.0); rows.count()];
    for point in points(noise.columns.len()) {
        let mut values = corner.clone();
        for row in values.chunks_exact_mut(rows.dim()) {
            for (column, share) in noise.columns.iter().zip(&point) {
                row[column.column] += share * column.step;
            }
        }
        let context = rows.context_values().to_vec();
        let moved = Rows::new(values, rows.dim()).given(context, rows.context_dim());
        for ((largest, sum), nats) in
            sums.iter_mut().zip(data::log_densities(flow, record, &moved)?)
        {
            // Log-sum-exp, one term after the other.
            if nats > *largest {
                *sum *= (*largest - nats).exp();
                *largest = nats;
            }
            if nats > f64::NEG_INFINITY || nats.is_nan() {
                *sum += (nats - *largest).exp();
            }
        }
    }
    let mean = |(largest, sum): (f64, f64)| largest + (sum / POINTS as f64).ln();
    Ok(sums.into_iter().map(mean).collect())
}

/// Points of the unit cube of low discrepancy: fractions of 1/2 + k a_j with a_j powers of the inverse
/// of the root of g^(d + 1) = g + 1, which generalises the golden ratio.
fn points(dim: usize) -> Vec<Vec<f64>> {
    let mut root = 1.5_f64;
    for _ in 0..64 {
        root = (1.0 + root).powf(1.0 / (dim as f64 + 1.0));
    }
    let share = |k: usize, j: usize| (0.5 + k as f64 * root.powi(-(j as i32 + 1))).fract();
    (0..POINTS).map(|k| (0..dim).map(|j| share(k, j)).collect()).collect()
}
