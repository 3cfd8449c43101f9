//! Maximum mean discrepancy: training by samples alone, without log-determinants.

use rayon::prelude::*;

use super::{Loss, negative_product, negative_score};
use crate::elementwise::{exp, vectorised};
use crate::operation::LANES;
use crate::rowwise::{gradient_of_mean, negated, sum};
use crate::tape::Tape;
use crate::tensor::{Batch, Values, check_columns, columns};
use crate::{Context, Error, Flow, Mapped, Real, Result, Stream};

/// The unbiased estimate of the squared maximum mean discrepancy between rows y and as many draws x
/// of the flow (review, Section 2.3.4):
///
/// ```text
/// sum_{i≠j} k(x_i, x_j) / n(n-1) + sum_{i≠j} k(y_i, y_j) / n(n-1) - 2 sum_{ij} k(x_i, y_j) / n^2
/// k(a, b) = sum_h exp(-|a - b|^2 / 2h^2),   h from `bandwidths`
/// ```
///
/// It may be negative; its expectation is zero exactly if the distributions are equal. The gradient
/// goes through the draws alone: neither log-det, inverse nor base density is needed. Penalties of
/// the bijector are added to the gradient, not to the value.
///
/// # Cost
/// A traced forward pass, and 3 n^2 kernel values of one exponential a bandwidth, on all threads.
/// The kernel sees distances only, so it is for few features.
///
/// # Errors
/// [`Error::Dimension`] unless `x` has the flow's columns; [`Error::Parameter`] for fewer than 2
/// rows, no bandwidths, or bandwidths that are not positive and finite; as
/// [`Bijector::forward`](crate::Bijector::forward).
///
/// # Reference
/// Gretton, Borgwardt, Rasch, Schölkopf, Smola, *A Kernel Two-Sample Test*, JMLR 2012, eq. 3.
pub fn mmd<E: Real>(
    flow: &Flow<E>,
    x: &Batch<E>,
    bandwidths: &[f64],
    rng: &mut Stream,
) -> Result<Loss<E>> {
    check(flow, x, bandwidths)?;
    let mut tape = Tape::recording();
    let z = flow.base().draw(x.rows(), &mut tape, rng)?;
    let mapped = flow.bijector().forward(&z, &Context::none(), &mut tape)?;
    let Mapped { value: drawn, penalty, work, .. } = mapped;
    let rates: Vec<E> = bandwidths.iter().map(|h| E::of(1.0 / (h * h))).collect();
    let (value, costs, slopes) = discrepancy(&drawn, x, &rates);
    let mut terms = vec![negative_product(drawn, slopes, &mut tape)?];
    terms.extend(negative_score(flow.base(), &z, &costs, &mut tape)?);
    if let Some(penalty) = penalty {
        terms.push(negated(penalty, &mut tape)?);
    }
    let objective = sum(terms, &mut tape)?;
    Ok(Loss { value, gradient: gradient_of_mean(-1.0, &objective, tape)?, work })
}

fn check<E: Real>(flow: &Flow<E>, x: &Batch<E>, bandwidths: &[f64]) -> Result<()> {
    check_columns("maximum mean discrepancy", x, flow.dim())?;
    let (rows, kernels) = (x.rows(), bandwidths.len());
    let least = bandwidths.iter().copied().fold(f64::INFINITY, f64::min);
    let positive = bandwidths.iter().all(|h| *h > 0.0 && h.is_finite());
    let checks = [
        ("rows of maximum mean discrepancy", "at least 2", rows as f64, rows > 1),
        ("number of bandwidths", "at least 1", kernels as f64, kernels > 0),
        ("bandwidth", "positive and finite", least, positive),
    ];
    for (name, requirement, value, holds) in checks {
        if !holds {
            return Err(Error::Parameter { name, requirement, value });
        }
    }
    Ok(())
}

/// The value and, for each draw, n times the derivatives of the value by its weight in the sample
/// and by its position.
fn discrepancy<E: Real>(x: &Batch<E>, y: &Batch<E>, rates: &[E]) -> (f64, Vec<f64>, Vec<E>) {
    let (rows, dim) = (x.rows(), columns(x));
    let (n, pairs) = (rows as f64, rows as f64 - 1.0);
    let (from_x, from_y) = (x.values(), y.values());
    let (among_x, among_y) = (Points::new(&from_x, dim), Points::new(&from_y, dim));
    let [xx, xy, yy] = [
        similarities(&from_x, &among_x, rates),
        similarities(&from_x, &among_y, rates),
        similarities(&from_y, &among_y, rates),
    ];
    // The kernel of a point with itself is the number of bandwidths.
    let own = rates.len() as f64;
    let costs = xx.sums.iter().zip(&xy.sums).map(|(xx, xy)| 2.0 * ((xx - own) / pairs - xy / n));
    let slopes = xx.slopes.iter().zip(&xy.slopes).map(|(&xx, &xy)| {
        let two = E::of(2.0);
        two * (xx * E::of(1.0 / pairs) - xy * E::of(1.0 / n))
    });
    let mean = |all: &Similarities<E>, own: f64| all.sums.iter().map(|s| s - own).sum::<f64>() / n;
    let value = (mean(&xx, own) + mean(&yy, own)) / pairs - 2.0 * mean(&xy, 0.0) / n;
    (value, costs.collect(), slopes.collect())
}

/// Points in blocks of [`LANES`], feature by feature; the last block is padded with points so far
/// away that every kernel is zero.
struct Points<E> {
    blocks: Vec<Vec<E>>,
    dim: usize,
}

impl<E: Real> Points<E> {
    fn new(values: &[E], dim: usize) -> Self {
        let far = E::max_value().sqrt();
        let block = |rows: &[E]| {
            let mut block = vec![far; dim * LANES];
            for (lane, row) in rows.chunks_exact(dim).enumerate() {
                for (feature, &value) in row.iter().enumerate() {
                    block[feature * LANES + lane] = value;
                }
            }
            block
        };
        Self { blocks: values.chunks(LANES * dim).map(block).collect(), dim }
    }
}

/// For each point the sum of the kernel over the others, and its gradient.
struct Similarities<E> {
    sums: Vec<f64>,
    slopes: Vec<E>,
}

/// On all threads; each task takes some of the points against all others, in order.
fn similarities<E: Real>(points: &[E], others: &Points<E>, rates: &[E]) -> Similarities<E> {
    let dim = others.dim;
    let mut sums = vec![0.0; points.len() / dim];
    let mut slopes = vec![E::zero(); points.len()];
    let tasks = sums.par_chunks_mut(LANES).zip(slopes.par_chunks_mut(LANES * dim));
    tasks.zip(points.par_chunks(LANES * dim)).for_each(|((sums, slopes), points)| {
        let mut lanes = Lanes::new(dim);
        let rows = points.chunks_exact(dim).zip(slopes.chunks_exact_mut(dim));
        for ((point, slope), sum) in rows.zip(sums) {
            lanes.totals.fill(E::zero());
            for block in &others.blocks {
                lanes.add(point, block, rates);
            }
            let mut totals =
                lanes.totals.chunks_exact(LANES).map(|t| t.iter().map(|v| v.as_f64()).sum());
            *sum = totals.next().unwrap_or_default();
            for (slope, total) in slope.iter_mut().zip(totals) {
                *slope = E::of(total);
            }
        }
    });
    Similarities { sums, slopes }
}

/// Running sums of the kernel and of its derivative by each feature, lane by lane.
struct Lanes<E> {
    totals: Vec<E>,
    squares: Vec<E>,
}

impl<E: Real> Lanes<E> {
    fn new(dim: usize) -> Self {
        Self { totals: vec![E::zero(); (1 + dim) * LANES], squares: vec![E::zero(); LANES] }
    }

    /// k = sum_h exp(-r^2 / 2h^2), dk/da = -sum_h exp(-r^2 / 2h^2) / h^2 (a - b).
    fn add(&mut self, point: &[E], block: &[E], rates: &[E]) {
        let (sums, slopes) = self.totals.split_at_mut(LANES);
        let squares = &mut self.squares;
        squares.fill(E::zero());
        vectorised(
            #[inline(always)]
            || {
                for (&a, block) in point.iter().zip(block.chunks_exact(LANES)) {
                    for (square, &b) in squares.iter_mut().zip(block) {
                        *square += (a - b) * (a - b);
                    }
                }
                for (square, sum) in squares.iter_mut().zip(sums) {
                    let (mut kernel, mut slope) = (E::zero(), E::zero());
                    for &rate in rates {
                        let one = exp(E::of(-0.5) * rate * *square);
                        kernel += one;
                        slope += one * rate;
                    }
                    *sum += kernel;
                    *square = slope;
                }
                let features = point.iter().zip(block.chunks_exact(LANES));
                for ((&a, block), slopes) in features.zip(slopes.chunks_exact_mut(LANES)) {
                    for ((sum, &b), &slope) in slopes.iter_mut().zip(block).zip(squares.iter()) {
                        *sum -= slope * (a - b);
                    }
                }
            },
        );
    }
}
