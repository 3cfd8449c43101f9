//! Location-scale families with independent features: z = m + e^s u, with u from a standard
//! univariate density.

use crate::elementwise::vectorised;
use crate::lanes::named_mut;
use crate::layout::{HasLayout, Layout};
use crate::operation::{LANES, Recorded};
use crate::{Distribution, Error, Real, Result, Scratch, Stream};

/// A univariate density, log f(u) = -cost(u) - constant.
pub(super) trait Standard: std::fmt::Debug + Send + Sync {
    /// Minus the log-density up to the constant.
    fn cost<E: Real>(&self, u: E) -> E;

    /// The derivative of [`cost`](Self::cost).
    fn slope<E: Real>(&self, u: E) -> E;

    /// Log of the integral of exp(-cost).
    fn constant(&self) -> f64;

    /// An independent draw.
    fn draw(&self, rng: &mut Stream) -> f64;

    /// Maximum-likelihood location and log-scale of a column.
    fn fit(&self, column: &[f64]) -> [f64; 2];
}

/// log p(z) = sum over features of log f(u) - s, u = e^-s (z - m); m = s = 0 if nothing is learned.
#[derive(Debug)]
pub(super) struct LocationScale<S> {
    standard: S,
    dim: usize,
    learned: bool,
}

impl<S> LocationScale<S> {
    /// With fixed location 0 and scale 1.
    pub(super) fn standard(standard: S, dim: usize) -> Self {
        Self { standard, dim, learned: false }
    }

    /// With learned location and scale, at first 0 and 1.
    pub(super) fn learned(standard: S, dim: usize) -> Self {
        Self { standard, dim, learned: true }
    }
}

impl<S: Standard> HasLayout for LocationScale<S> {
    fn layout(&self) -> Vec<Layout> {
        let names = if self.learned { &["location", "log_scale"][..] } else { &[] };
        names.iter().map(|&name| Layout::zeros(name, 1, self.dim)).collect()
    }
}

/// Location and log-scale of feature `i`.
fn moments<E: Real>(parameters: &[&[E]], i: usize) -> (E, E) {
    match parameters {
        [location, log_scale] => (location[i], log_scale[i]),
        _ => (E::zero(), E::zero()),
    }
}

impl<E: Real, S: Standard> Distribution<E> for LocationScale<S> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, z: &[E], parameters: &[&[E]], _: &mut Scratch, sums: &mut [E]) {
        for (i, z) in z.chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(parameters, i);
            let inverse = (-log_scale).exp();
            let constant = log_scale + E::of(self.standard.constant());
            vectorised(
                #[inline(always)]
                || {
                    for (sum, &z) in sums.iter_mut().zip(z) {
                        *sum -= self.standard.cost((z - location) * inverse) + constant;
                    }
                },
            );
        }
    }

    /// With c = cost'(u): d/dz = -c e^-s, d/dm = c e^-s, d/ds = c u - 1.
    fn pull_log_density(
        &self,
        at: Recorded<'_, E>,
        outer: &[E],
        d_z: &mut [E],
        d_parameters: &mut [&mut [E]],
    ) {
        let features = at.inputs[0].chunks_exact(LANES).zip(d_z.chunks_exact_mut(LANES));
        for (i, (z, d_z)) in features.enumerate() {
            let (location, log_scale) = moments(at.parameters, i);
            let inverse = (-log_scale).exp();
            let (mut d_location, mut d_log_scale) = (E::zero(), E::zero());
            vectorised(
                #[inline(always)]
                || {
                    for ((d_z, &z), &outer) in d_z.iter_mut().zip(z).zip(outer) {
                        let u = (z - location) * inverse;
                        let slope = self.standard.slope(u);
                        *d_z = -(slope * inverse * outer);
                        d_location += slope * inverse * outer;
                        d_log_scale += (slope * u - E::one()) * outer;
                    }
                },
            );
            if let [locations, log_scales] = d_parameters {
                locations[i] += d_location;
                log_scales[i] += d_log_scale;
            }
        }
    }

    fn noise(&self, rows: usize, _: &[Vec<E>], rng: &mut Stream) -> Vec<E> {
        (0..rows * self.dim).map(|_| E::of(self.standard.draw(rng))).collect()
    }

    fn draw(&self, noise: &[E], parameters: &[&[E]], z: &mut [E]) {
        let features = noise.chunks_exact(LANES).zip(z.chunks_exact_mut(LANES));
        for (i, (noise, z)) in features.enumerate() {
            let (location, log_scale) = moments(parameters, i);
            let scale = log_scale.exp();
            for (z, &noise) in z.iter_mut().zip(noise) {
                *z = noise * scale + location;
            }
        }
    }

    /// For fixed u: d/dm = 1, d/ds = e^s u.
    fn pull_draw(
        &self,
        noise: &[E],
        parameters: &[&[E]],
        outer: &[E],
        d_parameters: &mut [&mut [E]],
    ) {
        let [d_location, d_log_scale] = named_mut(d_parameters);
        let features = noise.chunks_exact(LANES).zip(outer.chunks_exact(LANES));
        for (i, (noise, outer)) in features.enumerate() {
            let scale = parameters[1][i].exp();
            for (&noise, &outer) in noise.iter().zip(outer) {
                d_location[i] += outer;
                d_log_scale[i] += outer * noise * scale;
            }
        }
    }

    fn fit(&self, z: &[f64], now: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        if !self.learned {
            return Ok(now);
        }
        let (mut location, mut log_scale) = (Vec::new(), Vec::new());
        for j in 0..self.dim {
            let column: Vec<f64> = z.iter().skip(j).step_by(self.dim).copied().collect();
            let [m, s] = self.standard.fit(&column);
            if !(m.is_finite() && s.is_finite()) {
                let row = column.iter().position(|v| !v.is_finite()).unwrap_or(0);
                let advice = "remove constant columns and rows that are not finite";
                return Err(Error::NonFinite { quantity: "log scale of the base", row, advice });
            }
            location.push(m);
            log_scale.push(s);
        }
        Ok(vec![location, log_scale])
    }
}

/// Median of a sorted column; anything between the two middle values serves a column of even length.
fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { 0.5 * (sorted[half - 1] + sorted[half]) }
}

/// Median and mean absolute deviation from it.
pub(super) fn median_and_deviation(column: &[f64]) -> [f64; 2] {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    let centre = median(&sorted);
    let deviation = column.iter().map(|x| (x - centre).abs()).sum::<f64>() / column.len() as f64;
    [centre, deviation]
}
