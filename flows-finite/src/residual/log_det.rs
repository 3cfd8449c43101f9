//! log |det(I + J)| over a block of rows, and its gradient.

use flows_core::Real;
use flows_core::elementwise::{ln, vectorised};
use flows_core::lanes::add;
use flows_core::operation::LANES;

use super::determinant::Weights;
use super::tangents::{At, Pass, Residual};

/// The gradient of a log-det as a sum over p of v_p^T dJ w_p, v and w held fixed; feature i of
/// vector p at row `p dim + i`.
///
/// ```text
/// d log det(I + J) = tr((I + J)^-1 dJ) = tr(dJ (I + J)^-1) = E[v^T dJ w],  E[w | v] = (I + J)^-1 v
/// ```
/// Exact: the v are the unit vectors, and w_p is column p of (I + J)^-1. Estimated: w is a factor
/// of the derivative at the present parameters and is not differentiated. It estimates a
/// derivative, so its terms are those of the Neumann series, (-J)^k v, not those of the log-det
/// with their 1 / k.
#[derive(Debug, Default)]
pub(super) struct Bilinear<E> {
    /// w
    pub(super) directions: Vec<E>,
    /// v
    pub(super) cotangents: Vec<E>,
}

/// Writes the log-det from the dense Jacobian; the directions are (I + J)^-T, row by row.
pub(super) fn exact<E: Real>(
    residual: &Residual,
    at: At<'_, E>,
    pass: &mut Pass<E>,
    Bilinear { directions: inverse, cotangents: units }: &mut Bilinear<E>,
    log_det: &mut [E],
) {
    let dim = residual.dim;
    units.clear();
    units.resize(dim * dim * LANES, E::zero());
    for unit in units.chunks_exact_mut(LANES).step_by(dim + 1) {
        unit.fill(E::one());
    }
    residual.run(at, units, pass);
    // Product p is column p of J, so the inverted matrix is I + J^T.
    inverse.resize(units.len(), E::zero());
    pass.copy_products(dim, inverse);
    add(inverse, units);
    invert(dim, inverse, log_det);
}

/// Writes the mean over `probes` of weighted v^T J^k v, with the weighted sum w of J^k v as
/// directions.
pub(super) fn estimate<E: Real>(
    residual: &Residual,
    at: At<'_, E>,
    pass: &mut Pass<E>,
    (weights, probes): (&Weights, &[E]),
    (Bilinear { directions, cotangents }, log_det): (&mut Bilinear<E>, &mut [E]),
) {
    let width = residual.dim * LANES;
    let share = width as f64 / probes.len() as f64;
    let mut powers = probes.to_vec();
    directions.clear();
    directions.resize(probes.len(), E::zero());
    add_scaled(directions, &powers, weights.neumann[0]);
    log_det.fill(E::zero());
    for (k, &weight) in (1..).zip(&weights.log_det) {
        let products = &mut powers;
        residual.run(at, products, pass);
        pass.copy_products(residual.dim, products);
        let pairs = probes.chunks_exact(LANES).zip(products.chunks_exact(LANES));
        for (probe, product) in pairs {
            for ((sum, &v), &jv) in log_det.iter_mut().zip(probe).zip(product) {
                *sum += E::of(share * weight) * v * jv;
            }
        }
        add_scaled(directions, products, weights.neumann.get(k).copied().unwrap_or(0.0));
    }
    cotangents.clear();
    cotangents.extend(probes.iter().map(|&v| v * E::of(share)));
}

fn add_scaled<E: Real>(total: &mut [E], terms: &[E], factor: f64) {
    for (total, &term) in total.iter_mut().zip(terms) {
        *total += E::of(factor) * term;
    }
}

/// Inverts the matrix of each lane, entry (i, j) at row `i dim + j`, and writes the logarithm of
/// its determinant, by Gauss-Jordan elimination in place.
///
/// No pivoting is needed: x^T (I + J) x >= (1 - L) |x|^2, which every Schur complement inherits, so
/// no pivot is below 1 - L.
fn invert<E: Real>(dim: usize, matrix: &mut [E], log_det: &mut [E]) {
    let width = dim * LANES;
    let mut pivot_row = vec![E::zero(); width];
    log_det.fill(E::zero());
    for k in 0..dim {
        let pivot = k * LANES..(k + 1) * LANES;
        divide_by_pivot(&mut matrix[k * width..(k + 1) * width], pivot.clone(), log_det);
        pivot_row.copy_from_slice(&matrix[k * width..(k + 1) * width]);
        for (_, row) in matrix.chunks_exact_mut(width).enumerate().filter(|(i, _)| *i != k) {
            eliminate(row, pivot.clone(), &pivot_row);
        }
    }
}

fn divide_by_pivot<E: Real>(row: &mut [E], at: std::ops::Range<usize>, log_det: &mut [E]) {
    let mut pivot = [E::one(); LANES];
    pivot.swap_with_slice(&mut row[at]);
    vectorised(
        #[inline(always)]
        || {
            for (sum, &pivot) in log_det.iter_mut().zip(&pivot) {
                *sum += ln(pivot.abs());
            }
            for entry in row.chunks_exact_mut(LANES) {
                for (entry, &pivot) in entry.iter_mut().zip(&pivot) {
                    *entry /= pivot;
                }
            }
        },
    );
}

/// Subtracts the multiple of the pivot's row that makes the entry under the pivot 0.
fn eliminate<E: Real>(row: &mut [E], at: std::ops::Range<usize>, pivot_row: &[E]) {
    let mut factor = [E::zero(); LANES];
    factor.swap_with_slice(&mut row[at]);
    vectorised(
        #[inline(always)]
        || {
            for (entry, source) in row.chunks_exact_mut(LANES).zip(pivot_row.chunks_exact(LANES)) {
                for ((entry, &source), &factor) in entry.iter_mut().zip(source).zip(&factor) {
                    *entry -= factor * source;
                }
            }
        },
    );
}
