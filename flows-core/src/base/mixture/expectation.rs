//! Expectation-maximisation for a Gaussian mixture, in double precision and in a fixed order.

use rand::RngExt;
use rayon::prelude::*;

use crate::base::normal::HALF_LN_TWO_PI;
use crate::{Error, Result, Stream, stream};

/// Iterations from one start.
const ITERATIONS: usize = 200;

/// Gain, in nats a row, below which the iteration ends.
const GAIN: f64 = 1e-10;

/// Smallest scale, in standard deviations of the column.
const LEAST_SCALE: f64 = 1e-3;

/// Smallest weight, so that its logarithm is finite.
const LEAST_WEIGHT: f64 = 1e-14;

/// Rows of one partial sum; a fixed number, because it decides the order of the sums.
const ROWS: usize = 256;

/// Parameters of a mixture, component by component.
#[derive(Clone, Debug)]
pub(super) struct Components {
    pub(super) log_weights: Vec<f64>,
    pub(super) location: Vec<f64>,
    pub(super) log_scale: Vec<f64>,
}

/// Standardised rows, with the shift and scale of the standardisation.
struct Rows {
    values: Vec<f64>,
    dim: usize,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// The best of expectation-maximisation from two starts and of `now` itself.
pub(super) fn fit(values: &[f64], dim: usize, now: Components) -> Result<Components> {
    let rows = standardise(values, dim)?;
    let now = rows.standardised(&now);
    let spread = spread_start(&rows, now.log_weights.len());
    let mut best = (rows.expect(&now).likelihood, now.clone());
    for start in [now, spread] {
        let end = climb(&rows, start);
        // NaN is never better.
        if end.0 > best.0 || best.0.is_nan() {
            best = end;
        }
    }
    Ok(rows.restored(&best.1))
}

/// Expectation-maximisation from `at`: mean log-likelihood and parameters after the last iteration.
fn climb(rows: &Rows, mut at: Components) -> (f64, Components) {
    let mut sums = rows.expect(&at);
    for _ in 0..ITERATIONS {
        let next = rows.maximise(&sums, &at);
        let its = rows.expect(&next);
        let gain = its.likelihood - sums.likelihood;
        if gain > 0.0 {
            (at, sums) = (next, its);
        }
        if gain <= GAIN || gain.is_nan() {
            break;
        }
    }
    (sums.likelihood, at)
}

fn standardise(values: &[f64], dim: usize) -> Result<Rows> {
    let count = (values.len() / dim) as f64;
    let (mut mean, mut deviation) = (vec![0.0; dim], vec![0.0; dim]);
    for j in 0..dim {
        let column = || values.iter().skip(j).step_by(dim);
        mean[j] = column().sum::<f64>() / count;
        deviation[j] = (column().map(|v| (v - mean[j]).powi(2)).sum::<f64>() / count).sqrt();
        if !(deviation[j] > 0.0 && deviation[j].is_finite()) {
            let row = column().position(|v| !v.is_finite()).unwrap_or(0);
            let advice = "remove constant columns and rows that are not finite";
            return Err(Error::NonFinite { quantity: "log scale of the base", row, advice });
        }
    }
    let scaled = |(at, v): (usize, &f64)| (v - mean[at % dim]) / deviation[at % dim];
    Ok(Rows { values: values.iter().enumerate().map(scaled).collect(), dim, mean, deviation })
}

/// Sufficient statistics: N, sums of z and of z^2 for each component, weighted by responsibilities.
#[derive(Clone)]
struct Sums {
    likelihood: f64,
    counts: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn zero(components: usize, dim: usize) -> Self {
        let zeros = vec![0.0; components * dim];
        let counts = vec![0.0; components];
        Self { likelihood: 0.0, counts, first: zeros.clone(), second: zeros }
    }

    fn add(&mut self, other: &Self) {
        self.likelihood += other.likelihood;
        let pairs = [
            (&mut self.counts, &other.counts),
            (&mut self.first, &other.first),
            (&mut self.second, &other.second),
        ];
        for (sums, terms) in pairs {
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }
}

impl Rows {
    fn standardised(&self, given: &Components) -> Components {
        let mut result = given.clone();
        for (at, (m, s)) in result.location.iter_mut().zip(&mut result.log_scale).enumerate() {
            *m = (*m - self.mean[at % self.dim]) / self.deviation[at % self.dim];
            *s -= self.deviation[at % self.dim].ln();
        }
        result
    }

    fn restored(&self, standard: &Components) -> Components {
        let mut result = standard.clone();
        for (at, (m, s)) in result.location.iter_mut().zip(&mut result.log_scale).enumerate() {
            *m = *m * self.deviation[at % self.dim] + self.mean[at % self.dim];
            *s += self.deviation[at % self.dim].ln();
        }
        result
    }

    /// The E step: responsibilities summed over all rows, and the mean log-likelihood.
    fn expect(&self, at: &Components) -> Sums {
        let (components, dim) = (at.log_weights.len(), self.dim);
        let parts: Vec<Sums> = self
            .values
            .par_chunks(ROWS * dim)
            .map(|rows| {
                let mut sums = Sums::zero(components, dim);
                let mut terms = vec![0.0; components];
                for row in rows.chunks_exact(dim) {
                    expect_row(row, at, &mut terms, &mut sums);
                }
                sums
            })
            .collect();
        let mut total = Sums::zero(components, dim);
        parts.iter().for_each(|part| total.add(part));
        total.likelihood /= (self.values.len() / dim) as f64;
        total
    }

    /// The M step: the parameters of the largest expected likelihood; a component without rows
    /// stays.
    fn maximise(&self, sums: &Sums, at: &Components) -> Components {
        let (dim, mut next) = (self.dim, at.clone());
        let count = (self.values.len() / dim) as f64;
        for (k, &share) in sums.counts.iter().enumerate() {
            next.log_weights[k] = (share / count).max(LEAST_WEIGHT).ln();
            if share < LEAST_WEIGHT * count {
                continue;
            }
            for i in k * dim..(k + 1) * dim {
                let mean = sums.first[i] / share;
                let variance = sums.second[i] / share - mean * mean;
                next.location[i] = mean;
                next.log_scale[i] = 0.5 * variance.max(LEAST_SCALE * LEAST_SCALE).ln();
            }
        }
        next
    }
}

fn expect_row(row: &[f64], at: &Components, terms: &mut [f64], sums: &mut Sums) {
    let dim = row.len();
    for (k, term) in terms.iter_mut().enumerate() {
        *term = at.log_weights[k];
        for (i, z) in row.iter().enumerate() {
            let (m, s) = (at.location[k * dim + i], at.log_scale[k * dim + i]);
            *term -= 0.5 * ((z - m) * (-s).exp()).powi(2) + s + HALF_LN_TWO_PI;
        }
    }
    let total = log_sum_exp(terms);
    sums.likelihood += total;
    for (k, term) in terms.iter().enumerate() {
        let share = (term - total).exp();
        sums.counts[k] += share;
        for (i, z) in row.iter().enumerate() {
            sums.first[k * dim + i] += share * z;
            sums.second[k * dim + i] += share * z * z;
        }
    }
}

/// Centres by k-means++, one scale: the root mean square distance of a row to its centre.
fn spread_start(rows: &Rows, components: usize) -> Components {
    let (dim, mut rng) = (rows.dim, stream(0, "k-means++"));
    let count = rows.values.len() / dim;
    let mut distance = vec![f64::INFINITY; count];
    let mut location: Vec<f64> = Vec::with_capacity(components * dim);
    let mut next = rng.random_range(0..count);
    for _ in 0..components {
        let centre = &rows.values[next * dim..(next + 1) * dim];
        for (nearest, row) in distance.iter_mut().zip(rows.values.chunks_exact(dim)) {
            let square = row.iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            *nearest = nearest.min(square);
        }
        location.extend_from_slice(centre);
        next = in_proportion(&distance, &mut rng);
    }
    let square = distance.iter().sum::<f64>() / distance.len() as f64 / dim as f64;
    let log_scale = vec![square.sqrt().max(LEAST_SCALE).ln(); components * dim];
    let log_weights = vec![-(components as f64).ln(); components];
    Components { log_weights, location, log_scale }
}

/// An index, drawn in proportion to its value.
fn in_proportion(values: &[f64], rng: &mut Stream) -> usize {
    let mut left = rng.random::<f64>() * values.iter().sum::<f64>();
    let mut passed = |value: &f64| {
        left -= value;
        left >= 0.0
    };
    let place = values.iter().position(|value| !passed(value));
    place.unwrap_or(values.len() - 1)
}

/// ln of the sum of exponentials.
pub(super) fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::MIN, f64::max);
    largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
}
